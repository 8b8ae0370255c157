"""What each part of the matching is worth, on labelled populations: one table per population.

    python benchmarks/ablations.py CONFIG... [--train CONFIG...] [--rounds N] [--threads N]

Each CONFIG is a run with evaluate.truth; ingest and link are run where that is not done yet. Rows: Splink alone, the
trained judges with parts of their evidence taken away, bare connected components instead of the clustering, and
learning without labels. Rows that lack a kind of evidence are fitted anew without it, to the populations of --train,
because a model misses what it has learned to lean on; without --train they are left out, and the model that ships
stands for the trained judges. Heights are taken out of the histories only. A population that a model was fitted to is
refused. Precision and recall are of pairs after clustering, recall counts pairs that blocking lost as missed; intervals
are 95 %, over persons; labels: true and false pairs fitted to.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resolver import database
from resolver.cluster.graph import components
from resolver.evaluate import bootstrap, counts
from resolver.judges.features import clinical
from resolver.judges.learned import Learned
from resolver.learn import SHIPPED, judged, labelled, populations, unlabelled
from resolver.learn.labelled import Population
from resolver.progress import PlainProgress

HEIGHT = "8302-2"
CLINICAL = tuple(feature.name for feature in clinical.FEATURES)


@dataclass(frozen=True)
class Way:
    """One row: what is taken out of the evidence, and how persons are made."""

    name: str
    without: Callable[[str], bool] | None = None  # clinical features that are not read
    demographic_only: bool = False
    connected: bool = False


WAYS = (
    Way("demographic", demographic_only=True),
    Way("demographic + clinical"),
    Way("... without codes", lambda name: name.startswith(("codes_", *(f"{kind}_" for kind in clinical.CODED)))),
    Way("... without measurements", lambda name: name.startswith("measured_")),
    Way("... without visits and windows", lambda name: name.startswith(("window_", "visits_"))),
    Way("... without told ages", lambda name: name.startswith(("told_", "birth_told", "before_birth"))),
    Way("... connected components", connected=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--train", nargs="+", type=Path, default=[])
    parser.add_argument("--rounds", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=database.cores())
    asked = parser.parse_args()
    progress = PlainProgress()
    fitted = [populations.load(config, progress) for config in asked.train]
    shipped = Learned.load(SHIPPED)
    names = {one.name for one in fitted} or {str(one["name"]) for one in shipped.card["populations"]}
    both = sorted({config.stem for config in asked.configs} & names)
    if both:
        parser.error(f"{', '.join(both)}: fitted to, so not to be reported on")
    models = _models(fitted, shipped, asked.threads)
    for config in asked.configs:
        population = populations.load(config, progress)
        heights = replace(population, sample=_without_heights(config, population, progress))
        print(f"\n{population.name}: {population.sample.records:,} records, {len(population.sample):,} scored pairs")
        print(f"{'':32}{'labels':>10}  {'precision':24}{'recall':24}{'F1':24}{'split':>6}{'impure':>7}{'s':>6}")
        _row(population, "Splink alone, components", 0, population.sample.splink, asked.rounds, connected=True)
        _row(population, "Splink alone, clustered", 0, population.sample.splink, asked.rounds)
        for way, model, labels in models:
            began = time.process_time()
            logit = _logit(population, way, model, asked.threads)
            spent = time.process_time() - began
            _row(population, way.name, labels, logit, asked.rounds, connected=way.connected, seconds=spent)
            if way == WAYS[1]:
                logit = _logit(heights, way, model, asked.threads)
                _row(population, "... without heights", labels, logit, asked.rounds)
        for name, one in (("label-free", population), ("label-free, no histories", _no_histories(population))):
            began = time.process_time()
            taught = unlabelled.teach(
                one.sample,
                seed=0,
                threads=asked.threads,
                unscored=labelled.UNSCORED,
                same_source=judged.same_source(one.sample, one.sample.splink),
                say=lambda text: None,
            )
            _row(population, name, 0, taught.logit, asked.rounds, seconds=time.process_time() - began)


def _models(fitted: Sequence[Population], shipped: Learned, threads: int) -> list[tuple[Way, Learned, int]]:
    """A model per row; where no populations to fit to are given, only those rows that the shipped one serves."""
    if not fitted:
        labels = sum(one["pairs"] for one in shipped.card["populations"])
        return [(way, shipped, labels) for way in WAYS if way.without is None]
    labels = int(sum(one.known.sum() for one in fitted))
    whole = labelled.train(fitted, seed=0, threads=threads)
    result = []
    for way in WAYS:
        model = whole
        if way.without is not None:
            less = [replace(one, sample=_blank(one.sample, way)) for one in fitted]
            model = labelled.train(less, seed=0, threads=threads)
        result.append((way, model, labels))
    return result


def _blank(sample: judged.Sample, way: Way) -> judged.Sample:
    """The sample with the features of a kind of evidence unknown."""
    if way.without is None:
        return sample
    table = sample.clinical.copy()
    table[:, [way.without(name) for name in CLINICAL]] = np.nan
    return replace(sample, clinical=table)


def _logit(population: Population, way: Way, model: Learned, threads: int) -> np.ndarray:
    used = replace(model, joint=None) if way.demographic_only else model
    return judged.logits(_blank(population.sample, way), used, threads)


def _no_histories(population: Population) -> Population:
    nobody = np.zeros(len(population.sample), dtype=bool)
    return replace(population, sample=replace(population.sample, known=nobody))


def _without_heights(config: Path, population: Population, progress: PlainProgress) -> judged.Sample:
    """The same pairs, with histories in which nobody's height was ever measured."""
    from resolver import runs, settings
    from resolver.database import quote
    from resolver.learn import sample

    loaded = settings.load(config)
    folder = runs.RunFolder(loaded.run.dir)
    progress.say(f"{config.stem}: features without heights")
    folder.scratch.mkdir(exist_ok=True)
    events = folder.scratch / "events.parquet"
    try:
        with database.connect(memory_gib=loaded.run.memory_gib, threads=loaded.run.threads) as con:
            con.execute(
                f"COPY (FROM read_parquet({quote(folder.require('events'))}) WHERE kind <> 'measurement'"
                f" OR code NOT IN ('{HEIGHT}', 'BODY HEIGHT')) TO {quote(events)} (FORMAT parquet)"
            )
            drawn = sample.draw(
                con,
                folder.require("records"),
                events,
                folder.require("pairs"),
                most=loaded.learn.max_pairs,
                folds=unlabelled.FOLDS,
            )
    finally:
        events.unlink(missing_ok=True)
    return drawn


def _row(
    population: Population,
    name: str,
    labels: int,
    logit: np.ndarray,
    rounds: int,
    *,
    connected: bool = False,
    seconds: float = 0.0,
) -> None:
    sample = population.sample
    if connected:
        linked = logit > 0
        cluster = np.asarray(components(sample.records, sample.left[linked], sample.right[linked]), dtype=np.int64)
    else:
        cost = judged.same_source(sample, logit)
        cluster = judged.persons(sample, logit, unscored=labelled.UNSCORED, cost=cost)
    laid = counts.lay(population.person, cluster)
    right, predicted, true = (
        float((column - 1).sum() / 2) for column in (laid.in_both, laid.in_cluster, laid.in_person)
    )
    found = counts.score(right, predicted, true)
    spans = bootstrap.intervals(
        counts.person_sums(laid),
        {"pairs.precision": ("after_right", "after_predicted"), "pairs.recall": ("after_right", "true")},
        rounds,
        0,
    )
    texts = [
        f"{found[one]:.4f} ({spans[f'pairs.{one}'][0]:.4f}, {spans[f'pairs.{one}'][1]:.4f})"
        for one in ("precision", "recall", "f1")
    ]
    of = counts.of_clusters(laid)
    columns = "".join(f"{text:24}" for text in texts)
    print(f"{name:32}{labels:>10,}  {columns}{of['split']:>6}{of['impure']:>7}{seconds:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
