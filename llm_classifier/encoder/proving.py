"""That every kind of evidence is wired, on real pairs: left out, alone, exchanged between records, and its gradient.

`without`: the kind is hidden everywhere. `alone`: all others are. `exchanged`: each record that has the kind gets that
of another one: a network that does not read it would not notice. `gradient`: how long the loss's gradient is in the
kind's own encoder; 0 would mean that it can't learn. Knows nothing of the command line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_classifier import measures
from llm_classifier.encoder import corpus, fitting, model
from llm_classifier.encoder.batches import Step, Steps
from llm_classifier.encoder.corpus import Corpus, Floats, Ints
from llm_classifier.encoder.network import Encoder
from llm_classifier.encoder.tokens import KINDS, Tokens
from llm_classifier.settings.encoder import EncoderSettings, ShapeSettings
from resolver.errors import TrainingError
from resolver.progress import Progress


def prove(folder: Path, configs: Sequence[Path], *, seed: int, threads: int, progress: Progress) -> dict[str, Any]:
    """The table of an encoder on the open pairs of these labelled runs: a row per kind."""
    card, network = model.load(folder)
    chosen = EncoderSettings(
        out=folder,
        runs=tuple(configs),
        asks=card.asks,
        shape=ShapeSettings(**card.shape),
        seed=seed,
        threads=threads,
    )
    known = corpus.load(configs, chosen, (), progress)
    rows = np.flatnonzero(known.open(card.asks) & known.labelled())
    if not 0 < known.label[rows].sum() < len(rows):
        raise TrainingError("These runs have no open pairs of both sorts.", do="Give labelled runs with a gray zone.")
    with fitting.steady(threads, seed):
        lengths = gradients(network, known, chosen)
        kinds = []
        with progress.step("kinds of evidence", len(KINDS), "kinds") as shown:
            for number, kind in enumerate(KINDS):
                others = [one for one in range(len(KINDS)) if one != number]
                swapped = dataclasses.replace(known, tokens=exchanged(known.tokens, number, seed))
                kinds.append(
                    {
                        "kind": kind,
                        "records": int((known.tokens.count[:, number] > 0).sum()),
                        "without": _told(known, rows, fitting.scores(network, known, rows, [number])),
                        "alone": _told(known, rows, fitting.scores(network, known, rows, others)),
                        "exchanged": _told(known, rows, fitting.scores(network, swapped, rows)),
                        "gradient": lengths[kind],
                    }
                )
                shown.advance(1)
        whole = _told(known, rows, fitting.scores(network, known, rows))
    return {
        "fingerprint": card.fingerprint,
        "runs": list(known.names),
        "pairs": len(rows),
        "true_pairs": int(known.label[rows].sum()),
        "whole": whole,
        "kinds": kinds,
    }


def exchanged(tokens: Tokens, kind: int, seed: int) -> Tokens:
    """The same records, each that has the kind with that of another one (of the next one in a drawn order)."""
    there = np.flatnonzero(tokens.count[:, kind] > 0)
    order = np.random.default_rng([seed, kind]).permutation(there)
    start, count = tokens.start.copy(), tokens.count.copy()
    for column in (start, count):
        column[order, kind] = column[np.roll(order, 1), kind]
    return dataclasses.replace(tokens, start=start, count=count)


def gradients(network: Encoder, known: Corpus, chosen: EncoderSettings) -> dict[str, float]:
    """Length of the gradient of one step's loss in each kind's encoder."""
    rows = known.labelled()
    steps = Steps(
        known,
        rows,
        rows & known.open(chosen.asks),
        records=chosen.records,
        strangers=chosen.strangers,
        seed=chosen.seed,
    )
    step: Step = next(steps.epoch(0))
    loss = fitting.Loss.of(known, rows & known.open(chosen.asks), steps, chosen)
    network.eval()
    network.zero_grad()
    loss(fitting.forward(network, known.tokens, step), step).backward()
    found = {
        kind: float(torch.stack([one.grad.norm() for one in encoder.parameters() if one.grad is not None]).norm())
        for kind, encoder in network.kinds.items()
        if any(one.grad is not None for one in encoder.parameters())
    }
    network.zero_grad()
    return {kind: round(found.get(kind, 0.0), 6) for kind in KINDS}


def _told(known: Corpus, rows: Ints, score: Floats) -> dict[str, float]:
    label, weight = known.label[rows].astype(float), np.ones(len(rows))
    return {
        "auroc": round(measures.auroc(score, label, weight), 6),
        "auprc": round(measures.auprc(score, label, weight), 6),
    }
