"""How far a small budget of answers goes, by the order in which pairs are asked about: one table per run.

    python benchmarks/cascade.py CONFIG... [--strength LOGIT]

Each CONFIG is a finished run with evaluate.truth. Pairs that are gray after the run's judges get made-up answers, no
language model is asked: log-odds drawn so that they mean what they say (normal, mean +-LOGIT by the truth, variance
2 LOGIT). Budgets are shares of what Splink alone calls gray; F1 is of pairs after clustering. Orders: the judge's own,
nearest to even odds, at random.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from llm_classifier.score import cascade
from resolver import database, settings
from resolver.cluster.solve import cluster
from resolver.evaluate import truth

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--run", type=Path, help="run folder, where it is not the config's")
    parser.add_argument("--strength", type=float, default=2.0, help="mean log-odds of an answer")
    given = parser.parse_args()
    for config in given.configs:
        overrides = (f"run.dir={given.run}",) if given.run else ()
        show(config.stem, settings.load(config, overrides), given.strength)


def show(name: str, loaded: settings.Settings, strength: float) -> None:
    run = loaded.run.dir
    decisions = pl.read_parquet(run / "decisions.parquet", columns=["left_rid", "right_rid", "logit"])
    splink = pl.read_parquet(run / "pairs.parquet", columns=["logit"])["logit"].abs()
    bound = math.log(loaded.link.match_probability / (1 - loaded.link.match_probability))
    budget_of = int((splink < bound).sum())
    records = run / "records.parquet"
    assert loaded.evaluate.truth is not None
    with database.connect(memory_gib=1, threads=1) as con:
        person = truth.read(con, loaded.evaluate.truth, f"read_parquet({database.quote(records)})").person
    source = pl.read_parquet(records, columns=["rid", "source"]).sort("rid")["source"].rank("dense").to_numpy()
    facts = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]["cluster"]["facts"]
    left, right = (decisions[side].to_numpy().astype(np.int64) for side in ("left_rid", "right_rid"))
    logit = decisions["logit"].to_numpy()
    gray = np.flatnonzero(np.abs(logit) < bound)
    true = person[left] == person[right]
    rng = np.random.default_rng(0)
    answers = np.where(true, strength, -strength) + rng.normal(0, math.sqrt(2 * strength), len(logit))
    unscored, against = loaded.cluster.unscored_logit, loaded.cluster.against
    worth = cascade.worth(decisions[gray], decisions, unscored=unscored, against=against)
    orders = {
        "the judge's": np.argsort(-worth, kind="stable"),
        "nearest to even": np.argsort(np.abs(logit[gray]), kind="stable"),
        "at random": rng.permutation(len(gray)),
    }

    def f1(asked: NDArray[np.int64]) -> float:
        told = logit.copy()
        told[asked] += answers[asked]
        made = cluster(
            len(person),
            left,
            right,
            told,
            source.astype(np.int64) - 1,
            unscored=unscored,
            same_source=float(facts["same_source_logit"]),
            against=against,
        ).labels
        both = _pairs(np.stack([person, made]))
        return 2 * both / (_pairs(person[None]) + _pairs(made[None]))

    print(f"{name}: {len(person):,} records; gray by Splink {budget_of:,}, after the judges {len(gray):,}")
    print("  asked        " + "".join(f"{order:>18}" for order in orders))
    for share in SHARES:
        many = int(share * budget_of)
        print(f"  {share:4.0%} {many:6,} " + "".join(f"{f1(gray[order[:many]]):18.4f}" for order in orders.values()))
    print(f"  all  {len(gray):6,} {f1(gray):18.4f}", flush=True)


def _pairs(labels: NDArray[np.int64]) -> int:
    """Pairs of records with the same labels."""
    many = np.unique(labels, axis=1, return_counts=True)[1]
    return int((many * (many - 1) // 2).sum())


if __name__ == "__main__":
    main()
