"""Writes the results of a run into docs/benchmarks.md: a table between two marks, and one chart. No
figure in them is typed by hand."""

import statistics

from . import charts
from .interval import MEANING, interval
from .scenarios import (CPU_GB, CPU_OP, CPU_SESSION, IDLE, OVERHEAD, P50, READY, SCALE, SCENARIOS,
                        Target)
from .subjects import OURS, SUBJECTS
from .verdict import judge

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

# Scenario, figure, label of the row.
ROWS = (
    ("bulk-send-upgrade", CPU_GB, "bulk, client to server, upgrade, CPU-s/GB"),
    ("bulk-fetch-upgrade", CPU_GB, "bulk, server to client, upgrade, CPU-s/GB"),
    ("bulk-send-terminate", CPU_GB, "bulk, client to server, terminate, CPU-s/GB"),
    ("bulk-fetch-terminate", CPU_GB, "bulk, server to client, terminate, CPU-s/GB"),
    ("bulk-send-clear", CPU_GB, "bulk, client to server, nothing encrypted, CPU-s/GB"),
    ("bulk-fetch-clear", CPU_GB, "bulk, server to client, nothing encrypted, CPU-s/GB"),
    ("records-1400-upgrade", CPU_GB, "bulk in records of 1400 bytes, upgrade, CPU-s/GB"),
    ("records-1400-terminate", CPU_GB, "bulk in records of 1400 bytes, terminate, CPU-s/GB"),
    ("sessions-upgrade", CPU_SESSION, "session, upgrade, CPU-ms"),
    ("sessions-full-terminate", CPU_SESSION, "session, full handshake, terminate, CPU-ms"),
    ("sessions-resumed-terminate", CPU_SESSION, "session, resumed, terminate, CPU-ms"),
    ("greeting-upgrade", READY, "time to a usable greeting, upgrade, ms"),
    ("greeting-terminate", READY, "time to a usable greeting, terminate, ms"),
    ("messages-upgrade", CPU_OP, "4 KiB message, upgrade, CPU-us"),
    ("messages-terminate", CPU_OP, "4 KiB message, terminate, CPU-us"),
    ("commands-upgrade", P50, "command round trip, upgrade, us"),
    ("commands-terminate", P50, "command round trip, terminate, us"),
    ("active-upgrade", CPU_OP, "the same message, 2000 sessions at work, upgrade, CPU-us"),
    ("active-terminate", CPU_OP, "the same message, 2000 sessions at work, terminate, CPU-us"),
    ("held-upgrade", IDLE, "idle session, upgrade, KB"),
    ("held-terminate", IDLE, "idle session, terminate, KB"),
    ("workers-upgrade", SCALE, "two workers, times one, upgrade"),
    ("workers-terminate", SCALE, "two workers, times one, terminate"),
)
# The rows that the chart shows.
PANELS = (
    ("bulk-send-upgrade", CPU_GB, "Bulk, upgrade"),
    ("bulk-send-terminate", CPU_GB, "Bulk, terminate"),
    ("sessions-upgrade", CPU_SESSION, "Session, upgrade"),
    ("sessions-resumed-terminate", CPU_SESSION, "Session, resumed, terminate"),
    ("held-upgrade", IDLE, "Memory of an idle session, upgrade"),
    ("held-terminate", IDLE, "Memory of an idle session, terminate"),
)
_COLUMNS = tuple(dict.fromkeys(
    each.name for rows in (SUBJECTS["terminate"], SUBJECTS["upgrade"]) for each in rows))
_BY_NAME = {each.name: each for each in SCENARIOS}


def number(value):
    """Formats a value with about three significant digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def spread(values):
    """Returns the median and, if there is more than one value, its interval."""
    text = number(statistics.median(values))
    if len(values) > 1:
        low, high = interval(values)
        text += f" ({number(low)}-{number(high)})"
    return text


def table(run, measured):
    """Returns the text between the marks. `run` and `measured` are as in report.write."""
    rows = []
    for name, figure, label in ROWS:
        if not (result := measured.get(name)):
            continue
        figures = result["figures"]
        scenario = _BY_NAME[name]
        against = Target(figure, OVERHEAD if figure == READY else "all", 0)
        compared = judge(scenario, figures, against)
        ratio = ""
        if compared.values and compared.rival:
            ratio = f"{'+' if figure == READY else ''}{spread(compared.values)} " + (
                f"over {compared.rival}" if figure == READY else f"of {compared.rival}")
        rows.append((label, {each: number(statistics.median(values)) for each in _COLUMNS
                             if (values := figures.get(each, {}).get(figure))}, ratio))
    columns = [each for each in _COLUMNS if any(each in cells for _, cells, _ in rows)]
    versions = run["versions"]
    rivals = ", ".join(f"{name} {version}" for name, version in versions.items()
                       if name not in (OURS, "rivals' TLS library"))
    picture = [] if chart(run, measured) is None else [
        "![CPU time and memory beside other proxies](../bench/chart.svg)", ""]
    lines = [
        BEGIN, *picture, f"Measured {run['date']} on {run['cpus']} x {run['cpu']}, {run['kernel']}: "
        f"{versions[OURS]} beside {rivals} ({versions.get('rivals' + chr(39) + ' TLS library', '?')}); "
        f"TLS {run['tls']}, {run['protocol']}, medians of {run['rounds']} interleaved rounds, the last "
        f"column with {MEANING}.", "",
        "| | " + " | ".join(columns) + " | starttls-proxy to the best rival |",
        "|---" * (len(columns) + 2) + "|"]
    for label, cells, ratio in rows:
        lines.append(f"| {label} | " + " | ".join(
            f"**{cells[each]}**" if each == OURS and each in cells else cells.get(each, "")
            for each in columns) + f" | {ratio} |")
    return "\n".join([*lines, END])


def publish(page, run, measured):
    """Returns the page with this run's table in place of the last one's. ValueError if the marks are
    missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are not both there")
    return before + table(run, measured) + after


def chart(run, measured):
    """Returns one chart of the most important figures; None if none of them was measured."""
    parts = []
    for name, figure, title in PANELS:
        figures = (measured.get(name) or {"figures": {}})["figures"]
        rows = [(each.name, each.kind, values) for each in _BY_NAME[name].subjects
                if (values := figures.get(each.name, {}).get(figure))]
        if rows:
            parts.append((title, figure, rows))
    if not parts:
        return None
    return charts.panels("What the same work costs; less is better", parts,
                         (f"{run['date']}, {run['cpu']}, one CPU for the proxy, TLS {run['tls']}",
                          f"Medians of {run['rounds']} rounds; the lines are {MEANING}",
                          run["versions"][OURS]))
