"""The fusion encoder's network: symmetry, masks, and that every kind of evidence reaches the score."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier.encoder import corpus
from llm_classifier.encoder.corpus import Corpus
from llm_classifier.encoder.tokens import KINDS
from llm_classifier.settings.encoder import EncoderSettings, ShapeSettings
from resolver.progress import Progress

pytestmark = pytest.mark.llm

SHAPE = ShapeSettings(width=16, heads=2, most=24, buckets=1024)
EVERY = pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)


@pytest.fixture(scope="module")
def chosen(labelled_run: Path) -> EncoderSettings:
    return EncoderSettings(out=labelled_run, runs=(labelled_run,), after=(), shape=SHAPE, records=64, threads=1)


@pytest.fixture(scope="module")
def known(chosen: EncoderSettings) -> Corpus:
    return corpus.load(chosen.runs, chosen, (), Progress())


@pytest.fixture(scope="module")
def network(known: Corpus) -> Any:
    """Untrained, with what is usual of the things in the records."""
    from llm_classifier.encoder import fitting
    from llm_classifier.encoder.network import Encoder, Shape

    with fitting.steady(1, 0):
        made = Encoder(Shape(**SHAPE.model_dump()))
    fitting.look(made, known.tokens, np.arange(len(known.person)))
    return made.eval()


def vectors(network: Any, known: Corpus, places: Any, hidden: Any = None) -> Any:
    import torch

    from llm_classifier.encoder.network import lay

    with torch.inference_mode():
        return network.encode(lay(known.tokens, np.asarray(places), hidden)).numpy()


def full(known: Corpus, kind: int) -> Any:
    """Records that have this kind and another one."""
    there = known.tokens.count > 0
    return np.flatnonzero(there[:, kind] & (there.sum(axis=1) > 1))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_left_and_right_are_exchangeable(network: Any, seed: int, scale: float) -> None:
    """Two vectors exchanged have the same score, to the last bit."""
    import torch

    made = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(7, 2 * SHAPE.width, generator=made) * scale for _ in range(2))

    assert torch.equal(network.score(left, right), network.score(right, left))


@EVERY
def test_a_missing_kind_is_masked_out(network: Any, known: Corpus, kind: int) -> None:
    """A kind that is hidden leaves the vector of a record that never had it; a kind that is there changes it."""
    there = full(known, kind)[:20]
    hidden = np.zeros((len(there), len(KINDS)), dtype=bool)
    hidden[:, kind] = True
    count = known.tokens.count.copy()
    count[there, kind] = 0
    never = dataclasses.replace(known, tokens=dataclasses.replace(known.tokens, count=count))

    masked = vectors(network, known, there, hidden)

    assert np.array_equal(masked, vectors(network, never, there))
    assert (np.abs(masked - vectors(network, known, there)).max(axis=1) > 1e-4).all()


def test_what_is_encoded_together_does_not_matter(network: Any, known: Corpus) -> None:
    """Rows are filled up to the longest one beside them, and nobody looks at what they are filled up with."""
    places = np.flatnonzero(known.tokens.known)
    order = np.argsort(known.tokens.count[places].sum(axis=1))
    shortest, longest = places[order[:5]], places[order[-5:]]

    alone = vectors(network, known, shortest)
    beside = vectors(network, known, np.concatenate([shortest, longest]))[:5]

    assert np.allclose(alone, beside, atol=1e-5)


def test_a_record_without_evidence_harms_nobody(network: Any, known: Corpus) -> None:
    """A record of which nothing is known yields numbers, and the records beside it stay as they are."""
    places = np.flatnonzero(known.tokens.known)[:6]
    hidden = np.zeros((6, len(KINDS)), dtype=bool)
    hidden[0] = True

    found = vectors(network, known, places, hidden)

    assert np.isfinite(found).all()
    assert np.allclose(found[1:], vectors(network, known, places)[1:], atol=1e-5)


def test_time_order_is_seen(network: Any, known: Corpus) -> None:
    """Tokens have positions: the same tokens in another order give another vector."""
    place = int(np.argmax(known.tokens.count[:, 3]))
    start, count = known.tokens.start[place, 3], known.tokens.count[place, 3]
    turned = np.arange(len(known.tokens.thing))
    turned[start : start + count] = turned[start : start + count][::-1]
    names = ("thing", "months", "values", "days", "lasts")
    tokens = dataclasses.replace(known.tokens, **{name: getattr(known.tokens, name)[turned] for name in names})

    there = vectors(network, dataclasses.replace(known, tokens=tokens), [place])

    assert np.abs(there - vectors(network, known, [place])).max() > 1e-4


def test_only_the_class_token_is_answered(network: Any) -> None:
    """The last layer of a kind answers for its class token alone, as if it had answered for all."""
    import torch

    block = network.kinds["conditions"].blocks[-1]
    x = torch.randn(3, 5, SHAPE.width, generator=torch.Generator().manual_seed(0))
    there = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)

    assert torch.allclose(block(x, there, wanted=1)[:, 0], block(x, there)[:, 0], atol=1e-6)


@EVERY
def test_gradient_flows_into_every_encoder(network: Any, known: Corpus, chosen: EncoderSettings, kind: int) -> None:
    """One step on real pairs moves every weight of a kind's encoder; with the kind hidden it moves none."""
    import torch

    from llm_classifier.encoder import fitting
    from llm_classifier.encoder.batches import Steps

    rows = known.labelled()
    steps = Steps(known, rows, rows, records=64, strangers=1.0, seed=0)
    step = next(steps.epoch(0))
    loss = fitting.Loss.of(known, rows, steps, chosen)
    encoder = network.kinds[KINDS[kind]]
    for hide in (False, True):
        hidden = np.zeros((len(step.records), len(KINDS)), dtype=bool)
        hidden[:, kind] = hide
        network.zero_grad()
        loss(fitting.forward(network, known.tokens, step, hidden), step).backward()
        for name, one in encoder.named_parameters():
            assert (one.grad is not None and bool(torch.count_nonzero(one.grad))) is not hide, name


@EVERY
def test_another_records_evidence_is_noticed(network: Any, known: Corpus, kind: int) -> None:
    """With a kind exchanged between records, the vectors of those that have it change and no others."""
    from llm_classifier.encoder.proving import exchanged

    swapped = dataclasses.replace(known, tokens=exchanged(known.tokens, kind, seed=0))
    places = np.flatnonzero(known.tokens.known)

    moved = np.abs(vectors(network, swapped, places) - vectors(network, known, places)).max(axis=1) > 1e-5
    there = known.tokens.count[places, kind] > 0

    assert not moved[~there].any()
    assert moved[there].mean() > 0.5
    assert swapped.tokens.count[:, kind].sum() == known.tokens.count[:, kind].sum()
