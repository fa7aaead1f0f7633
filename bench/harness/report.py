"""The folder of a run: results.json, report.md and charts."""

import json
import os
import pathlib
import re
import shutil
import subprocess

from . import charts, subjects
from .interval import MEANING
from .publish import spread
from .scenarios import SCENARIOS
from .verdict import judge

CHARTS = "charts"
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


def verdict_lines(measured, busy):
    lines = ["| scenario | figure | wanted | seen | beside | verdict |", "|---|---|---|---|---|---|"]
    for scenario in SCENARIOS:
        if scenario.name not in measured:
            continue
        result = measured[scenario.name]
        for target in scenario.targets:
            if target.busy != busy:
                continue
            verdict = judge(scenario, result["figures"] if result else {}, target)
            seen = spread(verdict.values) if verdict.values else "-"
            word = verdict.word if verdict.word == "met" else f"**{verdict.word}**"
            lines.append(f"| {scenario.title} | {target.figure} | {verdict.wanted()} | {seen} | "
                         f"{verdict.rival or '-'} | {word} |")
    return lines


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
    lines += ["", f"![{scenario.title}]({CHARTS}/{scenario.name}.svg)"]
    if len(result["quantiles"]) > 1:
        lines += ["", f"![latency]({CHARTS}/{scenario.name}-latency.svg)"]
    return [*lines, ""]


def draw(folder, scenario, result):
    figure = scenario.figures[0]
    rows = [(each.name, each.kind, values) for each in scenario.subjects
            if (values := result["figures"].get(each.name, {}).get(figure))]
    if rows:
        (folder / f"{scenario.name}.svg").write_text(charts.bars(scenario.title, figure, rows),
                                                     encoding="utf-8")
    if len(result["quantiles"]) > 1:
        (folder / f"{scenario.name}-latency.svg").write_text(
            charts.curves(scenario.title, result["quantiles"]), encoding="utf-8")


def merge(folder, run, measured):
    """Adds earlier results of the folder to `run` and `measured`, if the conditions were the same. A
    scenario that was measured again is replaced."""
    try:
        old = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return run, measured
    scenarios = old.pop("scenarios", {})
    same = [json.dumps({key: value for key, value in each.items() if key not in _MAY_DIFFER})
            for each in (old, run)]
    if same[0] != same[1]:
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
    lines += ["", "## Targets", "", *verdict_lines(measured, run["busy"]), "", "## What was negotiated", "",
              *negotiated_lines(run["negotiated"]), "", "## Figures", ""]
    for scenario in SCENARIOS:
        if result := measured.get(scenario.name):
            lines += scenario_lines(scenario, result)
            draw(folder / CHARTS, scenario, result)
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return "\n".join(verdict_lines(measured, run["busy"])), measured, run
