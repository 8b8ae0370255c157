"""Fits the embedded judges to the run's own data, or says why it does not.

sample.py        the pairs to learn from, with their features
unlabelled.py    learning without labels

Writes learned.json, which resolver/judges/learned.py reads. Knows nothing of truth.
"""

from __future__ import annotations

from typing import Any

from resolver.files import digest_of
from resolver.judges.learned import Learned
from resolver.stage import Facts, StageContext

FEWEST_PAIRS = 500
FEWEST_MATCHES = 100  # expected by Splink; with fewer, trees would learn its noise


def run(context: StageContext) -> Facts:
    learned = _learn(context)
    learned.save(context.outputs["learned.json"])
    return {"way": learned.way, "why": learned.why, **learned.card.get("facts", {})}


def _learn(context: StageContext) -> Learned:
    settings = context.settings
    asked = digest_of(settings.learn.model_dump(mode="json"))
    if "learned.json" in context.base:
        before = Learned.load(context.base["learned.json"])
        if before.card.get("asked") == asked:
            return before
    if settings.learn.way == "none":
        return Learned("none", "the config says so", card={"asked": asked})
    return _without_labels(context, asked)


def _without_labels(context: StageContext, asked: str) -> Learned:
    import numpy as np

    from resolver.cluster.same_source import Tally, fit
    from resolver.learn import unlabelled
    from resolver.learn.sample import draw

    settings = context.settings
    with context.progress.step("learn: features of pairs"), context.connect() as con:
        sample = draw(
            con,
            context.inputs["records"],
            context.inputs["events"],
            context.inputs["pairs"],
            most=settings.learn.max_pairs,
            folds=unlabelled.FOLDS,
        )
    expected = float((1 / (1 + np.exp(-sample.splink))).sum())
    if len(sample) < FEWEST_PAIRS or expected < FEWEST_MATCHES:
        why = (
            f"{len(sample):,} pairs with about {expected:,.0f} matches are too few to learn from; Splink's score stands"
        )
        return Learned("none", why, card={"asked": asked})
    same_source = settings.cluster.same_source
    if same_source == "fit":
        tally = Tally()
        tally.add(sample.splink, sample.source[sample.left] == sample.source[sample.right])
        same_source = fit(tally, np.bincount(sample.source))
    taught = unlabelled.teach(
        sample,
        seed=settings.run.seed,
        threads=settings.run.threads,
        unscored=settings.cluster.unscored_logit,
        same_source=same_source,
        say=context.progress.say,
    )
    facts: dict[str, Any] = {
        "pairs": len(sample),
        "rounds": taught.rounds,
        "last_change": round(taught.changed, 5),
        "same_source_logit": same_source,
    }
    return Learned(
        "unlabelled",
        "no labels were given, so demographics and histories taught each other",
        taught.demographic,
        taught.joint,
        {"asked": asked, "facts": facts},
    )
