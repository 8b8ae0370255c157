"""Gives the embedded judges their models: the one that ships where it fits the input, else one learned from the input.

sample.py        the pairs to learn from, with their features
profile.py       what an input is like, and whether a model trained elsewhere fits it
unlabelled.py    learning without labels; views.py is how registration data and histories teach each other
said.py          what people said of pairs, which learning from the input takes for certain
witness.py       what sources tell of scores, whatever these were taught
gate.py          quick looks, which settle most pairs
crossfit.py      fits in which no pair is scored by trees that have seen it, and calibration
judged.py        what judges would say of a sample, and what persons would come of it
labelled.py      fitting to labelled populations; populations.py brings these there, card.py describes the model

The stage writes learned.json, which resolver/judges/learned.py reads. It knows nothing of truth; only `resolver train`,
which makes the model that ships, does. What people said changes what is learned from the input, and not the model that
ships: a few answers can't weigh against what it was trained on, and the judge `human` has their word in every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import UsageError
from resolver.files import digest_of
from resolver.settings import Settings
from resolver.stage import Facts, StageContext

if TYPE_CHECKING:
    from resolver.judges.learned import Learned
    from resolver.learn.said import Said
    from resolver.learn.sample import Sample

SHIPPED = Path(__file__).parent.parent / "models" / "embedded.json"
LOOK = 20_000  # pairs that are enough to see whether a model fits
FEWEST_PAIRS = 500
FEWEST_MATCHES = 100  # expected by Splink; with fewer, trees would learn its noise


def run(context: StageContext) -> Facts:
    learned = _learn(context)
    learned.save(context.outputs["learned.json"])
    facts = learned.card.get("facts", {})
    if learned.gates is not None:
        named = (("glance", learned.gates.glance), ("quick", learned.gates.quick))
        facts = facts | {
            "gates": {name: {"bound": one.bound, "lost": one.lost, "settled": one.settled} for name, one in named}
        }
    return {"way": learned.way, "why": learned.why, **facts}


def watches(settings: Settings) -> Mapping[str, Any]:
    """Another model file means other judges, and so does another answer of a person where the input itself teaches."""
    from resolver import mpi
    from resolver.runs import stat_of

    way = settings.learn.way
    return {
        **(stat_of([_file(settings)]) if way in ("auto", "shipped") else {}),
        **({"human": mpi.verdicts_digest(settings.index_path)} if way in ("auto", "unlabelled") else {}),
    }


def _file(settings: Settings) -> Path:
    return settings.learn.model or SHIPPED


def _learn(context: StageContext) -> Learned:
    from resolver import mpi
    from resolver.judges.learned import Learned
    from resolver.learn.said import Said

    settings = context.settings
    way = settings.learn.way
    shipped = _shipped(settings) if way in ("auto", "shipped") else None
    prints = shipped and [shipped.fingerprint(part) for part in ("demographic", "joint")]
    asked = digest_of([settings.learn.model_dump(mode="json"), prints])
    if "learned.json" in context.base:
        before = Learned.load(context.base["learned.json"])
        deaf = before.way != "unlabelled" or before.card.get("heard") == mpi.verdicts_digest(settings.index_path)
        if deaf and before.card.get("asked") == asked:
            return before
    if way == "none":
        return Learned("none", "the config says so", card={"asked": asked})
    if shipped is not None and way == "shipped":
        return _take(shipped, "the config says so", asked)
    card = {"asked": asked, "heard": mpi.verdicts_digest(settings.index_path)}
    with context.connect() as con:
        people = Said.read(con, context.inputs["records"], settings.index_path)
    most = settings.learn.max_pairs
    sample, found = _look(context, min(most, LOOK) if shipped else most, people)
    few = _too_few(sample)
    if shipped is None:
        return _without_labels(context, sample, people, "the config says so", few, card)
    misfits, strange = _misfits(context, shipped, sample, found)
    if not misfits:
        from resolver.learn import profile

        near = profile.nearest(found, shipped.card["seen"])
        return _take(shipped, f"the input is like what it was trained on, most of all {near}", asked)
    said = "the model that ships does not fit: " + "; ".join(misfits)
    if few is None:
        return _without_labels(context, _look(context, most, people)[0], people, said, few, card)
    if strange:
        return _take(replace(shipped, joint=None), f"{said}; {few}, so only its demographic half is used", asked)
    return _take(shipped, f"{said}; but {few}", asked)


def _shipped(settings: Settings) -> Learned:
    """The model file, if its trees read the features that there are."""
    from resolver.judges.features import clinical, demographic, glance
    from resolver.judges.learned import Learned
    from resolver.judges.trees import Trees

    path = _file(settings)
    if not path.exists():
        raise UsageError(f"There is no model {path}.", do="Correct learn.model, or make one with: resolver train")
    learned = Learned.load(path)
    known = [feature.name for feature in (*demographic.FEATURES, *clinical.FEATURES)]
    fields, gates = known[: len(demographic.FEATURES)], learned.gates
    for model, names in (
        (learned.demographic, fields),
        (learned.joint, known),
        *([] if gates is None else [(gates.glance.model, list(glance.names)), (gates.quick.model, fields)]),
    ):
        if model is not None and Trees(model.trees[0]).features != names:
            raise UsageError(f"{path} was trained with other features.", do="Train it again with: resolver train")
    if learned.demographic is None or not learned.card.get("seen"):
        raise UsageError(f"{path} holds no trained model.", do="Make one with: resolver train")
    return learned


def _take(shipped: Learned, why: str, asked: str) -> Learned:
    version = {"model": shipped.fingerprint("joint" if shipped.joint else "demographic")}
    return replace(shipped, way="shipped", why=why, card={"asked": asked, "facts": version})


def _look(context: StageContext, most: int, people: Said) -> tuple[Sample, dict[str, Any]]:
    from resolver.learn import profile, unlabelled
    from resolver.learn.sample import draw

    records, events = context.inputs["records"], context.inputs["events"]
    with context.progress.step("learn: features of pairs"), context.connect() as con:
        sample = draw(
            con,
            records,
            events,
            context.inputs["pairs"],
            most=most,
            folds=unlabelled.FOLDS,
            scratch=context.scratch,
            wanted=people.records,
        )
        return sample, profile.of(con, records, events)


def _misfits(
    context: StageContext, shipped: Learned, sample: Sample, found: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """In words, where the input is not like what the model was trained on; and which of that is about codes."""
    from resolver.learn import judged, profile

    seen = shipped.card["seen"]
    if len(sample):
        found |= profile.doubt(judged.logits(sample, shipped, context.settings.run.threads))
    return profile.misfits(found, seen), profile.codes(found, seen)


def _too_few(sample: Sample) -> str | None:
    from resolver.fusion import probability

    expected = float(probability(sample.splink).sum())
    if len(sample) >= FEWEST_PAIRS and expected >= FEWEST_MATCHES:
        return None
    return f"{len(sample):,} pairs with about {expected:,.0f} matches are too few to learn from"


def _without_labels(
    context: StageContext, sample: Sample, people: Said, said: str, few: str | None, card: dict[str, Any]
) -> Learned:
    from resolver.judges.learned import Learned
    from resolver.learn import judged, unlabelled

    settings = context.settings
    if few is not None:
        return Learned("none", f"{few}; Splink's score stands", card=card)
    cost = settings.cluster.same_source
    taught = unlabelled.teach(
        sample,
        seed=settings.run.seed,
        threads=settings.run.threads,
        unscored=settings.cluster.unscored_logit,
        same_source=judged.same_source(sample, sample.splink) if cost == "fit" else cost,
        say=context.progress.say,
        said=people,
    )
    facts = {"pairs": len(sample), **taught.facts}
    how = f"with {len(people):,} answers of people" if len(people) else "without labels"
    return Learned(
        "unlabelled",
        f"{said}; demographics and histories taught each other, {how}",
        taught.demographic,
        taught.joint,
        {**card, "facts": facts},
        taught.gates,
    )
