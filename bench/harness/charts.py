"""Draws charts as SVG without a library: bars with ranges, latency curves, courses over time. They are
legible on light and dark pages. Each has its own background, which follows the reader's preference."""

import math
import statistics
from html import escape

from .interval import interval

WIDTH = 760
_LEFT = 130
_RIGHT = 90
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

# Class -> colours on light and on dark ground. Bars have a colour per kind of subject, lines one each.
_FILLS = {"ground": ("#ffffff", "#14181f"), "text": ("#1f2933", "#e6e9ee"),
          "faint": ("#616e7c", "#9aa5b4"), "ours": ("#0f6fc6", "#4aa3f0"),
          "job": ("#d9822b", "#e8a24e"), "data-path": ("#e9c46a", "#b98f3a"),
          "limit": ("#b8c2cc", "#56616e"), "direct": ("#b8c2cc", "#56616e")}
_LINES = (("#0f6fc6", "#4aa3f0"), ("#d9822b", "#e8a24e"), ("#2f9e5b", "#57c785"),
          ("#b5418c", "#e27bbd"), ("#7a5fc0", "#a893e6"), ("#c0392b", "#f07f72"),
          ("#7b8794", "#9aa5b4"), ("#0b7285", "#4fc3d0"))
_GRID = ("#dde3ea", "#313946")
_KINDS = {"ours": "starttls-proxy", "job": "does the same job", "data path": "implicit TLS only",
          "limit": "no TLS: the limit", "direct": "without a proxy"}


def _style():
    def rules(ground):
        yield from (f".{name}{{fill:{colours[ground]}}}" for name, colours in _FILLS.items())
        yield f".grid{{stroke:{_GRID[ground]};fill:none}}"
        yield f".range{{stroke:{_FILLS['text'][ground]};fill:none}}"
        for number, colours in enumerate(_LINES):
            yield f".line{number}{{stroke:{colours[ground]};fill:none}}"
            yield f".mark{number}{{fill:{colours[ground]}}}"

    return (f"<style>{''.join(rules(0))}@media(prefers-color-scheme:dark)"
            f"{{{''.join(rules(1))}}}</style>")


def _text(x, y, text, anchor="start", size=12, kind="text", weight="normal"):
    return (f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-size="{size}" font-weight="{weight}">{escape(str(text))}</text>')


def _svg(width, height, parts):
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{_FONT}">', _style(),
        f'<rect class="ground" width="{width}" height="{height}" rx="8"/>', *parts, "</svg>", ""))


def _number(value):
    """Formats a value with three digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits > 3 else text


def _ticks(highest, wanted=5):
    """Returns round numbers from 0 up to `highest`."""
    step = 10 ** math.floor(math.log10(highest / wanted))
    step *= next(factor for factor in (1, 2, 5, 10) if highest / (step * factor) <= wanted)
    return [step * number for number in range(math.floor(highest / step + 1e-9) + 1)]


def _panel(x, y, width, title, unit, rows, left=_LEFT):
    """Returns a title and a bar for each row (name, kind, values), and the height of all this."""
    top, step, bar = y + 34, 24, 15
    highest = max(max(interval(values)[1] for _, _, values in rows), 0) or 1
    begin, scale = x + left, (width - left - _RIGHT + 24) / highest
    bottom = top + len(rows) * step
    parts = [_text(x, y + 12, title, size=14, weight="600"),
             _text(x, y + 27, unit, size=11, kind="faint")]
    for tick in _ticks(highest):
        at = begin + tick * scale
        parts.append(f'<path class="grid" d="M{at:.1f} {top}V{bottom}"/>')
    for number, (name, kind, values) in enumerate(rows):
        at = top + number * step + (step - bar) / 2
        median = statistics.median(values)
        low, high = (max(end, 0) for end in interval(values))  # memory may also have shrunk
        weight = "600" if kind == "ours" else "normal"
        parts.append(_text(begin - 8, at + 12, name, "end", weight=weight))
        parts.append(f'<rect class="{kind.replace(" ", "-")}" x="{begin:.1f}" y="{at:.1f}" rx="2" '
                     f'width="{max(median, 0) * scale:.1f}" height="{bar}"/>')
        if len(values) > 1:
            middle = at + bar / 2
            ends = [begin + value * scale for value in (low, high)]
            parts.append(f'<path class="range" d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}'
                         f'M{ends[0]:.1f} {middle - 3.5}v7M{ends[1]:.1f} {middle - 3.5}v7"/>')
        parts.append(_text(begin + high * scale + 7, at + 12, _number(median), weight=weight))
    return parts, bottom - y


def _legend(x, y, kinds):
    parts = []
    for kind in (each for each in _KINDS if each in kinds):
        parts.append(f'<rect class="{kind.replace(" ", "-")}" x="{x}" y="{y - 9}" width="11" '
                     'height="11" rx="2"/>')
        parts.append(_text(x + 16, y, _KINDS[kind], size=11, kind="faint"))
        x += 16 + 6.3 * len(_KINDS[kind]) + 18
    return parts


def bars(title, unit, rows):
    """Draws a chart of bars. `rows`: (name, kind, values). A bar is the median, the line on it its
    interval."""
    parts, height = _panel(16, 14, WIDTH - 24, title, f"{unit}; less is better", rows)
    end = 14 + height + 24
    return _svg(WIDTH, end + 14, [*parts, *_legend(16, end, {kind for _, kind, _ in rows})])


def panels(title, charts, footers=()):
    """Draws several small charts in two columns: (title, unit, rows). `footers` are small lines below."""
    column, y = WIDTH // 2, 44
    parts = [_text(16, 28, title, size=17, weight="600")]
    for first in range(0, len(charts), 2):
        heights = []
        for number, (name, unit, rows) in enumerate(charts[first:first + 2]):
            more, height = _panel(16 + number * column, y, column - 20, name, unit, rows, left=104)
            parts += more
            heights.append(height)
        y += max(heights) + 22
    parts += _legend(16, y + 6, {kind for _, _, rows in charts for _, kind, _ in rows})
    for footer in footers:
        y += 18
        parts.append(_text(16, y + 8, footer, size=11, kind="faint"))
    return _svg(WIDTH, y + 20, parts)


def curves(title, series):
    """Draws latency curves. `series`: {name: {"p50": us, ...}}. The horizontal axis is the share that is
    quicker; its scale gets finer towards 100 %."""
    height, left, top, bottom, right = 400, 76, 58, 48, WIDTH - 170
    points = {name: sorted((float(key[1:]) / 100, value) for key, value in quantiles.items()
                           if key.startswith("p") and value > 0)
              for name, quantiles in series.items()}
    values = [value for line in points.values() for _, value in line]
    marks = [factor * 10 ** power for power in range(-1, 9) for factor in (1, 2, 5)]
    low = max((mark for mark in marks if mark <= min(values)), default=marks[0])
    high = next((mark for mark in marks if mark >= max(values) and mark > low), marks[-1])

    def across(share):
        return left + (right - left) * -math.log10(1 - share) / 3

    def down(value):
        span = math.log10(high) - math.log10(low)
        return height - bottom - (math.log10(value) - math.log10(low)) / span * (
            height - bottom - top)

    parts = [_text(16, 28, title, size=14, weight="600"),
             _text(16, 44, "latency in microseconds, by the share that is quicker; lower is better",
                   size=11, kind="faint")]
    for share in (0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999):
        x = across(share)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>')
        if share:
            parts.append(_text(x, height - bottom + 17, f"{share * 100:g} %", "middle", 11, "faint"))
    for mark in (each for each in marks if low <= each <= high):
        y = down(mark)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        parts.append(_text(left - 8, y + 4, f"{mark:,g}", "end", 11, "faint"))
    parts.append(_text(right + 16, top - 4, "median / 99 %", size=11, kind="faint"))
    for number, (name, line) in reversed(list(enumerate(points.items()))):  # ours on top
        path = "L".join(f"{across(share):.1f} {down(value):.1f}" for share, value in line)
        parts.append(f'<path class="line{number % len(_LINES)}" d="M{path}" '
                     f'stroke-width="{3 if number == 0 else 1.8}" stroke-linejoin="round"/>')
        at = top + 8 + number * 34
        parts.append(f'<rect class="mark{number % len(_LINES)}" x="{right + 16}" y="{at}" width="12" '
                     'height="12" rx="2"/>')
        parts.append(_text(right + 34, at + 11, name, weight="600" if number == 0 else "normal"))
        quantiles = series[name]
        parts.append(_text(right + 34, at + 25, f"{_number(quantiles.get('p50', 0))} / "
                           f"{_number(quantiles.get('p99', 0))}", size=11, kind="faint"))
    return _svg(WIDTH, max(height, top + 20 + 34 * len(points)), parts)


def courses(title, seconds, rows):
    """Draws values over time, one strip per row (name, unit, values). All are as long as `seconds`."""
    strip, left, right, y = 110, 76, WIDTH - 24, 52
    span = max(seconds[-1] - seconds[0], 1e-9)
    parts = [_text(16, 28, title, size=14, weight="600")]

    for number, (name, unit, values) in enumerate(rows):
        highest = max(max(values), 1e-9)
        bottom = y + strip - 30
        parts.append(_text(left, y + 2, f"{name}, {unit}", size=12))
        ticks = _ticks(highest, 3)
        top = max(ticks[-1], highest)
        for tick in ticks:
            at = bottom - tick / top * (strip - 44)
            parts.append(f'<path class="grid" d="M{left} {at:.1f}H{right}"/>')
            parts.append(_text(left - 8, at + 4, f"{tick:,g}", "end", 11, "faint"))
        path = "L".join(
            f"{left + (right - left) * (second - seconds[0]) / span:.1f} "
            f"{bottom - value / top * (strip - 44):.1f}" for second, value in zip(seconds, values))
        parts.append(f'<path class="line{number % len(_LINES)}" d="M{path}" stroke-width="1.8"/>')
        y += strip
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(left + (right - left) * share, y - 8,
                           f"{seconds[0] + span * share:,.0f} s", "middle", 11, "faint"))
    return _svg(WIDTH, y + 10, parts)
