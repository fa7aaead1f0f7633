"""The folder of a run: results.json, report.md and charts."""

import json
import os
import pathlib
import re
import statistics

from . import charts
from .scenarios import SCENARIOS
from .subjects import CIPHER, SUBJECTS
from .verdict import judge

CHARTS = "charts"


def machine():
    """What the figures were measured on."""
    found = re.search(r"^model name\s*: (.*)$",
                      pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    uname = os.uname()
    return {"cpu": found[1] if found else uname.machine, "cpus": os.cpu_count(),
            "kernel": f"{uname.sysname} {uname.release}"}


def number(value):
    """Three digits that count."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def spread(values):
    """The median and, where there is more than one value, the extremes."""
    text = number(statistics.median(values))
    if len(values) > 1:
        text += f" ({number(min(values))}-{number(max(values))})"
    return text


def verdict_lines(measured):
    lines = ["| scenario | figure | wanted | seen | beside | verdict |", "|---|---|---|---|---|---|"]
    for scenario in SCENARIOS:
        if scenario.name not in measured:
            continue
        result = measured[scenario.name]
        for target in scenario.targets:
            verdict = judge(scenario, result["figures"] if result else {}, target)
            seen = spread(verdict.values) if verdict.values else "-"
            word = verdict.word if verdict.word == "met" else f"**{verdict.word}**"
            lines.append(f"| {scenario.title} | {target.figure} | {verdict.wanted()} | {seen} | "
                         f"{verdict.rival or '-'} | {word} |")
    return lines


def scenario_lines(scenario, result):
    names = [each.name for each in SUBJECTS[scenario.direction]
             if result["figures"].get(each.name)]
    lines = [f"### {scenario.title}", "", f"`--only {scenario.name}`, size {result['size']:g}", "",
             "| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for key in scenario.figures:
        cells = [spread(values) if (values := result["figures"][name].get(key)) else "-"
                 for name in names]
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    lines += ["", f"![{scenario.title}]({CHARTS}/{scenario.name}.svg)"]
    if len(result["quantiles"]) > 1:
        lines += ["", f"![latency]({CHARTS}/{scenario.name}-latency.svg)"]
    return [*lines, ""]


def draw(folder, scenario, result):
    figure = scenario.figures[0]
    rows = [(each.name, each.kind, values) for each in SUBJECTS[scenario.direction]
            if (values := result["figures"].get(each.name, {}).get(figure))]
    if rows:
        (folder / f"{scenario.name}.svg").write_text(charts.bars(scenario.title, figure, rows),
                                                     encoding="utf-8")
    if len(result["quantiles"]) > 1:
        (folder / f"{scenario.name}-latency.svg").write_text(
            charts.curves(scenario.title, result["quantiles"]), encoding="utf-8")


def write(folder, run, measured):
    """`run`: what it was made with; `measured`: {scenario: measure's result, or None}."""
    (folder / CHARTS).mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(
        json.dumps({**run, "scenarios": measured}, indent=1) + "\n", encoding="utf-8")
    lines = ["# starttls-proxy beside others", "",
             "*upgrade*: plaintext client, server that wants STARTTLS; *terminate*: the other way round. "
             "Data-path rivals (nginx stream, HAProxy, hitch) know no STARTTLS: they have implicit TLS "
             "on that side. The proxy has one CPU, load and server the others; its CPU time is the "
             "kernel's account. Medians of interleaved rounds, in parentheses minimum and maximum.", ""]
    lines += [f"- {key}: {value}" for key, value in run.items() if not isinstance(value, dict)]
    lines += [f"- {name}: {version}" for name, version in run["versions"].items()]
    if run["quick"]:
        lines += ["- **a test of the harness: too small for any figure to mean anything**"]
    lines += [f"- TLS 1.3, {CIPHER}", "", "## Targets", "", *verdict_lines(measured), "",
              "## Figures", ""]
    for scenario in SCENARIOS:
        if result := measured.get(scenario.name):
            lines += scenario_lines(scenario, result)
            draw(folder / CHARTS, scenario, result)
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return "\n".join(verdict_lines(measured))
