"""Compares the figures with the targets."""

import dataclasses
import statistics

from .scenarios import ABSOLUTE, OVERHEAD
from .subjects import DIRECT, OURS

EVENT_LOOPS = ("nginx mail", "nginx stream", "HAProxy")


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: object
    rival: str     # the subject that ours was compared with; "" if there was none
    values: tuple  # one value per round; empty: not measured

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def word(self):
        if not self.values:
            return "not measured"
        limit = self.target.limit
        met = self.median >= limit if self.target.at_least else self.median <= limit
        return "met" if met else "missed"

    def wanted(self):
        sign = ">=" if self.target.at_least else "<="
        if self.target.against == ABSOLUTE:
            return f"{sign} {self.target.limit:g}"
        if self.target.against == OVERHEAD:
            return f"{sign} {self.target.limit:g} over direct"
        best = {"all": "the best rival", "data path": "the best data-path rival",
                "event loops": "the best of nginx and HAProxy"}
        return f"{sign} {self.target.limit:.2f} of {best.get(self.target.against, self.target.against)}"


def best_rival(scenario, figures, target):
    """Returns the rival with the lowest median among those that the target names; None if there is none."""
    kinds = {"all": ("job", "data path"), "data path": ("data path",)}.get(target.against)
    named = EVENT_LOOPS if target.against == "event loops" else (target.against,)
    names = [each.name for each in scenario.subjects
             if (each.kind in kinds if kinds else each.name in named)]
    measured = [name for name in names if figures.get(name, {}).get(target.figure)]
    return min(measured, default=None,
               key=lambda name: statistics.median(figures[name][target.figure]))


def judge(scenario, figures, target):
    """Returns the verdict on a target. `figures`: {subject: {figure: [values]}}. Ratios are made round by
    round, because a disturbance of one subject disturbs both."""
    ours = figures.get(OURS, {}).get(target.figure, [])
    if target.against == ABSOLUTE:
        return Verdict(target, "", tuple(ours))
    if target.against == OVERHEAD:
        direct = figures.get(DIRECT, {}).get(target.figure, [])
        return Verdict(target, DIRECT, tuple(a - b for a, b in zip(ours, direct)))
    rival = best_rival(scenario, figures, target)
    if rival is None:
        return Verdict(target, "", ())
    pairs = zip(ours, figures[rival][target.figure])
    return Verdict(target, rival, tuple(a / b for a, b in pairs if b > 0))
