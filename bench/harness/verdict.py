"""Compares the figures with the targets."""

import dataclasses
import statistics

from .interval import interval
from .scenarios import ABSOLUTE, MORE_IS_BETTER, OVERHEAD, SCENARIOS
from .subjects import DIRECT, OURS, builds

CONTESTANTS = ("ours", "job", "data path")
RIVALS = {"all": ("job", "data path"), "data path": ("data path",)}


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: object
    rival: str     # the subject that ours was compared with; "" if there was none
    values: tuple  # one value per round; empty: not measured
    limit: float

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def word(self):
        if not self.values:
            return "not measured"
        met = self.median >= self.limit if self.target.at_least else self.median <= self.limit
        return "met" if met else "missed"

    @property
    def differs(self):
        """False if the interval of the ratio holds 1: then no difference was shown. One round has no
        interval."""
        low, high = interval(self.values)
        return len(self.values) == 1 or not low <= 1 <= high

    def wanted(self):
        sign = ">=" if self.target.at_least else "<="
        if self.target.against == ABSOLUTE:
            return f"{sign} {self.limit:g}"
        if self.target.against == OVERHEAD:
            return f"{sign} {self.limit:g} over direct"
        best = {"all": "the best rival", "data path": "the best data-path rival"}
        return f"{sign} {self.limit:.2f} of {best.get(self.target.against, self.target.against)}"


def _median(figures, name, figure):
    return statistics.median(figures[name][figure])


def best(figures, names, figure):
    """Returns the one of the subjects with the best median; None if none of them was measured."""
    measured = [name for name in names if figures.get(name, {}).get(figure)]
    choose = max if figure in MORE_IS_BETTER else min
    return choose(measured, default=None, key=lambda name: _median(figures, name, figure))


def best_rival(scenario, figures, figure, against):
    """Returns the best of the rivals that `against` of a target names; None if there is none."""
    kinds = RIVALS.get(against)
    names = [each.name for each in scenario.subjects
             if (each.kind in kinds if kinds else each.name == against)]
    return best(figures, names, figure)


def best_of_all(scenario, figures, figure):
    """Returns the best of all subjects with the scenario's job, ours or a rival; None if there is none."""
    return best(figures, [each.name for each in scenario.subjects if each.kind in CONTESTANTS], figure)


def judge(scenario, figures, target, ours=OURS, version=""):
    """Returns the verdict on a target. `figures`: {subject: {figure: [values]}}. `ours`: the build of ours
    that is judged; its version names the TLS library. Ratios are made round by round, because a
    disturbance of one subject disturbs both."""
    limit = target.aws_lc if target.aws_lc is not None and "AWS-LC" in version else target.limit
    own = figures.get(ours, {}).get(target.figure, [])
    if target.against == ABSOLUTE:
        return Verdict(target, "", tuple(own), limit)
    if target.against == OVERHEAD:
        direct = figures.get(DIRECT, {}).get(target.figure, [])
        return Verdict(target, DIRECT, tuple(a - b for a, b in zip(own, direct)), limit)
    rival = best_rival(scenario, figures, target.figure, target.against)
    if rival is None:
        return Verdict(target, "", (), limit)
    pairs = zip(own, figures[rival][target.figure])
    return Verdict(target, rival, tuple(a / b for a, b in pairs if b > 0), limit)


def verdicts(scenario, result, run, busy=False):
    """Yields (build, verdict) for each target of a scenario and each build of ours. `result`: of
    measure.measure, or None. `busy`: the result of a run with --busy, where other targets count. A target
    that was not measured has a verdict too, but only for the first build."""
    figures = result["figures"] if result else {}
    names = {each.name for each in scenario.subjects}
    for target in scenario.targets:
        for build in builds():
            if target.busy == busy and build in names and (build == OURS or figures.get(build)):
                yield build, judge(scenario, figures, target, build, run["versions"].get(build, ""))


def all_verdicts(run, measured, busy):
    """Yields (title, build, verdict) for every target there is. `measured` and `busy`: {scenario: result},
    of a run as usual and of one with --busy."""
    for scenario in SCENARIOS:
        for beside, results in ((False, measured), (True, busy)):
            for build, verdict in verdicts(scenario, results.get(scenario.name), run, beside):
                yield f"{scenario.title}{', beside other load' if beside else ''}", build, verdict
