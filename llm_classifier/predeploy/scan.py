"""The memorisation scan as one check: what can be asked of this kind of model, with what there is to ask about.

Says plainly what was not looked at: no canaries planted, no records named, no data set here, or a model that can
complete nothing because its language head is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from llm_classifier import artifact
from llm_classifier.artifact import Artifact
from llm_classifier.dataset import canaries
from llm_classifier.predeploy import memorised
from llm_classifier.predeploy.memorised import Finding, Likelihoods, Logits
from llm_classifier.predeploy.outcome import Check, go, no_go, not_checked
from llm_classifier.settings.predeploy import ScanSettings
from resolver.errors import UsageError

if TYPE_CHECKING:
    from llm_classifier.dataset import Dataset

NAME = "memorisation"
SEED = 0  # of which strings and pairs are drawn
CLASSIFIER = "a classifier completes nothing, so only its logit was watched"


def scan(
    folder: Path,
    told: Artifact,
    settings: ScanSettings,
    *,
    pairs: Dataset | None,
    ask: Logits,
    likely: Callable[[], Likelihoods],
) -> Check:
    """`ask` and `likely` reach the model; the second is called only of a causal one."""
    causal = told.kind == "causal"
    carriers = _carriers(folder, settings.carriers)
    records = _records(settings.records)
    mine = pairs if pairs is not None and pairs.pin == told.dataset_pin else None
    planted = None if mine is None else canaries.of(mine)
    found: list[Finding] = []
    unseen = []
    chances = likely() if causal else None
    if mine is None:
        unseen.append("the data set that it was trained on is not here")
    elif planted is None:
        unseen.append("no canaries were planted in the training data")
    elif chances is not None:
        found.append(memorised.canaries_of_causal(chances, planted, settings.controls))
    else:
        found.append(memorised.canaries_of_classifier(ask, planted, carriers, settings.controls))
    if records is None:
        unseen.append("no records were named to take names and numbers from")
    else:
        if chances is not None:
            tried = memorised.identifiers_of_causal(chances, records, settings.strings, SEED)
        else:
            tried = memorised.identifiers_of_classifier(ask, records, carriers, settings.strings, SEED)
        found += tried
        if len(tried) < len(memorised.IDENTIFIERS):
            kinds = " and ".join(memorised.IDENTIFIERS)
            unseen.append(f"of {kinds}, only {len(tried)} could be held against others of the kind")
    if mine is not None:
        train, test = mine.split("train"), mine.split("test")
        found.append(memorised.membership(ask, train, test, settings.pairs, SEED))
    return _judged(found, unseen, causal, settings)


def _judged(found: Sequence[Finding], unseen: Sequence[str], causal: bool, settings: ScanSettings) -> Check:
    notes = [*unseen, *([] if causal else [CLASSIFIER])]
    if not found:
        return not_checked(NAME, "; ".join(notes), "Name predeploy.dataset and predeploy.scan.records.")
    bad = [one for one in found if _remembered(one, settings)]
    says = "; ".join([*(one.told() for one in bad or found), *notes])
    if bad:
        return no_go(NAME, says, "Train for fewer epochs, or find what in the training data repeats.")
    return go(NAME, says)


def _remembered(one: Finding, settings: ScanSettings) -> bool:
    """Beyond chance; of membership also beyond what is allowed, since every model fits its own data a little better."""
    return one.p < settings.alpha and (not one.membership or one.auc > settings.max_membership)


def _carriers(folder: Path, count: int) -> list[str]:
    """The shortest golden prompts: a string more still fits."""
    golden = pl.read_parquet(folder / artifact.GOLDEN, columns=["prompt"])["prompt"].unique().sort()
    return golden.to_frame().sort(golden.str.len_bytes(), maintain_order=True)["prompt"].head(count).to_list()


def _records(paths: Sequence[Path]) -> pl.DataFrame | None:
    if not paths:
        return None
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file {path}.", do="Correct predeploy.scan.records.")
    columns = ["first_name", "last_name", "ssn"]
    return pl.concat([pl.read_parquet(path, columns=columns) for path in paths], how="vertical_relaxed")
