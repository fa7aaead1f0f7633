"""Draws a recording of a terminal (tools/record.py) as an animated SVG for light and dark pages.

    draw_recording.py FILE.cast FILE.svg

The picture needs no script and no font of its own, so it works as <img>. Its animation only uncovers rows and scrolls.
Without animation, as when it is printed or the reader wants none, it shows the end.
"""

import json
import pathlib
import re
import sys
from xml.sax.saxutils import escape

CELL, LINE, SIZE = 7.8, 17, 13      # a character's width, a row's height, the font's size
LEFT, TOP, BOTTOM = 16, 40, 12      # of the rows, in the window
SHOWN = 34                          # rows of the window
TYPING, ENTER = 0.09, 0.7           # seconds for a key, and from the last key to the first row
ROW, PAUSE, END = 0.17, 0.9, 14.0   # seconds from row to row at least and at most, and at the end
TIMES = 3                           # how often it is played

STYLES = {"": "t", "1": "b", "31": "r", "32": "g", "33": "y", "36": "c", "1;31": "b r", "1;32": "b g"}

PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"
     aria-labelledby="title" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
     font-size="{size}">
<title id="title">{title}</title>
<style>
  .ground, .cover {{ fill: #ffffff }}
  .ground {{ stroke: #c3cad2 }}
  .bar {{ fill: #d5dbe1 }}
  .faint {{ fill: #52606d }}
  .t, .b {{ fill: #1f2933 }}
  .b {{ font-weight: 700 }}
  .r {{ fill: #b42318 }}
  .g {{ fill: #13682f }}
  .y {{ fill: #96500a }}
  .c {{ fill: #0b62a8 }}
  @media (prefers-color-scheme: dark) {{
    .ground, .cover {{ fill: #0f151c }}
    .ground {{ stroke: #3b4754 }}
    .bar {{ fill: #3b4754 }}
    .faint {{ fill: #9aa5b1 }}
    .t, .b {{ fill: #dfe5ec }}
    .r {{ fill: #ff8a80 }}
    .g {{ fill: #63d68a }}
    .y {{ fill: #f2b45c }}
    .c {{ fill: #6cbcf5 }}
  }}
  .rows {{ transform: translateY({end_of_rows}px); animation: rows {seconds}s step-end {times} }}
  .cover {{ transform: translateY({end_of_cover}px); animation: cover {seconds}s step-end {times} }}
  .keys {{ transform: translateX({end_of_keys}px); animation: keys {seconds}s step-end {times} }}
  @keyframes rows {{ {rows_frames} }}
  @keyframes cover {{ {cover_frames} }}
  @keyframes keys {{ {keys_frames} }}
  @media (prefers-reduced-motion: reduce) {{ .rows, .cover, .keys {{ animation: none }} }}
</style>
<clipPath id="window"><rect x="1" y="{top}" width="{inner}" height="{shown}"/></clipPath>
<rect class="ground" x="0.5" y="0.5" width="{outer}" height="{outer_height}" rx="8"/>
<circle class="bar" cx="20" cy="19" r="5"/><circle class="bar" cx="37" cy="19" r="5"/>
<circle class="bar" cx="54" cy="19" r="5"/>
<text class="faint" x="{middle}" y="23" text-anchor="middle">{head}</text>
<g clip-path="url(#window)"><g class="rows">
{text}
<rect class="cover keys" x="{keys_left}" y="{top}" width="{inner}" height="{line}"/>
<rect class="cover" x="1" y="{top}" width="{inner}" height="{covered}"/>
</g></g>
</svg>
"""


def read(path):
    """Returns the recording's command and its rows as (seconds, [(column, text, style)])."""
    head, *events = (json.loads(line) for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines())
    rows, line = [], ""
    for seconds, kind, text in events:
        if kind != "o":
            continue
        *whole, line = (line + text).split("\n")
        rows += [(seconds, runs(each)) for each in whole]
    return head["title"], rows + ([(events[-1][0], runs(line))] if line else [])


def runs(line):
    """Returns the row's text as (column, text, style). Each piece begins at its own column."""
    line = line.removesuffix("\r")
    # A row that is wiped and written again: only the last text counts.
    line = line.rpartition("\r\033[K")[2]
    found, column, style = [], 0, ""
    for piece in re.split(r"(\033\[[0-9;]*m)", line):
        if piece.startswith("\033["):
            style = piece[2:-1].removeprefix("0")
            if style not in STYLES:
                raise ValueError(f"no colour for {piece!r}")
            continue
        if unknown := re.search(r"[\x00-\x1f\x7f]", piece):
            raise ValueError(f"{unknown[0]!r} cannot be drawn: {line!r}")
        found += [(column + word.start(), word[0], style) for word in re.finditer(r"\S+(?: \S+)*", piece)]
        column += len(piece)
    return found


def drawn(row, pieces):
    """Returns the text elements of a row."""
    y = TOP + row * LINE + SIZE
    return "".join(
        f'<text class="{STYLES[style]}" x="{LEFT + column * CELL:.1f}" y="{y}" textLength="{len(text) * CELL:.1f}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>' for column, text, style in pieces)


def paced(rows, begin):
    """Returns the time of each row: as recorded, but slow enough to be read and without long pauses."""
    times, now, before = [], begin, rows[0][0]
    for seconds, _ in rows:
        now += min(max(seconds - before, ROW), PAUSE)
        before = seconds
        times.append(now)
    return times


def frames(axis, steps, whole):
    """Returns keyframes. `steps` is a list of (seconds, offset); equal neighbours are left out."""
    kept = [step for i, step in enumerate(steps) if i == 0 or step[1] != steps[i - 1][1]]
    return " ".join(f"{100 * seconds / whole:.2f}% {{ transform: translate{axis}({offset:g}px) }}"
                    for seconds, offset in kept)


def draw(path):
    """Returns the SVG of a recording."""
    command, rows = read(path)
    prompt = f"$ {command}"
    begin = ENTER + len(command) * TYPING
    times = paced(rows, begin)
    whole = times[-1] + END
    count = 1 + len(rows)
    shown = min(SHOWN, count)
    # The prompt is the first row. A row is uncovered when it is written; later ones scroll the window.
    keys = [(0, 0)] + [(ENTER / 2 + i * TYPING, (i + 1) * CELL) for i in range(len(command))]
    cover = [(0, LINE)] + [(at, (i + 2) * LINE) for i, at in enumerate(times)]
    scroll = [(0, 0)] + [(at, -max(0, i + 2 - shown) * LINE) for i, at in enumerate(times)]
    width = round(2 * LEFT + 80 * CELL)
    height = TOP + shown * LINE + BOTTOM
    text = "\n".join([drawn(0, [(0, prompt[:1], "32"), (2, command, "1")]),
                      *(drawn(1 + i, pieces) for i, (_, pieces) in enumerate(rows) if pieces)])
    return PAGE.format(
        width=width, height=height, outer=width - 1, outer_height=height - 1, inner=width - 2, middle=width / 2,
        size=SIZE, line=LINE, top=TOP, shown=shown * LINE, covered=count * LINE, keys_left=f"{LEFT + 2 * CELL:.1f}",
        title=escape(f"A recording of {command}, slowed down"), head=escape(f"{command}, slowed down"),
        seconds=f"{whole:.1f}", times=TIMES, text=text,
        end_of_rows=-(count - shown) * LINE, end_of_cover=count * LINE, end_of_keys=f"{len(command) * CELL:g}",
        rows_frames=frames("Y", scroll, whole), cover_frames=frames("Y", cover, whole),
        keys_frames=frames("X", keys, whole))


def main():
    if len(sys.argv) != 3:
        sys.stderr.write("usage: draw_recording.py FILE.cast FILE.svg\n")
        return 64
    pathlib.Path(sys.argv[2]).write_text(draw(sys.argv[1]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
