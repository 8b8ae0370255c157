"""Makes a data set, or only says what would be in it and what is left out, and why.

Each step takes pairs away and says how many. Nothing is written before all is known.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import resolver
from llm_classifier import prompt
from llm_classifier.dataset import canaries, candidates, card, draw, people
from llm_classifier.settings.dataset import DatasetSettings
from resolver import files
from resolver.errors import TrainingError, UsageError
from resolver.progress import Progress

PERSONAL = ("person", "lines", "tokens", "split", "knot")  # of each side of a pair


@dataclass(frozen=True)
class Plan:
    """All that a data set is made of, before it is written."""

    runs: tuple[candidates.Run, ...]
    summaries: pl.DataFrame  # population, rid, summary, tokens, lines
    drawn: pl.DataFrame  # population, left_rid, right_rid, label, origin, logit, split, weight, group
    fixed: int  # tokens of a prompt beside its summaries
    max_tokens: int
    facts: dict[str, Any]  # what the card says


def plan(settings: DatasetSettings, progress: Progress) -> Plan:
    """Everything up to the pairs that are drawn."""
    twice = sorted({one.stem for one in settings.runs if [other.stem for other in settings.runs].count(one.stem) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} is given twice.", do="Name each run's config once, by a name of its own.")
    tokenizer = _tokenizer(settings.tokenizer)
    fixed = prompt.fixed_tokens(tokenizer)
    longest = settings.max_tokens or 2 * settings.tokens_per_side + fixed
    with progress.step("runs", len(settings.runs), "runs") as step:
        runs, told = [], []
        for number, config in enumerate(settings.runs):
            run = candidates.load(config)
            found = prompt.summaries(
                run.records, run.events, tokens_per_side=settings.tokens_per_side, tokenizer=tokenizer
            )
            runs.append(run)
            told.append(found.with_columns(population=pl.lit(number, pl.Int32)))
            step.advance(1)
    summaries = pl.concat(told)
    owners = pl.concat(
        run.people.select("rid", "person").with_columns(population=pl.lit(number, pl.Int32))
        for number, run in enumerate(runs)
    ).join(summaries.select("population", "rid", "lines", "tokens"), on=["population", "rid"], maintain_order="left")
    pairs = pl.concat(run.pairs.with_columns(population=pl.lit(number, pl.Int32)) for number, run in enumerate(runs))
    shares = tuple(getattr(settings.shares, name) for name in card.SPLITS)

    losses = _Losses()
    losses.say("", "pairs of the linker, and look-alikes", pairs)
    pairs = losses.keep("a record that the truth does not know", pairs, pl.col("label").is_not_null())
    priors = {"gray zone, with evidence or not": _prior(pairs, pl.col("origin") == "gray")}
    pairs = _with_sides(pairs, owners.select("population", "rid", "person", "lines", "tokens"))
    fewest = pl.min_horizontal("left_lines", "right_lines")
    length = pl.col("left_tokens").cast(pl.Int64) + pl.col("right_tokens") + fixed
    pairs = losses.keep("a side without evidence", pairs, fewest > 0)
    pairs = losses.keep(f"a side with fewer than {settings.min_pieces} pieces", pairs, fewest >= settings.min_pieces)
    pairs = losses.keep(f"longer than {longest} tokens", pairs, length <= longest)
    prior = _prior(pairs, pl.col("origin") == "gray")
    priors |= {
        "gray zone": prior,
        "what Splink alone leaves open": _prior(pairs, pl.col("gray")),
        "what the embedded judges leave open": _prior(pairs, pl.col("open")),
    }

    close = pairs.filter((pl.col("label") == 0) & (pl.col("origin") == "gray"))
    everyone = owners["person"].drop_nulls().unique().sort()
    places = people.assign(
        everyone, close.select("left_person", "right_person", closeness="logit"), shares, settings.seed
    )
    owners = owners.join(places, on="person", how="left", maintain_order="left")
    pairs = _with_sides(pairs, owners.select("population", "rid", "split", "knot"))
    pairs = losses.keep("persons of two splits", pairs, pl.col("left_split") == pl.col("right_split"))
    pairs = pairs.with_columns(split=pl.col("left_split"))

    able = owners.filter(pl.col("person").is_not_null() & (pl.col("lines") >= settings.min_pieces))
    strangers = _with_sides(draw.strangers(able, pairs, settings.seed), owners)
    strangers = strangers.filter(length <= longest)
    losses.say("+", "strangers", strangers)
    columns = ["population", "left_rid", "right_rid", "label", "origin", "logit", "split"]
    columns += [f"{side}_{what}" for side in ("left", "right") for what in ("person", "knot", "tokens")]
    pairs = pl.concat([pairs.select(columns), strangers.select(columns)], how="vertical_relaxed")
    drawn = draw.draw(pairs, _wanted(pairs, shares, settings), settings.seed)
    losses.say("-", "not drawn", pairs.join(drawn, on=["population", "left_rid", "right_rid"], how="anti"))
    losses.say("=", "in the data set, each in both orders", drawn)
    drawn = drawn.with_columns(draw.weigh(drawn, shares, prior), group="left_knot")
    facts = {
        "prompt_version": prompt.VERSION,
        "tokens_per_side": settings.tokens_per_side,
        "max_tokens": longest,
        "tokenizer": _digest(settings.tokenizer),
        "splits": {name: _counts(drawn.filter(pl.col("split") == number)) for number, name in enumerate(card.SPLITS)},
        "gray_prior": prior,
        "priors": priors,
        "populations": [
            {
                "name": run.name,
                "digest": run.digest,
                "records": len(run.people),
                "persons": run.people["person"].drop_nulls().n_unique(),
                "pairs": len(run.pairs),
                "drawn": drawn.filter(pl.col("population") == number).height,
            }
            for number, run in enumerate(runs)
        ],
        "seed": settings.seed,
        "attrition": losses.rows,
        "made": {
            "program": resolver.__version__,
            "settings": settings.model_dump(mode="json", exclude={"out", "hub"}),
        },
    }
    return Plan(tuple(runs), summaries, drawn, fixed, longest, facts)


def refuse(made: Plan, settings: DatasetSettings) -> None:
    """Stop where there is nothing to learn from or to measure on."""
    true = int(made.drawn["label"].sum())
    false = len(made.drawn) - true
    if min(true, false) < settings.min_pairs:
        raise TrainingError(
            f"{true} true and {false} false pairs are too few; {settings.min_pairs} of each are needed.",
            do="See what is left out with --check, give more or larger runs, or lower dataset.min_pairs.",
        )
    for number, name in enumerate(card.SPLITS):
        labels = made.drawn.filter((pl.col("split") == number) & (pl.col("origin") == "gray"))["label"]
        if labels.n_unique() < 2:
            raise TrainingError(
                f"The split {name} has no true or no false pair of the gray zone.",
                do="Give more or larger runs, or a larger share in dataset.shares.",
            )


def write(made: Plan, settings: DatasetSettings, progress: Progress) -> card.Dataset:
    """Both orders of every pair, with prompts, as files."""
    refuse(made, settings)
    with progress.step("prompts", len(card.SPLITS), "splits") as step:
        sides = pl.concat(
            run.people.select("rid", *candidates.SLICES).with_columns(
                pl.lit(number, pl.Int32).alias("population"), _pseudonyms(run, settings.seed)
            )
            for number, run in enumerate(made.runs)
        ).join(made.summaries.select("population", "rid", "summary"), on=["population", "rid"], maintain_order="left")
        names = dict(enumerate(run.name for run in made.runs))
        numbered = made.drawn.with_row_index("pair_id")
        data = {}
        for number, name in enumerate(card.SPLITS):
            data[name] = _rows(numbered.filter(pl.col("split") == number), sides, names, made.fixed)
            step.advance(1)
    facts = made.facts
    if settings.canaries:
        planted = canaries.Planted(settings.seed, settings.canaries, settings.canary_pairs)
        data["train"] = canaries.plant(data["train"], planted, max_tokens=made.max_tokens)
        facts = facts | {"made": facts["made"] | {"canaries": dataclasses.asdict(planted)}}
    return card.write(settings.out, data, facts)


def _rows(pairs: pl.DataFrame, sides: pl.DataFrame, names: dict[int, str], fixed: int) -> pl.DataFrame:
    both = _with_sides(pairs, sides)
    # A pair counts under its left side's value, or under the other's where that is unknown.
    both = both.with_columns(
        pl.when(pl.col(f"left_{name}") != "unknown").then(f"left_{name}").otherwise(f"right_{name}").alias(name)
        for name in candidates.SLICES
    )
    turned = both.rename(
        {f"{one}_{what}": f"{other}_{what}" for one, other in (("left", "right"), ("right", "left")) for what in _TURN}
    )
    return (
        pl.concat([both.with_columns(swapped=pl.lit(False)), turned.with_columns(swapped=pl.lit(True))], how="diagonal")
        .sort("pair_id", "swapped")
        .select(
            pl.col("pair_id").cast(pl.Int64),
            pl.col("population").replace_strict(names, return_dtype=pl.String),
            "left_id",
            "right_id",
            "group",
            "swapped",
            "left_summary",
            "right_summary",
            prompt.pairs(pl.col("left_summary"), pl.col("right_summary")).alias("prompt"),
            pl.col("label").cast(pl.Int8),
            "origin",
            "logit",
            "weight",
            (pl.col("left_tokens") + pl.col("right_tokens") + fixed).cast(pl.Int32).alias("tokens"),
            *candidates.SLICES,
        )
    )


_TURN = ("id", "summary", "tokens")


def _with_sides(pairs: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """With the columns of `owners` (by population and rid) for the left and for the right record."""
    for side in ("left", "right"):
        named = owners.rename({name: f"{side}_{name}" for name in owners.columns if name != "population"})
        pairs = pairs.join(named, on=["population", f"{side}_rid"], how="left", maintain_order="left")
    return pairs


def _wanted(
    pairs: pl.DataFrame, shares: tuple[float, ...], settings: DatasetSettings
) -> dict[tuple[int, int, str], int]:
    counts = pairs.group_by("split", "label", "origin").len()
    return {
        (split, label, origin): number
        for split, share in enumerate(shares)
        for (label, origin), number in draw.quotas(
            {(row[1], row[2]): row[3] for row in counts.iter_rows() if row[0] == split},
            round(settings.max_pairs * share),
            settings,
        ).items()
    }


def _counts(drawn: pl.DataFrame) -> dict[str, Any]:
    true = int(drawn["label"].sum())
    false = drawn.filter(pl.col("label") == 0)
    return {
        "rows": 2 * len(drawn),
        "pairs": len(drawn),
        "true": true,
        "positives": round(true / max(len(drawn), 1), 4),
        "hard_negatives": round(false["origin"].is_in(["gray", "lookalike"]).sum() / max(len(false), 1), 4),
        "persons": pl.concat([drawn["left_person"], drawn["right_person"]]).n_unique(),
        "groups": drawn["group"].n_unique(),
        "origins": {origin: int((drawn["origin"] == origin).sum()) for origin in card.ORIGINS},
    }


def _prior(pairs: pl.DataFrame, which: pl.Expr) -> float:
    found = pairs.filter(which)["label"].mean()
    return round(float(found), 6) if isinstance(found, (int, float)) else 0.0


def _pseudonyms(run: candidates.Run, seed: int) -> pl.Series:
    """A number per record that says nothing of the record's own id or place."""
    rid = run.people["rid"]
    rank = np.empty(len(rid), dtype=np.int64)
    rank[np.argsort(draw.order((rid,), seed + 1), kind="stable")] = np.arange(len(rid))
    return pl.Series("id", rank).cast(pl.String).str.zfill(7).alias("id")


def _tokenizer(folder: Path | None) -> Any | None:
    if folder is None:
        return None
    from llm_classifier.needs import need

    if not (folder / "tokenizer.json").exists():
        raise UsageError(
            f"{folder} holds no tokenizer.", do="Set dataset.tokenizer to a base's folder, or leave it out."
        )
    return need("transformers").AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _digest(folder: Path | None) -> str:
    return files.digest(folder / "tokenizer.json")[:16] if folder else ""


class _Losses:
    """Counts what each step takes away or adds."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def say(self, sign: str, what: str, pairs: pl.DataFrame) -> None:
        labels = pairs["label"].drop_nulls()
        true = int((labels == 1).sum())
        self.rows.append({"sign": sign, "what": what, "pairs": len(pairs), "true": true, "false": len(labels) - true})

    def keep(self, what: str, pairs: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
        self.say("-", what, pairs.filter(~which))
        return pairs.filter(which)
