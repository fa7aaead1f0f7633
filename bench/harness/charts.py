"""Draws charts as SVG without a library: bars with ranges, latencies, courses over time. They are legible
on light and dark pages. Each has its own background, which follows the reader's preference. A subject
has the same colour in every chart."""

import math
import statistics
from html import escape

from .interval import interval
from .subjects import DIRECT, NGINX_PLAIN, OURS, OURS_WITHOUT, PLAIN_RELAY, SPLICE_RELAY, STUNNEL_WITHOUT, columns

WIDTH = 900
_RIGHT = 60  # for the figure beside the longest bar
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_LETTER = 7  # at most, the mean width of a letter of 12 px

# Class -> colours on light and on dark ground.
_FILLS = {"ground": ("#ffffff", "#14181f"), "text": ("#1f2933", "#e6e9ee"),
          "faint": ("#52606d", "#9aa5b4")}
_GRID = ("#dde3ea", "#313946")
_COLOURS = {
    OURS: ("#0f6fc6", "#4aa3f0"), "stunnel": ("#d9822b", "#e8a24e"), "nginx mail": ("#1f7a45", "#3fae6f"),
    "nginx stream": ("#7fae2e", "#a9d358"), "HAProxy": ("#b5418c", "#e27bbd"),
    "hitch": ("#a93226", "#f07f72"), PLAIN_RELAY: ("#7b8794", "#8793a1"),
    SPLICE_RELAY: ("#946b4d", "#b9937a"), NGINX_PLAIN: ("#b3bcc6", "#5d6875"), DIRECT: ("#3e4c59", "#c3ccd6"),
    OURS_WITHOUT: ("#8cbbe6", "#2b5f8f"), STUNNEL_WITHOUT: ("#efc08d", "#8f6330")}
# Those of other builds of ours, in turn.
_BUILDS = (("#00a3b4", "#35c7d6"), ("#5b4fd6", "#a99bff"), ("#15497d", "#a6d3fb"))


class _Palette:
    """The colours of the subjects of one chart, in the order of a table."""

    def __init__(self, names):
        order = {name: number for number, name in enumerate(columns())}
        self.names = sorted(dict.fromkeys(names), key=lambda name: order.get(name, len(order)))
        others = iter(_BUILDS * len(self.names))
        self._colours = [_COLOURS.get(name) or next(others) for name in self.names]

    def number(self, name):
        return self.names.index(name)

    def rules(self, ground):
        """Yields the rules of style for light (0) or dark (1) ground."""
        for number, colours in enumerate(self._colours):
            yield f".fill{number}{{fill:{colours[ground]}}}"
            yield f".line{number}{{stroke:{colours[ground]};fill:none}}"


def _style(palette):
    def rules(ground):
        yield from (f".{name}{{fill:{colours[ground]}}}" for name, colours in _FILLS.items())
        yield f".grid{{stroke:{_GRID[ground]};fill:none}}"
        yield f".range{{stroke:{_FILLS['text'][ground]};fill:none}}"
        yield from palette.rules(ground)

    return (f"<style>{''.join(rules(0))}@media(prefers-color-scheme:dark)"
            f"{{{''.join(rules(1))}}}</style>")


def _text(x, y, text, anchor="start", size=12, kind="text", weight="normal"):
    return (f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-size="{size}" font-weight="{weight}">{escape(str(text))}</text>')


def _svg(height, palette, parts):
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" font-family="{_FONT}">', _style(palette),
        f'<rect class="ground" width="{WIDTH}" height="{height:g}" rx="8"/>', *parts, "</svg>", ""))


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


def _marks(low, high):
    """Returns 1, 2, 5, 10, 20, ... from at most `low` to at least `high`."""
    marks = [factor * 10.0 ** power for power in range(-3, 9) for factor in (1, 2, 5)]
    first = max((mark for mark in marks if mark <= low), default=marks[0])
    last = next((mark for mark in marks if mark >= high and mark > first), marks[-1])
    return [mark for mark in marks if first <= mark <= last]


def _name(x, y, name):
    return _text(x, y, name, "end", weight="600" if name == OURS else "normal")


def _left(palette):
    """Returns the width of the names left of the bars, the same for all panels of a chart."""
    return max(len(name) for name in palette.names) * _LETTER + 12


def _axis(x, top, bottom, label):
    """Returns a line of the grid, and its number below it."""
    return [f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>',
            _text(x, bottom + 14, label, "middle", 11, "faint")]


_STEP = 24  # height of a row


def _bars(palette, x, y, width, title, unit, rows):
    """Returns a title and a bar for each row (name, values), and the height of all this."""
    top, bar = y + 34, 15
    highest = max(max(max(interval(values)[1], statistics.median(values)) for _, values in rows), 0) or 1
    left = _left(palette)
    begin, scale = x + left, (width - left - _RIGHT) / highest
    bottom = top + len(rows) * _STEP
    parts = [_text(x, y + 12, title, size=14, weight="600"),
             _text(x, y + 27, unit, size=11, kind="faint")]
    for tick in _ticks(highest):
        parts += _axis(begin + tick * scale, top, bottom, f"{tick:,g}")
    for number, (name, values) in enumerate(rows):
        at = top + number * _STEP + (_STEP - bar) / 2
        median = statistics.median(values)
        low, high = (max(end, 0) for end in interval(values))  # memory may also have shrunk
        parts.append(_name(begin - 8, at + 12, name))
        parts.append(f'<rect class="fill{palette.number(name)}" x="{begin:.1f}" y="{at:.1f}" rx="2" '
                     f'width="{max(median, 0) * scale:.1f}" height="{bar}"/>')
        if len(values) > 1:
            middle = at + bar / 2
            ends = [begin + value * scale for value in (low, high)]
            parts.append(f'<path class="range" d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}'
                         f'M{ends[0]:.1f} {middle - 3.5}v7M{ends[1]:.1f} {middle - 3.5}v7"/>')
        parts.append(_text(begin + high * scale + 7, at + 12, _number(median),
                           weight="600" if name == OURS else "normal"))
    return parts, bottom + 16 - y


def _latencies(palette, x, y, width, title, unit, rows):
    """Returns the same for rows (name, median, 99th percentile): a dot, a ring, and a line between them. The
    axis is logarithmic."""
    top, space = y + 34, 100
    left = _left(palette)
    begin, end = x + left + 8, x + width - space
    bottom = top + len(rows) * _STEP
    marks = _marks(min(min(row[1:]) for row in rows), max(max(row[1:]) for row in rows))
    span = math.log10(marks[-1] / marks[0])

    def across(value):
        return begin + (end - begin) * math.log10(max(value, marks[0]) / marks[0]) / span

    parts = [_text(x, y + 12, title, size=14, weight="600"),
             _text(x, y + 27, f"{unit}; dot: p50, ring: p99; logarithmic axis", size=11,
                   kind="faint")]
    near = (end - begin) / max(len(marks) - 1, 1) < 28  # there is no room for every number
    for mark in marks:
        if not near or f"{mark:e}"[0] == "1":
            parts += _axis(across(mark), top, bottom, f"{mark:,g}")
    for number, (name, middle, high) in enumerate(rows):
        at = top + (number + 0.5) * _STEP
        colour = palette.number(name)
        parts.append(_name(x + left - 8, at + 4, name))
        parts.append(f'<path class="line{colour}" stroke-width="2" d="M{across(middle):.1f} {at}'
                     f'H{across(high):.1f}"/>')
        parts.append(f'<circle class="fill{colour}" cx="{across(middle):.1f}" cy="{at}" r="5"/>')
        parts.append(f'<circle class="ground" cx="{across(high):.1f}" cy="{at}" r="4.5"/>')
        parts.append(f'<circle class="line{colour}" stroke-width="2" cx="{across(high):.1f}" cy="{at}" '
                     'r="4.5"/>')
        parts.append(_text(end + 12, at + 4, f"{_number(middle)} / {_number(high)}",
                           weight="600" if name == OURS else "normal"))
    return parts, bottom + 16 - y


def _legend(palette, y):
    """Returns a square and a name per subject, and the y below them."""
    parts, x = [], 16
    for number, name in enumerate(palette.names):
        width = 16 + _LETTER * len(name) + 16
        if x > 16 and x + width > WIDTH - 16:
            x, y = 16, y + 20
        parts.append(f'<rect class="fill{number}" x="{x:.1f}" y="{y - 10}" width="12" height="12" rx="2"/>')
        parts.append(_text(x + 17, y, name))
        x += width
    return parts, y


def bars(title, unit, rows, note="less is better"):
    """Draws a chart of bars. `rows`: (name, values). A bar is the median, the line on it its interval."""
    palette = _Palette(name for name, _ in rows)
    parts, height = _bars(palette, 16, 14, WIDTH - 32, title, f"{unit}; {note}", rows)
    return _svg(14 + height + 14, palette, parts)


def panels(title, charts, footers=()):
    """Draws several small charts in two columns: (kind, title, unit, rows), the kind being "bars" or
    "latencies". `footers` are small lines below."""
    draw = {"bars": _bars, "latencies": _latencies}
    palette = _Palette(row[0] for _, _, _, rows in charts for row in rows)
    column, y = WIDTH // 2, 72
    parts = [_text(16, 28, title, size=17, weight="600")]
    legend, below = _legend(palette, 50)
    y = below + 22
    parts += legend
    for first in range(0, len(charts), 2):
        heights = []
        for number, (kind, name, unit, rows) in enumerate(charts[first:first + 2]):
            more, height = draw[kind](palette, 16 + number * column, y, column - 32, name, unit, rows)
            parts += more
            heights.append(height)
        y += max(heights) + 24
    for footer in footers:
        parts.append(_text(16, y + 4, footer, size=11, kind="faint"))
        y += 18
    return _svg(y + 4, palette, parts)


_SLOWER = 5  # samples that must be slower than a point of a curve, or it means little


def _curve(quantiles):
    """Returns the points (share, milliseconds) of a latency curve that enough samples support."""
    count = quantiles.get("count", math.inf)
    points = sorted((float(key[1:]) / 100, value / 1e3) for key, value in quantiles.items()
                    if key.startswith("p") and value > 0)
    return [(share, value) for share, value in points if share <= 0.5 or (1 - share) * count > _SLOWER - 0.5]


def curves(title, series):
    """Draws latency curves. `series`: {name: {"p50": us, ..., "count": samples}}. The horizontal axis is the
    share that is quicker; its scale gets finer towards 100 %."""
    right = WIDTH - 50 - max(_LETTER * len(name) for name in series)
    height, left, top, bottom = 400, 76, 58, 48
    points = {name: _curve(quantiles) for name, quantiles in series.items()}
    values = [value for line in points.values() for _, value in line]
    marks = _marks(min(values), max(values))
    low, high = marks[0], marks[-1]
    palette = _Palette(points)
    points = {name: points[name] for name in palette.names}

    def across(share):
        return left + (right - left) * -math.log10(1 - share) / 3

    def down(value):
        span = math.log10(high) - math.log10(low)
        return height - bottom - (math.log10(value) - math.log10(low)) / span * (
            height - bottom - top)

    parts = [_text(16, 28, title, size=14, weight="600"),
             _text(16, 44, "latency in milliseconds, by the share that is quicker; lower is better",
                   size=11, kind="faint")]
    for share in (0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999):
        x = across(share)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>')
        if share:
            parts.append(_text(x, height - bottom + 17, f"{share * 100:g} %", "middle", 11, "faint"))
    for mark in marks:
        y = down(mark)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        parts.append(_text(left - 8, y + 4, f"{mark:,g}", "end", 11, "faint"))
    parts.append(_text(right + 16, top - 4, "median / 99 %", size=11, kind="faint"))
    for number, (name, line) in reversed(list(enumerate(points.items()))):  # ours above the others
        path = "L".join(f"{across(share):.1f} {down(value):.1f}" for share, value in line)
        parts.append(f'<path class="line{number}" d="M{path}" '
                     f'stroke-width="{3 if name == OURS else 1.8}" stroke-linejoin="round"/>')
        at = top + 8 + number * 34
        parts.append(f'<rect class="fill{number}" x="{right + 16}" y="{at}" width="12" height="12" '
                     'rx="2"/>')
        parts.append(_text(right + 34, at + 11, name, weight="600" if name == OURS else "normal"))
        quantiles = series[name]
        parts.append(_text(right + 34, at + 25, f"{_number(quantiles.get('p50', 0) / 1e3)} / "
                           f"{_number(quantiles.get('p99', 0) / 1e3)}", size=11, kind="faint"))
    return _svg(max(height, top + 20 + 34 * len(points)), palette, parts)


def courses(title, seconds, rows):
    """Draws values over time, one strip per row (name, unit, values). All are as long as `seconds`."""
    strip, left, right, y = 110, 76, WIDTH - 24, 52
    palette = _Palette(name for name, _, _ in rows)
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
        parts.append(f'<path class="line{number}" d="M{path}" stroke-width="1.8"/>')
        y += strip
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(left + (right - left) * share, y - 8,
                           f"{seconds[0] + span * share:,.0f} s", "middle", 11, "faint"))
    return _svg(y + 10, palette, parts)
