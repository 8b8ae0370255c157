"""Whether some people are served worse than others: slices of one record of metrics that fall behind all pairs.

The gate compares a slice with what it was; this compares it with everybody else. Reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm_classifier.registry.metrics import BETTER, Metrics
from llm_classifier.settings.registry import GateSettings


@dataclass(frozen=True)
class Behind:
    where: str
    figure: str
    whole: float
    here: float
    share: float  # how much worse, of the figure of all pairs

    def told(self) -> str:
        return f"{self.figure} of {self.where} is {self.here:.4f}, {self.share:.1%} worse than {self.whole:.4f} of all"


def behind(found: Metrics, bounds: GateSettings, most: float) -> tuple[list[Behind], list[str]]:
    """Slices that are worse than all pairs by more than `most` and by more than noise; names of those too small."""
    slow, small = [], []
    for one in found.slices:
        if min(one.positives, one.pairs - one.positives) < bounds.slice_min_pairs:
            small.append(one.name)
            continue
        for name in bounds.slice_figures:
            if name not in one.figures or name not in found.headline:
                continue
            whole, here = found.headline[name], one.figures[name]
            lost = whole.value - here.value if BETTER[name] == "higher" else here.value - whole.value
            share = lost / max(abs(whole.value), 1e-3)
            apart = here.high < whole.low if BETTER[name] == "higher" else here.low > whole.high
            if share > most and apart:
                slow.append(Behind(one.name, name, whole.value, here.value, share))
    return slow, small
