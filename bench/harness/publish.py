"""Writes the results of a run into docs/benchmarks.md (two tables between two marks), one chart, and one
line into README.md. No figure in them is typed by hand."""

import statistics

from . import charts
from .interval import MEANING, number, spread
from .others import note as disturbance
from .scenarios import (CPU_GB, CPU_OP, CPU_SESSION, IDLE, OVERHEAD, P50, P99, RATE, READY, READY99, SCALE,
                        SCENARIOS, Target)
from .subjects import HOST_SUITE, OURS, RIVALS_LIBRARY, builds, columns
from .verdict import CONTESTANTS, RIVALS, all_verdicts, best_of_all, judge

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

# Scenario, figure, label of the row.
ROWS = (
    ("bulk-send-upgrade", CPU_GB, "bulk, client to server, upgrade, CPU-s/GB"),
    ("bulk-fetch-upgrade", CPU_GB, "bulk, server to client, upgrade, CPU-s/GB"),
    ("bulk-send-terminate", CPU_GB, "bulk, client to server, terminate, CPU-s/GB"),
    ("bulk-fetch-terminate", CPU_GB, "bulk, server to client, terminate, CPU-s/GB"),
    ("bulk-send-clear", CPU_GB, "bulk, client to server, nothing encrypted, CPU-s/GB"),
    ("bulk-fetch-clear", CPU_GB, "bulk, server to client, nothing encrypted, CPU-s/GB"),
    ("bulk-send-left-clear", CPU_GB, "bulk, client to server, left in the clear, CPU-s/GB"),
    ("bulk-fetch-left-clear", CPU_GB, "bulk, server to client, left in the clear, CPU-s/GB"),
    ("records-1400-upgrade", CPU_GB, "bulk in records of 1400 bytes, upgrade, CPU-s/GB"),
    ("records-4096-upgrade", CPU_GB, "bulk in records of 4096 bytes, upgrade, CPU-s/GB"),
    ("records-1400-terminate", CPU_GB, "bulk in records of 1400 bytes, terminate, CPU-s/GB"),
    ("records-4096-terminate", CPU_GB, "bulk in records of 4096 bytes, terminate, CPU-s/GB"),
    ("sessions-upgrade", CPU_SESSION, "session, upgrade, CPU-ms"),
    ("sessions-upgrade", RATE, "session, upgrade, per second"),
    ("sessions-full-terminate", CPU_SESSION, "session, full handshake, terminate, CPU-ms"),
    ("sessions-full-terminate", RATE, "session, full handshake, terminate, per second"),
    ("sessions-resumed-terminate", CPU_SESSION, "session, resumed, terminate, CPU-ms"),
    ("sessions-resumed-terminate", RATE, "session, resumed, terminate, per second"),
    ("greeting-upgrade", READY, "time to a usable greeting, upgrade, p50, ms"),
    ("greeting-upgrade", READY99, "time to a usable greeting, upgrade, p99, ms"),
    ("greeting-terminate", READY, "time to a usable greeting, terminate, p50, ms"),
    ("greeting-terminate", READY99, "time to a usable greeting, terminate, p99, ms"),
    ("greeting-warm-upgrade", READY, "time to a usable greeting, upgrade, warm, p50, ms"),
    ("messages-upgrade", CPU_OP, "4 KiB message, upgrade, CPU-us"),
    ("messages-upgrade", P99, "4 KiB message, upgrade, p99, us"),
    ("messages-terminate", CPU_OP, "4 KiB message, terminate, CPU-us"),
    ("messages-terminate", P99, "4 KiB message, terminate, p99, us"),
    ("commands-upgrade", CPU_OP, "command round trip, upgrade, CPU-us"),
    ("commands-upgrade", P50, "command round trip, upgrade, p50, us"),
    ("commands-upgrade", P99, "command round trip, upgrade, p99, us"),
    ("commands-terminate", CPU_OP, "command round trip, terminate, CPU-us"),
    ("commands-terminate", P50, "command round trip, terminate, p50, us"),
    ("commands-terminate", P99, "command round trip, terminate, p99, us"),
    ("active-upgrade", CPU_OP, "the same message, 2000 sessions at work, upgrade, CPU-us"),
    ("active-terminate", CPU_OP, "the same message, 2000 sessions at work, terminate, CPU-us"),
    ("held-upgrade", IDLE, "idle session, upgrade, KB"),
    ("held-terminate", IDLE, "idle session, terminate, KB"),
    ("held-many-upgrade", IDLE, "idle session, one of 50 000, upgrade, KB"),
    ("held-many-terminate", IDLE, "idle session, one of 50 000, terminate, KB"),
    ("workers-upgrade", SCALE, "two workers, times one, upgrade"),
    ("workers-terminate", SCALE, "two workers, times one, terminate"),
)
# The rows that the chart shows as bars.
PANELS = (
    ("bulk-send-upgrade", CPU_GB, "Bulk, upgrade"),
    ("bulk-send-terminate", CPU_GB, "Bulk, terminate"),
    ("sessions-upgrade", CPU_SESSION, "Session, upgrade"),
    ("sessions-resumed-terminate", CPU_SESSION, "Session, resumed, terminate"),
    ("held-upgrade", IDLE, "Memory of an idle session, upgrade"),
    ("held-terminate", IDLE, "Memory of an idle session, terminate"),
)
# Scenario, title of a panel with median and 99th percentile.
LATENCIES = (
    ("greeting-upgrade", "Time to a usable greeting, upgrade"),
    ("greeting-terminate", "Time to a usable greeting, terminate"),
)
# The groups of README's line. Each has the CPU time or memory of ours beside the best rival's.
GROUPS = (
    ("bulk", CPU_GB, ("bulk-send-upgrade", "bulk-fetch-upgrade", "bulk-send-terminate",
                      "bulk-fetch-terminate")),
    ("a session", CPU_SESSION, ("sessions-upgrade", "sessions-full-terminate",
                                "sessions-resumed-terminate")),
    ("a message", CPU_OP, ("messages-upgrade", "messages-terminate")),
    ("memory of an idle session", IDLE, ("held-upgrade", "held-terminate")),
)
_BY_NAME = {each.name: each for each in SCENARIOS}


def _figures(measured, name):
    return (measured.get(name) or {"figures": {}})["figures"]


def _compared(scenario, figures, figure):
    """Returns ours beside the best rival in words; beside no proxy if there is no rival."""
    verdict = judge(scenario, figures, Target(figure, "all", 0))
    if not verdict.values:
        if figure != READY or not (over := judge(scenario, figures, Target(figure, OVERHEAD, 0))).values:
            return ""
        return f"+{spread(over.values)} over {over.rival}"
    text = f"{spread(verdict.values)} of {verdict.rival}"
    return text if verdict.differs else f"no difference: {text}"


def _row(label, scenario, figures, figure, names):
    """Returns a line of the table. The best figure is bold, unless there is only one."""
    best = best_of_all(scenario, figures, figure)
    rivals = [each.name for each in scenario.subjects
              if each.kind in CONTESTANTS and figures.get(each.name, {}).get(figure)]
    cells = []
    for name in names:
        values = figures.get(name, {}).get(figure)
        text = number(statistics.median(values)) if values else ""
        cells.append(f"**{text}**" if name == best and len(rivals) > 1 else text)
    return f"| {label} | {' | '.join(cells)} | {_compared(scenario, figures, figure)} |"


def figure_lines(measured):
    """Returns the table of the figures."""
    present = [row for row in ROWS if any(
        each.get(row[1]) for each in _figures(measured, row[0]).values())]
    names = [name for name in columns() if any(
        _figures(measured, scenario).get(name, {}).get(figure) for scenario, figure, _ in present)]
    return ["| | " + " | ".join(names) + f" | {OURS} to the best rival |",
            "|---" * (len(names) + 2) + "|",
            *(_row(label, _BY_NAME[name], _figures(measured, name), figure, names)
              for name, figure, label in present)]


def _verdict_cell(verdict, limit):
    """Returns verdict and figure in words. `limit`: the one that the row names; a build may have another."""
    text = verdict.word if verdict.word == "met" else f"**{verdict.word}**"
    if verdict.values:
        text += f": {spread(verdict.values)}"
        if verdict.target.against in RIVALS:
            text += f" of {verdict.rival}"
        if verdict.limit != limit:
            text += f", wanted {verdict.wanted()}"
    return text


def target_lines(run, measured, busy):
    """Returns the table of all targets: a row for each, and a column of verdicts for each build of ours."""
    rows = {}  # (title, target) -> {build: verdict}
    for title, build, verdict in all_verdicts(run, measured, busy):
        rows.setdefault((title, verdict.target), {})[build] = verdict
    names = [name for name in builds() if any(name in row for row in rows.values())]
    counted = []
    for name in names:
        words = [row[name].word if name in row else "not measured" for row in rows.values()]
        counted.append(f"{name}: " + ", ".join(
            f"{words.count(word)} {word}" for word in ("met", "missed", "not measured")))
    lines = [f"Targets of {'; '.join(counted)}.", "",
             f"| target | figure | wanted | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for (title, target), row in rows.items():
        cells = [_verdict_cell(row[name], row[OURS].limit) if name in row else "" for name in names]
        lines.append(f"| {title} | {target.figure} | {row[OURS].wanted()} | {' | '.join(cells)} |")
    return lines


def versions_of(run):
    """Yields (name, version) of each build of ours, and of the rivals together."""
    versions = run["versions"]
    for name in builds():
        if name in versions:
            yield name, versions[name].removeprefix(f"{OURS} ")
    rivals = ", ".join(f"{name} {version}" for name, version in versions.items()
                       if name not in (*builds(), RIVALS_LIBRARY))
    if rivals:
        suite = f", of Debian {run['suite']}" if run["suite"] != HOST_SUITE else ""
        yield "beside", f"{rivals} ({versions.get(RIVALS_LIBRARY, '?')}){suite}"


def disturbed_lines(measured):
    """Returns a line that names the scenarios with figures that other programs have disturbed."""
    titles = [scenario.title for scenario in SCENARIOS
              if disturbance((measured.get(scenario.name) or {}).get("others"))]
    return [f"Disturbed by other programs: {'; '.join(titles)}.", ""] if titles else []


def table(run, measured, busy):
    """Returns the text between the marks. `run` and `measured` are as in report.write; `busy` has the
    results of a run with --busy."""
    picture = [] if chart(run, measured) is None else [
        "![CPU time, memory and latency beside other proxies](../bench/chart.svg)", ""]
    return "\n".join([
        BEGIN, *picture, f"Measured {run['date']} on {run['cpus']} x {run['cpu']}, {run['kernel']}: "
        f"TLS {run['tls']}, {run['protocol']}, medians of {run['rounds']} interleaved rounds, ratios "
        f"with {MEANING}.", "", *(f"- {name}: {version}" for name, version in versions_of(run)), "",
        "Bold: the best of a row, among the subjects that have its job. The last column: the median of the ratios and "
        "its interval.", "", *disturbed_lines(measured), *figure_lines(measured), "",
        *target_lines(run, measured, busy), END])


def _between_marks(page, text):
    """Returns the page with a text in place of the marks and of all between them. ValueError if the marks are
    missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are not both there")
    return before + text + after


def publish(page, run, measured, busy):
    """Returns docs/benchmarks.md with this run's tables in place of the last one's."""
    return _between_marks(page, table(run, measured, busy))


def line(run, measured):
    """Returns README's line; None if a group was not measured."""
    words = []
    for name, figure, scenarios in GROUPS:
        verdicts = [judge(_BY_NAME[each], _figures(measured, each), Target(figure, "all", 0))
                    for each in scenarios]
        medians = [each.median for each in verdicts if each.values]
        if not medians:
            return None
        ends = sorted({f"{min(medians):.2f}", f"{max(medians):.2f}"})
        words.append(f"{name} {' to '.join(ends)}")
    return (f"Measured {run['date'].partition(' ')[0]}, beside the best of the others (1 = the same): "
            f"CPU time of {', '.join(words[:-1])}; {words[-1]}.")


def publish_line(page, run, measured):
    """Returns README.md with this run's line in place of the last one's."""
    text = line(run, measured)
    return page if text is None else _between_marks(page, f"{BEGIN}\n{text}\n{END}")


def chart(run, measured):
    """Returns one chart of the most important figures; None if none of them was measured."""
    parts = []
    for name, figure, title in PANELS:
        figures = _figures(measured, name)
        rows = [(each.name, values) for each in _BY_NAME[name].subjects
                if (values := figures.get(each.name, {}).get(figure))]
        if rows:
            parts.append(("bars", title, figure, rows))
    for name, title in LATENCIES:
        figures = _figures(measured, name)
        rows = [(each.name, *(statistics.median(figures[each.name][key]) for key in (READY, READY99)))
                for each in _BY_NAME[name].subjects if figures.get(each.name, {}).get(READY99)]
        if rows:
            parts.append(("latencies", title, "ms", rows))
    if not parts:
        return None
    return charts.panels("What the same work costs; less is better", parts,
                         (f"{run['date']}, {run['cpu']}, one CPU for the proxy, TLS {run['tls']}",
                          f"Medians of {run['rounds']} rounds; the lines on the bars are {MEANING}",
                          *(f"{name}: {version}" for name, version in versions_of(run))))
