"""Charts as SVG, written by hand: bars with ranges, and latency curves."""

import math
import statistics
from html import escape

WIDTH = 760
LEFT = 130
RIGHT = 130
COLOURS = {"ours": "#1b6ca8", "job": "#c8553d", "data path": "#e0a458", "limit": "#8a8d91",
           "direct": "#8a8d91"}
LINES = ("#1b6ca8", "#c8553d", "#e0a458", "#4f9d69", "#7a5195", "#2f4b7c", "#8a8d91", "#bc5090")


def _text(x, y, text, anchor="start", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f"{escape(str(text))}</text>")


def _svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif">'
            f'<rect width="{width}" height="{height}" fill="white"/>' + "\n".join(parts) + "</svg>\n")


def bars(title, unit, rows):
    """`rows`: (name, kind, values). A bar is the median, the line over it goes from min to max."""
    top, step = 44, 28
    highest = max(max(values) for _, _, values in rows) or 1
    scale = (WIDTH - LEFT - RIGHT) / highest
    parts = [_text(10, 22, f"{title}: {unit}", size=15)]
    for number, (name, kind, values) in enumerate(rows):
        y = top + number * step
        median, low, high = statistics.median(values), min(values), max(values)
        parts.append(_text(LEFT - 8, y + 15, name, "end"))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(median, 0) * scale:.1f}" height="20" '
                     f'fill="{COLOURS[kind]}"/>')
        middle = y + 10
        parts.append(f'<path d="M{LEFT + low * scale:.1f} {middle}H{LEFT + high * scale:.1f}'
                     f'M{LEFT + low * scale:.1f} {middle - 4}v8M{LEFT + high * scale:.1f} '
                     f'{middle - 4}v8" stroke="#222" fill="none"/>')
        parts.append(_text(LEFT + high * scale + 8, y + 15, f"{median:.3g}"))
    return _svg(WIDTH, top + len(rows) * step + 10, parts)


def curves(title, series):
    """`series`: {name: {"p50": us, ...}}. Across: how many are quicker, ever finer towards all."""
    height, top, bottom = 380, 50, 40
    points = {name: sorted((float(key[1:]) / 100, value) for key, value in quantiles.items()
                           if key.startswith("p") and value > 0)
              for name, quantiles in series.items()}
    values = [value for line in points.values() for _, value in line]
    low = 10 ** math.floor(math.log10(min(values)))
    high = max(10 ** math.ceil(math.log10(max(values))), low * 10)
    right = WIDTH - RIGHT

    def across(share):
        return LEFT + (right - LEFT) * -math.log10(1 - share) / 3

    def down(value):
        span = math.log10(high) - math.log10(low)
        return height - bottom - (math.log10(value) - math.log10(low)) / span * (
            height - bottom - top)

    parts = [_text(10, 22, f"{title}: latency, us", size=15)]
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):
        x = across(share)
        parts.append(f'<path d="M{x:.1f} {top}V{height - bottom}" stroke="#ddd"/>')
        parts.append(_text(x, height - bottom + 18, f"{share * 100:g} %", "middle"))
    tick = low
    while tick <= high * 1.01:
        y = down(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick:g}", "end"))
        tick *= 10
    for number, (name, line) in enumerate(points.items()):
        colour = LINES[number % len(LINES)]
        path = "L".join(f"{across(share):.1f} {down(value):.1f}" for share, value in line)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        parts.append(f'<rect x="{right + 10}" y="{top + number * 18}" width="12" height="12" '
                     f'fill="{colour}"/>')
        parts.append(_text(right + 27, top + number * 18 + 11, name))
    return _svg(WIDTH, height, parts)
