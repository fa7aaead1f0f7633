"""The folder of a run: results.json, report.md and charts."""

import json
import os
import pathlib
import re
import shutil
import subprocess

from . import charts, subjects
from .interval import MEANING, spread
from .others import note as disturbance
from .scenarios import MORE_IS_BETTER, SCENARIOS
from .verdict import verdicts

CHARTS = "charts"
BUSY = "-busy"  # the end of the name of a folder
# Keys that may differ if two runs are still to count as one.
_MAY_DIFFER = ("date", "negotiated")
# The paths that a figure depends on.
_MEASURED = ("lib", "proxy", "tools/mail_server", "bench/load", "bench/rivals", "bench/harness/subjects.py",
             "bench/harness/scenarios.py", "cmake", "CMakeLists.txt")


def machine():
    """Returns the machine that the figures were measured on."""
    found = re.search(r"^model name\s*: (.*)$",
                      pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    uname = os.uname()
    return {"cpu": found[1] if found else uname.machine, "cpus": os.cpu_count(),
            "kernel": f"{uname.sysname} {uname.release}"}


def commit(root):
    """Returns the last commit that changed a measured path, if there is git and it knows one."""
    if shutil.which("git") is None:
        return "unknown"

    def git(*words):
        return subprocess.run(["git", "-C", str(root), *words, "--", *_MEASURED], check=False,
                              capture_output=True, text=True).stdout.strip()

    return (git("log", "-1", "--format=%h") or "unknown") + (
        "-dirty" if git("status", "--porcelain") else "")


def library_slug(version):
    """Returns "boringssl-api-17" for "starttls-proxy 0.1.0, ..., BoringSSL (API 17), ..."."""
    library = subjects.library_of(version)
    return re.sub(r"[^a-z0-9]+", "-", library.lower()).strip("-")


def verdict_lines(rows):
    """Returns a table of (title, build, verdict). It names the builds if there are several."""
    rows = list(rows)
    several = len({build for _, build, _ in rows}) > 1
    lines = ["| scenario | figure | wanted | seen | beside | verdict |", "|---" * 6 + "|"]
    for title, build, verdict in rows:
        seen = spread(verdict.values) if verdict.values else "-"
        word = verdict.word if verdict.word == "met" else f"**{verdict.word}**"
        lines.append(f"| {title}{f', {build}' if several else ''} | {verdict.target.figure} | "
                     f"{verdict.wanted()} | {seen} | {verdict.rival or '-'} | {word} |")
    return lines


def measured_verdicts(run, measured):
    """Yields the rows of the scenarios in `measured`."""
    for scenario in SCENARIOS:
        if scenario.name in measured:
            for build, verdict in verdicts(scenario, measured[scenario.name], run, run["busy"]):
                yield scenario.title, build, verdict


def negotiated_lines(negotiated):
    """Returns lines with what every subject negotiates. They warn if the groups differ: a key exchange
    with another cost is no part of the comparison."""
    lines = []
    for direction, rows in negotiated.items():
        groups = {text.split()[2] for text in rows.values()}
        if len(groups) > 1:
            lines.append(f"- **{direction}: not all have the same group, so handshakes do not compare**")
        lines += [f"- {direction}, {name}: {text}" for name, text in rows.items()]
    return lines


def table_lines(scenario, result):
    """Returns a table of all figures of a scenario; no line if it was not measured."""
    if not result:
        return []
    names = [each.name for each in scenario.subjects
             if result["figures"].get(each.name)]
    lines = [f"| {scenario.title} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for key in scenario.figures:
        cells = [spread(values) if (values := result["figures"][name].get(key)) else "-"
                 for name in names]
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return lines


def scenario_lines(scenario, result):
    lines = [f"### {scenario.title}", "", f"`--only {scenario.name}`, size {result['size']:g}. "
             f"{scenario.note}".rstrip(), "", *table_lines(scenario, result)]
    if note := disturbance(result.get("others")):
        lines += ["", f"**{note[0].upper()}{note[1:]}.**"]
    lines += ["", f"![{scenario.title}]({CHARTS}/{scenario.name}.svg)"]
    if len(result["quantiles"]) > 1:
        lines += ["", f"![latency]({CHARTS}/{scenario.name}-latency.svg)"]
    return [*lines, ""]


def draw(folder, scenario, result):
    figure = scenario.figures[0]
    rows = [(each.name, values) for each in scenario.subjects
            if (values := result["figures"].get(each.name, {}).get(figure))]
    if rows:
        note = f"{'more' if figure in MORE_IS_BETTER else 'less'} is better"
        (folder / f"{scenario.name}.svg").write_text(
            charts.bars(scenario.title, figure, rows, note), encoding="utf-8")
    if len(result["quantiles"]) > 1:
        (folder / f"{scenario.name}-latency.svg").write_text(
            charts.curves(scenario.title, result["quantiles"]), encoding="utf-8")


def same_conditions(one, other, may_differ):
    return all(one.get(key) == other.get(key) for key in {*one, *other} - {*may_differ})


def busy_results(folder, run):
    """Returns the results of a run with --busy under the same conditions, from the folder beside."""
    try:
        found = json.loads((folder.with_name(f"{folder.name}{BUSY}") / "results.json").read_text(
            encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    scenarios = found.pop("scenarios", {})
    return scenarios if same_conditions(found, run, (*_MAY_DIFFER, "busy")) and found.get("busy") else {}


def merge(folder, run, measured):
    """Adds earlier results of the folder to `run` and `measured`, if the conditions were the same. A
    scenario that was measured again is replaced."""
    try:
        old = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return run, measured
    scenarios = old.pop("scenarios", {})
    if not same_conditions(old, run, _MAY_DIFFER):
        return run, measured
    return ({**run, "negotiated": {**old.get("negotiated", {}), **run["negotiated"]}},
            {**scenarios, **measured})


def write(folder, run, measured):
    """Writes the folder. `run`: the conditions; `measured`: {scenario: measure's result, or None}. Returns
    the verdicts, and the figures and conditions that are in the folder now."""
    (folder / CHARTS).mkdir(parents=True, exist_ok=True)
    run, measured = merge(folder, run, measured)
    (folder / "results.json").write_text(
        json.dumps({**run, "scenarios": measured}, indent=1) + "\n", encoding="utf-8")
    lines = ["# starttls-proxy beside others", "",
             "*upgrade*: plaintext client, server that wants STARTTLS; *terminate*: the other way round; "
             "*clear*: no TLS at all. "
             "Data-path rivals (nginx stream, HAProxy, hitch) know no STARTTLS: they have implicit TLS "
             "on that side. The proxy has one CPU, load and server the others; its CPU time is the "
             f"kernel's account. Medians of interleaved rounds; in parentheses {MEANING} (minimum and "
             "maximum where there are less than 6 rounds). Ratios are made round by round.", ""]
    lines += [f"- {key}: {value}" for key, value in run.items() if not isinstance(value, dict)]
    lines += [f"- {name}: {version}" for name, version in run["versions"].items()]
    if run["quick"]:
        lines += ["- **a test of the harness: too small for any figure to mean anything**"]
    lines += ["", "## Targets", "", *verdict_lines(measured_verdicts(run, measured)), "",
              "## What was negotiated", "", *negotiated_lines(run["negotiated"]), "", "## Figures", ""]
    for scenario in SCENARIOS:
        if result := measured.get(scenario.name):
            lines += scenario_lines(scenario, result)
            draw(folder / CHARTS, scenario, result)
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return "\n".join(verdict_lines(measured_verdicts(run, measured))), measured, run
