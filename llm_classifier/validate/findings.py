"""What is odd about a model, in words, each with the experiment or the remedy to try next, as a command.

Reads the record of metrics and the sensitivity, and nothing else. Thresholds stand beside their reasons.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm_classifier.registry import bias
from llm_classifier.registry.metrics import Metrics
from llm_classifier.settings.registry import GateSettings
from llm_classifier.validate import variants
from llm_classifier.validate.sensitivity import Sensitivity

WEAK = 0.6  # the lower end of AUROC: below it answers of +-2 log-odds are noise more often than not
BEHIND = 0.05  # of a slice's AUROC against all: half of what usually lies between a good and a useless feature
UNSURE = 0.03  # calibration error: at log-odds near 0, three pairs in a hundred decided wrongly on its account
SHARPEST = 0.67  # temperature above 1.5 shrinks log-odds by a third and more: it says too much too surely
CARRIES = 0.5  # of what AUROC is above chance that one section takes with it
ENOUGH = 0.98  # of what AUROC is above chance that one section reaches alone: histories are never told by one kind
TURNS = 0.02  # share of the pairs that are called otherwise though nothing of meaning changed
LONG = 0.3  # rank correlation with length within one label


@dataclass(frozen=True)
class Finding:
    kind: str
    says: str
    next: str  # what to try: a command, or what to look at


def find(metrics: Metrics, seen: Sensitivity | None, *, model: str, dataset: str, config: str) -> list[Finding]:
    """Oddities, the gravest first. `model`, `dataset`, `config`: how they are called in commands."""
    found = [*_weak(metrics, config), *_behind(metrics, config), *_overconfident(metrics, model, dataset, config)]
    if seen is None:
        return found
    return [*_leaks(seen, model, dataset), *found, *_carried(seen, model, dataset), *_unstable(seen, config)]


def _weak(metrics: Metrics, config: str) -> list[Finding]:
    auroc, recall = metrics.headline.get("auroc"), metrics.headline.get("recall")
    if auroc is None or auroc.low >= WEAK:
        return []
    silent = " It calls nothing one person." if recall is not None and recall.value == 0 else ""
    return [
        Finding(
            "weak",
            f"It knows little: AUROC {auroc.value:.3f}, at least {auroc.low:.3f}, where .5 is chance.{silent}",
            f"resolver llm train {config} --set train.epochs=6   (is it still learning? see run/record.json)",
        )
    ]


def _behind(metrics: Metrics, config: str) -> list[Finding]:
    slow, _ = bias.behind(metrics, GateSettings(), BEHIND)
    return [
        Finding(
            "slice",
            f"A slice falls behind: {one.told()}.",
            f"resolver llm dataset {config} --set dataset.max_pairs=40000   (more pairs of everybody; train and"
            " validate again)",
        )
        for one in slow
    ]


def _overconfident(metrics: Metrics, model: str, dataset: str, config: str) -> list[Finding]:
    found = []
    error = metrics.headline.get("calibration_error")
    temperature = metrics.calibration.get("temperature", 1.0)
    if error is not None and error.low > UNSURE:
        found.append(
            Finding(
                "calibration",
                f"What it says is off by {error.value:.1%} on average (at least {error.low:.1%}).",
                f"resolver llm calibrate {model} {dataset}",
            )
        )
    if 1 / temperature < SHARPEST:
        found.append(
            Finding(
                "overconfidence",
                f"Its raw logits are too sure: calibration divides them by {temperature:.1f}.",
                f"resolver llm train {config} --set train.epochs=1   (it may have learned its training pairs by heart)",
            )
        )
    return found


def _carried(seen: Sensitivity, model: str, dataset: str) -> list[Finding]:
    if seen.auroc <= 0.55:  # of a model that knows little, no part can carry much
        return []
    found = []
    for one in variants.SECTIONS:
        moved = seen.of(one.name)
        share = (seen.auroc - moved.auroc) / (seen.auroc - 0.5)
        if share > CARRIES:
            section = one.name.removeprefix("without ")
            found.append(
                Finding(
                    "carried",
                    f"{section.capitalize()} carry everything: without them {share:.0%} of what it knows is gone"
                    f" (AUROC {seen.auroc:.3f} -> {moved.auroc:.3f}).",
                    f"resolver llm validate {model} {dataset} --most 2000   (is it so on more pairs?)",
                )
            )
    return found


def _leaks(seen: Sensitivity, model: str, dataset: str) -> list[Finding]:
    if seen.auroc <= 0.8:  # a weak model may well read one kind alone
        return []
    found = []
    for one in variants.ALONE:
        moved = seen.of(one.name)
        reached = (moved.auroc - 0.5) / (seen.auroc - 0.5)
        if reached > ENOUGH:
            section = one.name.removeprefix("only ")
            found.append(
                Finding(
                    "leak",
                    f"{section.capitalize()} alone reach AUROC {moved.auroc:.3f} of {seen.auroc:.3f}: something in them"
                    " may give the person away.",
                    f"resolver llm explain {model} {dataset} --surest   (look at the pairs that it is surest of)",
                )
            )
    return found


def _unstable(seen: Sensitivity, config: str) -> list[Finding]:
    found = []
    for name, words in ((variants.SWAPPED, "swapping the sides"), ("shuffled", "another order within sections")):
        if seen.of(name).turned > TURNS:
            found.append(
                Finding(
                    "unstable",
                    f"It hangs on what means nothing: {words} turns {seen.of(name).turned:.1%} of the answers.",
                    f"resolver llm train {config} --set train.epochs=2   (both orders of a pair are in the data set)",
                )
            )
    if abs(seen.length) > LONG:
        found.append(
            Finding(
                "length",
                f"Long prompts are called {'one person' if seen.length > 0 else 'two persons'} more often, true or not"
                f" (rank correlation {seen.length:+.2f}).",
                f"resolver llm dataset {config} --set dataset.tokens_per_side=256   (sides of more equal length)",
            )
        )
    return found
