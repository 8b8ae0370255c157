"""The training loop: losses, schedule, early stopping. Knows nothing of files or of how pairs came to their labels."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from llm_classifier import measures
from llm_classifier.encoder.batches import Step, Steps
from llm_classifier.encoder.corpus import Corpus, Flags, Floats, Ints
from llm_classifier.encoder.network import Encoder, Shape, lay
from llm_classifier.encoder.tokens import KINDS, Tokens
from llm_classifier.settings.encoder import EncoderSettings
from resolver.errors import TrainingError
from resolver.progress import Progress

FEWEST_VALUES = 20  # of a measurement, before it is known what is usual
FEWEST = 20  # true pairs, and as many others, to learn from and to stop by
AT_ONCE = 512  # records encoded together
PAIRS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Pairs:
    """Pairs to measure on, with weights that give them the mix of all pairs."""

    rows: Ints
    weight: Floats


@dataclass(frozen=True)
class Fitted:
    network: Encoder
    history: list[dict[str, Any]]  # a row per epoch
    best_epoch: int
    facts: dict[str, Any]


@contextlib.contextmanager
def steady(threads: int, seed: int) -> Iterator[None]:
    """Torch with so many threads and its own random numbers; both as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def fit(
    corpus: Corpus, rows: Flags, validation: Pairs, chosen: EncoderSettings, progress: Progress, *, what: str
) -> Fitted:
    """Learn from the pairs `rows`; keep the weights of the epoch that did best on `validation`."""
    if _rarer(corpus.label[rows]) < FEWEST or _rarer(corpus.label[validation.rows]) < FEWEST:
        raise TrainingError(
            f"{what}: fewer than {FEWEST} true pairs or as few others, to learn from or to stop by.",
            do="Give more or larger labelled runs, or set encoder.held_out otherwise.",
        )
    open_rows = corpus.open(chosen.asks)
    steps = Steps(corpus, rows, open_rows, records=chosen.records, strangers=chosen.strangers, seed=chosen.seed)
    with steady(chosen.threads, chosen.seed):
        network = Encoder(Shape(**chosen.shape.model_dump()))
        look(network, corpus.tokens, steps.used)
        loss = Loss.of(corpus, rows & open_rows, steps, chosen)
        optimizer = torch.optim.AdamW(_groups(network, chosen.weight_decay), lr=chosen.learning_rate)
        history: list[dict[str, Any]] = []
        best, best_epoch, best_weights = -math.inf, 0, network.state_dict()
        with progress.step(what, chosen.epochs * len(steps), "steps") as shown:
            for epoch in range(chosen.epochs):
                began = time.monotonic()
                network.train()
                sums = np.zeros(2)
                rng = np.random.default_rng([chosen.seed, epoch, 1])
                for number, step in enumerate(steps.epoch(epoch)):
                    now = rate(epoch * len(steps) + number, chosen.epochs * len(steps), chosen)
                    for group in optimizer.param_groups:
                        group["lr"] = now
                    hidden = rng.random((len(step.records), len(KINDS))) < chosen.hide
                    value = loss(forward(network, corpus.tokens, step, hidden), step)
                    optimizer.zero_grad()
                    value.backward()
                    length = torch.nn.utils.clip_grad_norm_(network.parameters(), chosen.clip)
                    optimizer.step()
                    sums += float(value.detach()), float(length)
                    shown.advance(1)
                score = scores(network, corpus, validation.rows)
                label = corpus.label[validation.rows].astype(float)
                done = {
                    "epoch": epoch + 1,
                    "loss": round(sums[0] / len(steps), 6),
                    "gradient": round(sums[1] / len(steps), 6),
                    "learning_rate": now,
                    "validation_auroc": round(measures.auroc(score, label, validation.weight), 6),
                    "validation_auprc": round(measures.auprc(score, label, validation.weight), 6),
                    "seconds": round(time.monotonic() - began, 1),
                }
                if not np.isfinite(score).all():
                    raise TrainingError(f"{what}: training diverged.", do="Set encoder.learning_rate or clip lower.")
                history.append(done)
                progress.say(
                    f"{what}: epoch {epoch + 1}, loss {done['loss']:.4f}, AUROC {done['validation_auroc']:.4f}"
                )
                if done["validation_auroc"] > best:
                    best, best_weights = done["validation_auroc"], copy.deepcopy(network.state_dict())
                    best_epoch = epoch + 1
                elif epoch + 1 - best_epoch >= chosen.patience:
                    break
        network.load_state_dict(best_weights)
    facts = {**asdict(loss), "steps_per_epoch": len(steps), "records": len(steps.used), "pairs": int(rows.sum())}
    return Fitted(network.eval(), history, best_epoch, facts)


def forward(network: Encoder, tokens: Tokens, step: Step, hidden: NDArray[np.bool_] | None = None) -> Tensor:
    """Scores of the pairs of a step."""
    vectors = network.encode(lay(tokens, step.records, hidden))
    return network.score(vectors[torch.from_numpy(step.left)], vectors[torch.from_numpy(step.right)])


@dataclass(frozen=True)
class Loss:
    """Cross-entropy, weighted so that true pairs count as much as all others together, or focal.

    A pair without a label counts only by what the teacher said of it, and not at all where that is nothing.
    """

    true_weight: float
    focal: float  # 0: plain cross-entropy
    teach: float
    prior: float  # log-odds of the open pairs: what the teacher's evidence is added to

    @classmethod
    def of(cls, corpus: Corpus, open_rows: Flags, steps: Steps, chosen: EncoderSettings) -> Loss:
        labels = np.concatenate([step.label for step in steps.epoch(0)])
        true, false = float((labels == 1).sum()), float((labels == 0).sum())
        among = corpus.label[open_rows]
        prior = math.log(max(float((among == 1).sum()), 1.0) / max(float((among == 0).sum()), 1.0))
        return cls(
            false / max(true, 1.0),
            chosen.focal if chosen.loss == "focal" else 0.0,
            0.0 if chosen.teacher == "none" else chosen.teach,
            prior,
        )

    def __call__(self, score: Tensor, step: Step) -> Tensor:
        label, taught = torch.from_numpy(step.label), torch.from_numpy(step.taught).to(score.dtype)
        known, spoken = label >= 0, ~taught.isnan() & (self.teach > 0)
        share = torch.where(known, torch.where(spoken, self.teach, 0.0), 1.0)
        soft = torch.sigmoid(taught.nan_to_num() + self.prior)
        target = share * soft + (1 - share) * label.clamp(min=0)
        each = functional.binary_cross_entropy_with_logits(
            score, target, pos_weight=torch.tensor(self.true_weight), reduction="none"
        )
        if self.focal:
            each = each * (target - torch.sigmoid(score)).abs() ** self.focal
        # Weighted by what is true on average, so that the sum does not hang on how many true pairs a step has.
        weight = (1 + (self.true_weight - 1) * target) * (known | spoken)
        return (each * (known | spoken)).sum() / weight.sum().clamp(min=1)


def vectors(network: Encoder, tokens: Tokens, places: Ints, hidden: Sequence[int] = ()) -> Tensor:
    """The vectors of these records, in order. `hidden`: kinds that are to be taken as missing."""
    out = torch.empty(len(places), 2 * network.shape.width)
    # Records with about as many tokens together, so that little is filled up.
    order = np.argsort(tokens.count[places].sum(axis=1), kind="stable")
    with torch.inference_mode():
        for start in range(0, len(places), AT_ONCE):
            some = order[start : start + AT_ONCE]
            mask = np.zeros((len(some), len(KINDS)), dtype=bool)
            mask[:, list(hidden)] = True
            out[torch.from_numpy(some)] = network.encode(lay(tokens, places[some], mask))
    return out


def compare(network: Encoder, of_records: Tensor, left: Ints, right: Ints) -> Floats:
    """Scores of pairs, which are places in `of_records`."""
    out = np.empty(len(left))
    with torch.inference_mode():
        for start in range(0, len(left), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            one, other = of_records[torch.from_numpy(left[part])], of_records[torch.from_numpy(right[part])]
            out[part] = network.score(one, other).numpy()
    return out


def scores(network: Encoder, corpus: Corpus, rows: Ints, hidden: Sequence[int] = ()) -> Floats:
    """Scores of some of the corpus's pairs; each of their records is encoded once."""
    network.eval()
    places, where = np.unique(np.concatenate([corpus.left[rows], corpus.right[rows]]), return_inverse=True)
    left, right = where.reshape(2, -1)
    return compare(network, vectors(network, corpus.tokens, places, hidden), left, right)


def look(network: Encoder, tokens: Tokens, used: Ints) -> None:
    """How rare each thing is, and how its values lie, among the records to learn from."""
    owner = np.repeat(np.arange(len(tokens)), tokens.count.sum(axis=1))
    mine = np.isin(owner, used)
    whole = tokens.pieces[tokens.thing[mine], 0]
    buckets, records = network.shape.buckets, len(used)
    carriers = np.bincount(whole, minlength=buckets)
    network.rarity.copy_(torch.from_numpy(np.log((records + 1) / (carriers + 1)) / np.log(records + 1)))
    lie = (
        pl.DataFrame({"bucket": whole, "value": tokens.values[mine, 1]})
        .filter(pl.col("value").is_finite())
        .group_by("bucket")
        .agg(
            pl.len().alias("n"),
            pl.col("value").median().alias("middle"),
            ((pl.col("value").quantile(0.9) - pl.col("value").quantile(0.1)) / 2.56).alias("spread"),
        )
        .filter((pl.col("n") >= FEWEST_VALUES) & (pl.col("spread") > 0))
        .sort("bucket")
    )
    at = torch.from_numpy(lie["bucket"].to_numpy().astype(np.int64))
    for name in ("middle", "spread"):
        getattr(network, name)[at] = torch.from_numpy(lie[name].to_numpy().astype(np.float32))


def rate(step: int, steps: int, chosen: EncoderSettings) -> float:
    """The learning rate: up in a line, down along a cosine."""
    warm = chosen.warm_up * steps
    if step < warm:
        return chosen.learning_rate * (step + 1) / (warm + 1)
    return chosen.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def _groups(network: Encoder, decay: float) -> list[dict[str, Any]]:
    """Decay pulls at matrices; not at the vectors beside them, nor at pieces, of which most are seldom seen."""
    matrices = [one for name, one in network.named_parameters() if one.ndim > 1 and not name.startswith("pieces")]
    others = [one for name, one in network.named_parameters() if one.ndim <= 1 or name.startswith("pieces")]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _rarer(label: Ints) -> int:
    return int(min((label == 1).sum(), (label == 0).sum()))
