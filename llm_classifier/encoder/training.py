"""`resolver llm encoder train` and `calibrate`: splits, fit, log-odds, figures, and everything on disk.

Knows nothing of the command line, nor of how a network learns (fitting.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_classifier.encoder import combining, corpus, fitting, measuring, model
from llm_classifier.encoder.corpus import SLOTS, Corpus, Flags, Floats, Ints
from llm_classifier.encoder.fitting import Pairs
from llm_classifier.encoder.network import Encoder
from llm_classifier.needs import need
from llm_classifier.settings.encoder import EncoderSettings, ShapeSettings
from resolver import files
from resolver.errors import TrainingError, UsageError
from resolver.learn.crossfit import line as platt
from resolver.progress import Progress

PERSON_FOLDS = 5


@dataclass(frozen=True)
class Fold:
    name: str
    learned: Flags  # pairs
    validation: Pairs
    test: Pairs


def train(chosen: EncoderSettings, progress: Progress) -> dict[str, Any]:
    """Train, measure and save; the record of it, which is training.json."""
    _apart([one.stem for one in chosen.runs], chosen.calibrate)
    _apart([one.stem for one in (*chosen.runs, *chosen.calibrate)], chosen.report)
    # Where the line is fitted elsewhere, the runs to learn from need no other judge's verdicts.
    known = corpus.load(chosen.runs, chosen, () if chosen.calibrate else chosen.after, progress)
    main = _split(known, chosen)
    fitted = fitting.fit(known, main.learned, main.validation, chosen, progress, what="train")
    kept_out = lines = Lines.of(fitted.network, known, main.test)
    where = known
    if chosen.calibrate:
        where = corpus.load(chosen.calibrate, chosen, chosen.after, progress)
        lines = Lines.of(fitted.network, where, _pairs(where.labelled() & where.open(chosen.asks)))
    # Saved before it is measured any further: a kill then loses figures, not the training.
    card = model.Card(asdict(fitted.network.shape), lines.both, chosen.after, chosen.asks, known.names)
    card = model.save(chosen.out, fitted.network, card)
    record: dict[str, Any] = {
        "fingerprint": card.fingerprint,
        "settings": chosen.model_dump(mode="json"),
        "versions": {name: need(name).__version__ for name in ("torch", "numpy", "safetensors")},
        "runs": _told(known, chosen),
        "fit": fitted.facts,
        "best_epoch": fitted.best_epoch,
        "history": fitted.history,
        "line": asdict(lines.both),
        "line_fitted_to": list(chosen.calibrate and where.names) or "persons kept out of the runs",
        # The lines that make odds of scores were fitted to these very pairs, if only with two and three numbers.
        "held_out": measure(fitted.network, known, main.test, kept_out, chosen),
        "folds": [_fold(known, fold, chosen, progress) for fold in splits(known, chosen)],
    }
    if chosen.calibrate:
        record["calibrated_on"] = _told(where, chosen)
    record["report"] = _report(fitted.network, lines, chosen, progress)
    files.write_json(chosen.out / model.TRAINING, record)
    return record


def calibrate(
    folder: Path,
    out: Path,
    configs: Sequence[Path],
    reported: Sequence[Path],
    after: tuple[str, ...],
    progress: Progress,
) -> dict[str, Any]:
    """The same weights, asked after other judges: fit the line anew on labelled runs, save it with them in `out`."""
    card, network = model.load(folder)
    _apart(card.trained_on, configs)
    _apart([*card.trained_on, *(one.stem for one in configs)], reported)
    if out.resolve() == folder.resolve():
        raise UsageError(f"{out} is the encoder itself.", do="Give another folder with --out.")
    shape = ShapeSettings(**card.shape)
    chosen = EncoderSettings(
        out=out, runs=tuple(configs), report=tuple(reported), after=after, shape=shape, asks=card.asks
    )
    known = corpus.load(configs, chosen, after, progress)
    lines = Lines.of(network, known, _pairs(known.labelled() & known.open(card.asks)))
    record: dict[str, Any] = {
        "made_from": card.fingerprint,
        "line": asdict(lines.both),
        "line_fitted_to": list(known.names),
        "calibrated_on": _told(known, chosen),
        "report": _report(network, lines, chosen, progress),
    }
    record["fingerprint"] = model.save(out, network, replace(card, line=lines.both, after=after)).fingerprint
    files.write_json(out / model.TRAINING, record)
    return record


def _report(network: Encoder, lines: Lines, chosen: EncoderSettings, progress: Progress) -> dict[str, Any]:
    found = {}
    for config in chosen.report:
        other = corpus.load([config], chosen, chosen.after, progress)
        rows = _pairs(other.labelled() & other.open(chosen.asks))
        found[config.stem] = measure(network, other, rows, lines, chosen)
    return found


@dataclass(frozen=True)
class Lines:
    """From scores to log-odds: of the encoder alone, and together with what stood before it."""

    slope: float
    constant: float
    both: combining.Line

    @classmethod
    def of(cls, network: Encoder, known: Corpus, pairs: Pairs) -> Lines:
        label = known.label[pairs.rows]
        if not 0 < label.sum() < len(label):
            raise TrainingError(
                "There are no true pairs, or none but true ones, to turn scores into log-odds.",
                do="Give more or larger labelled runs, or wider bounds in encoder.asks.",
            )
        score = fitting.scores(network, known, pairs.rows)
        slope, constant = platt(score, label.astype(float), pairs.weight)
        return cls(slope, constant, combining.fit(known.standing[pairs.rows], score, label, pairs.weight))


def measure(network: Encoder, known: Corpus, pairs: Pairs, lines: Lines, chosen: EncoderSettings) -> dict[str, Any]:
    """The encoder alone, what stood before it, and both, on the same pairs; and how quick it was."""
    began = time.monotonic()
    score = fitting.scores(network, known, pairs.rows)
    seconds = time.monotonic() - began
    standing, label = known.standing[pairs.rows], known.label[pairs.rows]
    left, right = known.person[known.left[pairs.rows]], known.person[known.right[pairs.rows]]
    records = len(np.unique(np.concatenate([known.left[pairs.rows], known.right[pairs.rows]])))

    def figures(log_odds: Floats) -> dict[str, Any]:
        return measuring.figures(log_odds, label, pairs.weight, left, right, rounds=chosen.bootstrap, seed=chosen.seed)

    return {
        "encoder": figures(lines.slope * score + lines.constant),
        "before": figures(standing),
        "both": figures(lines.both.of(standing, score)),
        "records": records,
        "seconds": round(seconds, 2),
    }


def _apart(used: Sequence[str], configs: Sequence[Path]) -> None:
    """What was learned from, or fitted to, is no place to fit or measure further; runs go by their config's name."""
    twice = sorted({one.stem for one in configs} & set(used))
    if twice:
        raise UsageError(
            f"{twice[0]} was used before.", do="Calibrate and measure on populations that nothing was learned from."
        )


def _split(known: Corpus, chosen: EncoderSettings) -> Fold:
    """Training, stopping and calibration by persons."""
    role = _roles(known, known.slot / SLOTS, chosen)
    share, asked = chosen.held_out / 2, known.open(chosen.asks) & known.labelled()
    return Fold(
        "all",
        known.within(role == 0),
        _pairs(asked & known.within(role == 1), known, share),
        _pairs(asked & known.within(role == 2), known, share),
    )


def splits(known: Corpus, chosen: EncoderSettings) -> Iterator[Fold]:
    """The folds that were asked for."""
    asked, share = known.open(chosen.asks) & known.labelled(), chosen.held_out / 2
    if chosen.folds == "person":
        # Within each fold the slots of its persons are spread over the roles again.
        fold, inner = known.slot % PERSON_FOLDS, (known.slot // PERSON_FOLDS) / (SLOTS / PERSON_FOLDS)
        role = _roles(known, inner, chosen)
        for number in range(PERSON_FOLDS):
            rest, test = fold != number, (fold == number) & (known.person >= 0)
            yield Fold(
                f"persons {number + 1} of {PERSON_FOLDS}",
                known.within(rest & ((role == 0) | (role == 2))),
                _pairs(asked & known.within(rest & (role == 1)), known, share),
                _pairs(asked & known.within(test), known, 1 / PERSON_FOLDS),
            )
    elif chosen.folds == "facility":
        role = _roles(known, known.slot / SLOTS, chosen)
        for name in sorted(set(known.source.tolist())):
            there = known.source == name
            yield Fold(
                f"facility {name}",
                known.within(~there & (role == 0)),
                _pairs(asked & known.within(~there & (role == 1)), known, share),
                # Neither the facility nor the persons have been seen.
                _pairs(asked & known.within(role == 2) & ~known.within(~there), known, share),
            )


def _fold(known: Corpus, fold: Fold, chosen: EncoderSettings, progress: Progress) -> dict[str, Any]:
    try:
        fitted = fitting.fit(known, fold.learned, fold.validation, chosen, progress, what=fold.name)
        # Its scores become log-odds on the pairs that stopped it, so that those of the fold are only looked at.
        lines = Lines.of(fitted.network, known, fold.validation)
    except TrainingError as error:  # one small facility is no reason to lose the others
        return {"name": fold.name, "left_out": str(error)}
    found = measure(fitted.network, known, fold.test, lines, chosen)
    return {"name": fold.name, "best_epoch": fitted.best_epoch, "history": fitted.history, **found}


def _roles(known: Corpus, slot: Floats, chosen: EncoderSettings) -> Ints:
    """Per record: 0 to learn from, 1 to stop by, 2 for log-odds; -1: left out."""
    role = np.where(slot < chosen.held_out / 2, 1, np.where(slot < chosen.held_out, 2, 0))
    # Of persons whom the truth does not know, only a teacher can say something.
    return np.where(known.person >= 0, role, 0 if chosen.teacher != "none" else -1)


def _pairs(rows: Flags, known: Corpus | None = None, share: float = 1.0) -> Pairs:
    """`share` of the persons are here: all of their true pairs, and of the others only so many."""
    numbers = np.flatnonzero(rows)
    weight = np.ones(len(numbers))
    if known is not None:
        weight[known.label[numbers] == 0] = 1 / share
    return Pairs(numbers, weight)


def _told(known: Corpus, chosen: EncoderSettings) -> dict[str, Any]:
    asked = known.open(chosen.asks) & known.labelled()
    return {
        "names": list(known.names),
        "records": len(known.person),
        "persons": len(np.unique(known.person[known.person >= 0])),
        "pairs": int(known.labelled().sum()),
        "true_pairs": int((known.label == 1).sum()),
        "open_pairs": int(asked.sum()),
        "open_true_pairs": int((known.label[asked] == 1).sum()),
    }
