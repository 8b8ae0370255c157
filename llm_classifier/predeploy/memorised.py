"""What a model remembers of its training data: canaries, identifiers, membership.

A causal model is asked how likely it finds a string; what it remembers it finds likelier than strings of the same kind
that it never met. A classifier has no language head: it can complete nothing, and only its logit can give it away. So
of a classifier it is asked whether strings that it met move the logit otherwise than strings that it did not. That is
the weaker test, and what it reports says so. Reports counts and figures, never the strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from llm_classifier import prompt
from llm_classifier.dataset import canaries, draw
from llm_classifier.dataset.canaries import Planted
from resolver import files
from resolver.errors import RunError

Floats = npt.NDArray[np.float64]
Logits = Callable[[Sequence[str]], Floats]  # prompts -> raw logits
Likelihoods = Callable[[str, Sequence[str]], Floats]  # beginning, strings -> log-probability of each string after it

IDENTIFIERS = ("names", "numbers")
NAMED = "\nnotes: name "
NUMBERED = "\nnotes: social security number "


@dataclass(frozen=True)
class Finding:
    """Whether strings that were met stand out from strings that were not."""

    what: str
    met: int
    unmet: int
    auc: float  # share of (met, unmet) in which the met one stands out; .5 where nothing is remembered
    p: float  # how often chance alone would show as much
    exposure: float | None = None  # bits, of the canary that stands out most; of causal models only
    membership: bool = False  # of whole pairs, which every model fits a little better than others

    def told(self) -> str:
        bits = "" if self.exposure is None else f", highest exposure {self.exposure:.1f} bits"
        return f"{self.what}: {self.auc:.3f} of chance .5 (p = {self.p:.2g}{bits})"


def canaries_of_classifier(ask: Logits, planted: Planted, carriers: Sequence[str], controls: int) -> Finding:
    """Whether a canary pushes the logit towards the label that it was planted with."""
    met, unmet = planted.texts(), planted.controls(controls)
    moved = _moved(ask, carriers, lambda text, string: canaries.put(text, string), [*met, *unmet])
    toward = np.where(np.array(planted.labels()) > 0, 1.0, -1.0) * moved[: len(met)]
    # A control has no label, so each stands for both.
    return _finding("canaries push the logit", toward, np.concatenate([moved[len(met) :], -moved[len(met) :]]))


def canaries_of_causal(likely: Likelihoods, planted: Planted, controls: int) -> Finding:
    """Whether canaries are likelier than controls, and by how many bits of guessing."""
    met, unmet = planted.texts(), planted.controls(controls)
    found = likely(prompt.BEGIN + canaries.LINE.removeprefix("\n").rstrip(), [f" {one}" for one in (*met, *unmet)])
    of_met, of_unmet = found[: len(met)], found[len(met) :]
    ranks = 1 + (of_unmet[None, :] >= of_met[:, None]).sum(axis=1)
    exposure = math.log2(controls + 1) - math.log2(float(ranks.min()))
    return _finding("canaries are likely", of_met, of_unmet, exposure)


def identifiers_of_causal(likely: Likelihoods, records: pl.DataFrame, most: int, seed: int) -> list[Finding]:
    """Whether real names and numbers are likelier than names put together anew and numbers that nobody has."""
    found = []
    for what, line, met, unmet in _identifiers(records, most, seed):
        both = likely(prompt.BEGIN + line.removeprefix("\n").rstrip(), [f" {one}" for one in (*met, *unmet)])
        found.append(_finding(f"{what} are likely", both[: len(met)], both[len(met) :]))
    return found


def identifiers_of_classifier(
    ask: Logits, records: pl.DataFrame, carriers: Sequence[str], most: int, seed: int
) -> list[Finding]:
    """Whether real names and numbers move the logit further than others of the same kind."""
    found = []
    for what, line, met, unmet in _identifiers(records, most, seed):

        def put(text: str, string: str, line: str = line) -> str:
            left, between, rest = text.partition(prompt.BETWEEN)
            return f"{left}{line}{string}{between}{rest}"

        moved = np.abs(_moved(ask, carriers, put, [*met, *unmet]))
        found.append(_finding(f"{what} move the logit", moved[: len(met)], moved[len(met) :]))
    return found


def membership(ask: Logits, met: pl.DataFrame, unmet: pl.DataFrame, most: int, seed: int) -> Finding:
    """Whether the loss tells pairs that were trained on from pairs that were not; compared within label and origin.

    Needs pair_id, swapped, left_summary, prompt, label and origin of either split. Each pair is asked in one order, and
    none that holds a canary, since no pair of the other split does.
    """
    drawn = [_drawn(split, most, seed).with_columns(met=pl.lit(which)) for split, which in ((met, 1), (unmet, 0))]
    both = pl.concat([one.select("prompt", "label", "origin", "met") for one in drawn], how="vertical_relaxed")
    logits, label = ask(both["prompt"].to_list()), both["label"].to_numpy()
    sure = pl.Series(-np.logaddexp(0, np.where(label > 0, -logits, logits)), dtype=pl.Float64)
    both = both.with_columns(sure=sure).filter(pl.col("sure").is_not_nan())
    # Within label and origin, or the mix of the two splits would show and not what is remembered.
    parts = [
        (part.filter(pl.col("met") == 1)["sure"].to_numpy(), part.filter(pl.col("met") == 0)["sure"].to_numpy())
        for part in both.partition_by("label", "origin", maintain_order=True)
    ]
    parts = [(one, other) for one, other in parts if len(one) and len(other)]
    wins = sum(_wins(one, other) for one, other in parts)
    spread = math.sqrt(sum(len(one) * len(other) * (len(one) + len(other) + 1) / 12 for one, other in parts))
    tried = sum(len(one) * len(other) for one, other in parts)
    count = sum(len(one) for one, _ in parts), sum(len(other) for _, other in parts)
    p = _tail((wins - tried / 2) / spread) if tried else 1.0
    auc = wins / tried if tried else 0.5
    return Finding("pairs trained on are told from others", *count, auc, p, membership=True)


def _moved(ask: Logits, carriers: Sequence[str], put: Callable[[str, str], str], strings: Sequence[str]) -> Floats:
    """How far each string moves the logit, less what any string does; the mean over carriers."""
    logits = ask([put(text, string) for text in carriers for string in strings]).reshape(len(carriers), len(strings))
    if np.isnan(logits).any():
        raise RunError(
            "A prompt with one line more could not be scored, so what the model remembers can't be looked for.",
            do="Make golden prompts that leave room, or raise max_tokens.",
        )
    found: Floats = (logits - np.median(logits, axis=1, keepdims=True)).mean(axis=0)
    return found


def _identifiers(records: pl.DataFrame, most: int, seed: int) -> list[tuple[str, str, list[str], list[str]]]:
    """(what, line, strings met, strings of the same kind that were not met)."""
    named = records.drop_nulls(["first_name", "last_name"]).select("first_name", "last_name").unique().sort(pl.all())
    full = pl.concat_str("first_name", "last_name", separator=" ").str.to_lowercase()
    real = named.select(full.alias("name"))["name"]
    drawn = named.with_columns(order=full.hash(seed)).sort("order").head(most)
    # First names move on by one: every part stays as frequent as it is, and only the whole is new.
    anew = drawn.with_columns(pl.col("first_name").shift(-1).fill_null(drawn["first_name"].first() or ""))
    numbers = records.drop_nulls("ssn").select(pl.col("ssn").unique().sort())["ssn"]
    met = numbers.to_frame().sort(pl.col("ssn").hash(seed)).head(most)["ssn"].to_list()
    known = set(numbers.to_list())
    fresh = (f"{int(files.digest_of(['ssn', seed, number])[:16], 16) % 10**9:09d}" for number in range(2 * most))
    unmet = [one for one in fresh if one not in known][: len(met)]
    kinds = [
        (
            "names",
            NAMED,
            drawn.select(full.alias("name"))["name"].to_list(),
            anew.select(full.alias("name")).filter(~pl.col("name").is_in(real.to_list()))["name"].to_list(),
        ),
        ("numbers", NUMBERED, met, unmet),
    ]
    return [kind for kind in kinds if kind[2] and kind[3]]


def _drawn(split: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    split = split.filter(~pl.col("swapped") & ~pl.col("left_summary").str.contains(canaries.LINE, literal=True))
    return split.with_columns(pl.Series("order", draw.order((split["pair_id"],), seed))).sort("order").head(most)


def _finding(what: str, met: Floats, unmet: Floats, exposure: float | None = None) -> Finding:
    tried = len(met) * len(unmet)
    wins = _wins(met, unmet)
    spread = math.sqrt(tried * (len(met) + len(unmet) + 1) / 12)
    return Finding(what, len(met), len(unmet), wins / tried, _tail((wins - tried / 2) / spread), exposure)


def _wins(met: Floats, unmet: Floats) -> float:
    """How many (met, unmet) have the met one higher; ties count half."""
    order = np.sort(unmet)
    below, up_to = np.searchsorted(order, met, "left"), np.searchsorted(order, met, "right")
    return float((below + up_to).sum() / 2)


def _tail(z: float) -> float:
    """How often a standard normal exceeds this."""
    return 0.5 * math.erfc(z / math.sqrt(2))
