"""Whether a model may take the place of the one in production: both on the same pinned test set, figure by figure.

A function of two records of metrics and the bounds; reads no file, decides nothing else, remembers nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_classifier.registry.metrics import BETTER, Figure, Metrics, Slice, short
from llm_classifier.settings.registry import GateSettings

WHOLE = "all pairs"
SMALLEST = 1e-3  # a figure below this (an error that nearly vanished) is held against this instead of against itself


@dataclass(frozen=True)
class Comparison:
    """One figure of one slice, or of the whole test set, before and after."""

    where: str
    figure: str
    before: float
    now: float
    worse: float  # as a share of `before`; negative: better
    bound: float
    met: bool
    apart: bool  # the two intervals do not touch: more than noise


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reasons: tuple[str, ...]  # why not; or, of a model that may, why
    against: int | None  # version in production; None: there was none
    test_set: str  # pin of the candidate's test set
    comparisons: tuple[Comparison, ...] = ()
    not_judged: tuple[str, ...] = ()  # slices that are too small

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)

    def facts(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def judge(
    candidate: Metrics,
    measured: Mapping[str, Metrics],
    bounds: GateSettings,
    *,
    against: int | None,
    test_set: str,
) -> Verdict:
    """`measured`: what the model in production scored, by pin of the test set. `test_set`: pin of the last promotion's
    test set, or empty."""
    wanted = bounds.test_set or test_set
    faults = []
    if wanted and candidate.test_set != wanted:
        faults.append(
            f"the test set changed: measured on {short(candidate.test_set)}, but the pin that counts is {short(wanted)}"
        )
    if candidate.split != "test":
        faults.append(f"measured on the split {candidate.split}, not on test")
    before = measured.get(candidate.test_set)
    if against is not None and before is None and not faults:
        faults.append(f"version {against}, in production, was never measured on the test set {candidate.test_name}")
    faults += _seen(candidate, bounds)
    missing = [name for name in dict.fromkeys((*bounds.headline, *bounds.at_least)) if name not in candidate.headline]
    if missing:
        faults.append(f"not measured: {', '.join(missing)}")
    missing = [name for name in bounds.headline if before is not None and name not in before.headline]
    if missing:
        faults.append(f"not measured of version {against}, in production: {', '.join(missing)}")
    missing = sorted(set(bounds.slices) - {one.dimension for one in candidate.slices})
    if missing:
        faults.append(f"there is a bound for {', '.join(missing)}, and no such slice was measured")
    if faults:
        return Verdict(False, tuple(faults), against, candidate.test_set)
    faults += _floors(candidate, bounds)
    comparisons: list[Comparison] = []
    small: list[str] = []
    if before is not None:
        changed = _changed(candidate, before)
        if changed:
            return Verdict(False, (changed,), against, candidate.test_set)
        comparisons += _headline(candidate, before, bounds)
        inside, small, lost = _slices(candidate, before, bounds)
        comparisons += inside
        faults += lost
        faults += [_said(one) for one in comparisons if not one.met]
    reasons = tuple(faults) or (_praise(comparisons, against),)
    return Verdict(not faults, reasons, against, candidate.test_set, tuple(comparisons), tuple(small))


def _seen(candidate: Metrics, bounds: GateSettings) -> list[str]:
    """A model that was trained on the test set shines on it."""
    if candidate.seen is None:
        return [
            f"trained on {short(candidate.trained_on)} and measured on {candidate.test_name}, and nobody looked "
            "whether they overlap (resolver llm validate --trained-on)"
        ]
    share = candidate.seen / candidate.pairs
    return [f"{share:.1%} of the test pairs stand in its training data"] if share > bounds.max_seen else []


def _floors(candidate: Metrics, bounds: GateSettings) -> list[str]:
    faults = []
    for name, bound in bounds.at_least.items():
        figure = candidate.headline[name]
        if BETTER[name] == "higher" and figure.low <= bound:
            faults.append(f"{name} is {figure.value:.4f}, its interval begins at {figure.low:.4f}, not above {bound:g}")
        elif BETTER[name] == "lower" and figure.high >= bound:
            faults.append(f"{name} is {figure.value:.4f}, its interval ends at {figure.high:.4f}, not below {bound:g}")
    return faults


def _changed(candidate: Metrics, before: Metrics) -> str | None:
    """The same pin, yet not the same pairs: one of the two was not measured on the whole of it."""
    if (candidate.pairs, candidate.positives) == (before.pairs, before.positives):
        return None
    return (
        f"the two models were not measured on the same pairs: {candidate.pairs:,} ({candidate.positives:,} true) and "
        f"{before.pairs:,} ({before.positives:,} true)"
    )


def _headline(candidate: Metrics, before: Metrics, bounds: GateSettings) -> list[Comparison]:
    return [
        _compare(WHOLE, name, before.headline[name], candidate.headline[name], bounds.max_worse)
        for name in bounds.headline
    ]


def _slices(candidate: Metrics, before: Metrics, bounds: GateSettings) -> tuple[list[Comparison], list[str], list[str]]:
    """Comparisons, names of slices that are too small to judge, and faults: slices that are no longer there."""
    mine = {one.name: one for one in candidate.slices}
    comparisons, small, lost = [], [], []
    for old in before.slices:
        if _small(old, bounds.slice_min_pairs):
            small.append(old.name)
            continue
        new = mine.get(old.name)
        bound = bounds.slices.get(old.dimension, bounds.slice_max_worse)
        for name in bounds.slice_figures:
            if name not in old.figures:
                continue
            if new is None or name not in new.figures:
                lost.append(f"{name} of {old.name} was not measured")
                continue
            comparisons.append(_compare(old.name, name, old.figures[name], new.figures[name], bound))
    return comparisons, small, lost


def _small(one: Slice, fewest: int) -> bool:
    return min(one.positives, one.pairs - one.positives) < fewest


def _compare(where: str, name: str, before: Figure, now: Figure, bound: float) -> Comparison:
    lost = before.value - now.value if BETTER[name] == "higher" else now.value - before.value
    worse = lost / max(abs(before.value), SMALLEST)
    apart = now.high < before.low or now.low > before.high
    # A bound that is met exactly is met, whatever the last binary digit says.
    return Comparison(where, name, before.value, now.value, worse, bound, worse <= bound + 1e-9, apart)


def _said(one: Comparison) -> str:
    sure = "" if one.apart else ", though the intervals touch"
    return (
        f"{one.figure} of {one.where} is {one.worse:.1%} worse ({one.before:.4f} to {one.now:.4f}), "
        f"more than {one.bound:.1%}{sure}"
    )


def _praise(comparisons: list[Comparison], against: int | None) -> str:
    if against is None:
        return "nothing was in production, and every figure reaches what it must"
    headline = ", ".join(f"{one.figure} {one.before:.4f} to {one.now:.4f}" for one in comparisons if one.where == WHOLE)
    slices = sum(one.where != WHOLE for one in comparisons)
    within = f", {slices} comparisons by slice within bounds" if slices else ""
    return f"not worse than version {against}: {headline}{within}"
