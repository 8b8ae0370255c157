"""What each part of the matching is worth, on labelled populations: one table per population.

    python benchmarks/ablations.py CONFIG... [--train CONFIG...] [--out FILE] [--trees N] [--rounds N] [--threads N]

Each CONFIG is a run with evaluate.truth; ingest and link are run where that is not done yet. Rows: Splink alone; the
model that ships, with each of its judges and with bare connected components instead of the clustering; learning without
labels; and, with --train, a model fitted to those populations with all evidence and without each kind of it, because a
model misses what it has learned to lean on. Heights are taken out of the histories, anything else out of the features.
A population that a model was fitted to is refused. Precision and recall are of pairs after clustering, recall counts
pairs that blocking lost as missed; intervals are 95 %, over persons; labels: true and false pairs fitted to.
--out writes the tables as Markdown, with protocol and date.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resolver import database, files, runs, settings
from resolver.cluster.graph import components
from resolver.database import quote
from resolver.evaluate import bootstrap, counts
from resolver.judges.features import clinical, demographic
from resolver.judges.features.population import CODED
from resolver.judges.learned import Learned
from resolver.learn import SHIPPED, judged, labelled, populations, sample, unlabelled
from resolver.learn.labelled import Population
from resolver.progress import PlainProgress

HEIGHT = "8302-2"
SPLINK = demographic.SPLINK.name
CODES = ("codes_", *(f"{kind}_" for kind in CODED))
TOLD = ("told_", "birth_told", "before_birth")
COLUMNS = ("", "labels", "precision", "recall", "F1", "split", "impure", "CPU s")


@dataclass(frozen=True)
class Way:
    """A row of a model: which features it does not read, and how persons are made."""

    name: str
    without: tuple[str, ...] = ()  # how the names of features begin
    demographic_only: bool = False
    connected: bool = False
    heights: bool = True


# Splink's score reads all fields, so it goes where one of them does.
SERVED = (
    Way("demographic", demographic_only=True),
    Way("demographic + clinical"),
    Way("demographic + clinical, connected components", connected=True),
)
LACKING = (
    Way("without Splink's score", (SPLINK,)),
    Way("without names", (SPLINK, "first_", "last_", "maiden_", "family_", "given_", "whole_", "swapped_", "middle_")),
    Way("without birth dates", (SPLINK, "birth_date", "birth_told", "before_birth")),
    Way("without SSN", (SPLINK, "ssn")),
    Way("without addresses", (SPLINK, "street", "unit", "city", "zip")),
    Way("without phone, e-mail and insurance number", (SPLINK, "phone", "email", "member_id")),
    Way("without codes", CODES),
    Way("without measurements", ("measured_",)),
    Way("without heights", heights=False),
    Way("without visits and windows", ("window_", "visits_")),
    Way("without told ages", TOLD),
)


@dataclass(frozen=True)
class Model:
    way: Way
    learned: Learned
    labels: int


@dataclass(frozen=True)
class Row:
    name: str
    labels: int
    cells: tuple[str, ...]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--train", nargs="+", type=Path, default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--trees", type=int, default=labelled.ROUNDS, help="of each model fitted to --train")
    parser.add_argument("--rounds", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=database.cores())
    asked = parser.parse_args()
    progress = PlainProgress()
    shipped = Learned.load(SHIPPED)
    names = {config.stem for config in asked.train} | {str(one["name"]) for one in shipped.card["populations"]}
    both = sorted({config.stem for config in asked.configs} & names)
    if both:
        parser.error(f"{', '.join(both)}: fitted to, so not to be reported on")
    labels = sum(one["pairs"] for one in shipped.card["populations"])
    models = [Model(replace(way, name=f"shipped: {way.name}"), shipped, labels) for way in SERVED]
    if asked.train:
        labelled.ROUNDS = asked.trees
        models += _fitted(asked.train, progress, asked.threads)
    lines = []
    for config in asked.configs:
        population = populations.load(config, progress)
        heightless = replace(population, sample=_without_heights(config, progress)) if asked.train else population
        title = f"{config.stem}: {population.sample.records:,} records, {len(population.sample):,} scored pairs"
        print(f"\n{title}\n{_plain(COLUMNS)}", flush=True)
        lines += ["", f"## {title}", "", *_markdown(COLUMNS), *_markdown(("---",) * len(COLUMNS))]
        for row in _rows(population, heightless, models, asked.rounds, asked.threads):
            cells = (row.name, f"{row.labels:,}", *row.cells, f"{row.seconds:.0f}")
            print(_plain(cells), flush=True)
            lines += _markdown(cells)
        if asked.out:  # after each population, since the next one may take long
            files.write_text(asked.out, "\n".join([*_head(asked, shipped), *lines, ""]))


def _rows(
    population: Population, heightless: Population, models: Sequence[Model], rounds: int, threads: int
) -> Iterator[Row]:
    splink = population.sample.splink
    yield _row(population, "Splink alone, connected components", 0, splink, rounds, connected=True)
    yield _row(population, "Splink alone", 0, splink, rounds)
    for model in models:
        way = model.way
        one = (population if way.heights else heightless).sample
        used = replace(model.learned, joint=None) if way.demographic_only else model.learned
        began = time.process_time()
        logit = judged.logits(_blank(one, way), used, threads)
        seconds = time.process_time() - began
        yield _row(population, way.name, model.labels, logit, rounds, connected=way.connected, seconds=seconds)
    nobody = replace(population.sample, known=np.zeros(len(population.sample), dtype=bool))
    for name, one in (("label-free", population.sample), ("label-free, no histories", nobody)):
        began = time.process_time()
        taught = unlabelled.teach(
            one,
            seed=0,
            threads=threads,
            unscored=labelled.UNSCORED,
            same_source=judged.same_source(one, one.splink),
            say=lambda text: None,
        )
        seconds = time.process_time() - began
        learned = Learned("unlabelled", "", taught.demographic, taught.joint)
        if one is population.sample:
            alone = judged.logits(one, replace(learned, joint=None), threads)
            yield _row(population, f"{name}: demographic", 0, alone, rounds, seconds=seconds)
        logit = judged.logits(one, learned, threads)
        yield _row(population, name, 0, logit, rounds, seconds=seconds)
        if one is population.sample:
            yield _row(population, f"{name}, connected components", 0, logit, rounds, connected=True, seconds=seconds)


def _fitted(train: Sequence[Path], progress: PlainProgress, threads: int) -> list[Model]:
    """A model per row, fitted to the populations without what the row lacks."""
    given = [populations.load(config, progress) for config in train]
    labels = int(sum(one.known.sum() for one in given))

    def fit(used: Sequence[Population]) -> Learned:
        return labelled.train(used, seed=0, threads=threads)

    progress.say("fit: all evidence")
    whole = fit(given)
    result = [Model(replace(way, name=f"fitted: {way.name}"), whole, labels) for way in SERVED]
    for way in LACKING:
        progress.say(f"fit: {way.name}")
        if way.heights:
            learned = fit([replace(one, sample=_blank(one.sample, way)) for one in given])
        else:
            learned = fit(
                [replace(one, sample=_without_heights(at, progress)) for one, at in zip(given, train, strict=True)]
            )
        result.append(Model(replace(way, name=f"fitted: {way.name}"), learned, labels))
    return result


def _blank(drawn: sample.Sample, way: Way) -> sample.Sample:
    """The sample with the features of a kind of evidence unknown."""
    if not way.without:
        return drawn
    tables = []
    for table, features in ((drawn.demographic, demographic.FEATURES), (drawn.clinical, clinical.FEATURES)):
        gone = [feature.name.startswith(way.without) for feature in features]
        tables.append(np.where(gone, np.float32(np.nan), table))
    return replace(drawn, demographic=tables[0], clinical=tables[1])


def _without_heights(config: Path, progress: PlainProgress) -> sample.Sample:
    """The same pairs, with histories in which nobody's height was ever measured."""
    loaded = settings.load(config)
    folder = runs.RunFolder(loaded.run.dir)
    progress.say(f"{config.stem}: features without heights")
    folder.scratch.mkdir(exist_ok=True)
    events = folder.scratch / "events_without_heights.parquet"
    try:
        with database.connect(memory_gib=loaded.run.memory_gib, threads=loaded.run.threads) as con:
            con.execute(
                f"COPY (FROM read_parquet({quote(folder.require('events'))}) WHERE kind <> 'measurement'"
                f" OR code NOT IN ('{HEIGHT}', 'BODY HEIGHT')) TO {quote(events)} (FORMAT parquet)"
            )
            return sample.draw(
                con,
                folder.require("records"),
                events,
                folder.require("pairs"),
                most=loaded.learn.max_pairs,
                folds=unlabelled.FOLDS,
            )
    finally:
        events.unlink(missing_ok=True)


def _row(
    population: Population,
    name: str,
    labels: int,
    logit: np.ndarray,
    rounds: int,
    *,
    connected: bool = False,
    seconds: float = 0.0,
) -> Row:
    drawn = population.sample
    if connected:
        linked = logit > 0
        cluster = np.asarray(components(drawn.records, drawn.left[linked], drawn.right[linked]), dtype=np.int64)
    else:
        cost = judged.same_source(drawn, logit)
        cluster = judged.persons(drawn, logit, unscored=labelled.UNSCORED, cost=cost, against=labelled.AGAINST)
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
    texts = []
    for one in ("precision", "recall", "f1"):
        span = spans.get(f"pairs.{one}")
        texts.append("none found" if span is None else f"{found[one]:.4f} ({span[0]:.4f} to {span[1]:.4f})")
    of = counts.of_clusters(laid)
    return Row(name, labels, (*texts, str(of["split"]), str(of["impure"])), seconds)


WIDTHS: Sequence[Callable[[str], str]] = (
    lambda text: f"{text:52}",
    lambda text: f"{text:>11}  ",
    *(3 * [lambda text: f"{text:26}"]),
    *(3 * [lambda text: f"{text:>7}"]),
)


def _plain(cells: Sequence[str]) -> str:
    return "".join(width(cell) for width, cell in zip(WIDTHS, cells, strict=True))


def _markdown(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _head(asked: argparse.Namespace, shipped: Learned) -> list[str]:
    fitted = (
        f"Rows that begin with `fitted` are models of {asked.trees} trees, fitted to {_list(asked.train)} with and"
        " without each kind of evidence; they compare with each other, not with the model that ships, which has learned"
        " from more."
        if asked.train
        else "Without `--train`, no row takes away a kind of evidence: that needs a fit of its own."
    )
    return [
        "# Quality: what each part is worth",
        "",
        f"Made by `benchmarks/ablations.py` on {dt.datetime.now(dt.UTC):%Y-%m-%d}; not edited by hand.",
        "",
        "Synthetic persons that nothing was fitted on. Precision and recall are of pairs after clustering; recall"
        " counts true pairs that blocking lost as missed. In brackets: 95 %, bootstrapped over persons. Labels: true"
        " and false pairs that the row's model was fitted to, all of other persons. Split: persons in more than one"
        " cluster. Impure: clusters with more than one person. CPU s: to judge the pairs, or to learn without labels.",
        "",
        fitted,
        "",
        f"`shipped` rows are of the model {shipped.fingerprint('joint')}. `label-free` rows learn from the very run,"
        " without any label and without the model that ships.",
    ]


def _list(configs: Sequence[Path]) -> str:
    return ", ".join(f"`{config.stem}`" for config in configs)


if __name__ == "__main__":
    main()
