"""The stage from top to bottom: read, train or take a model, plan the blocking, propose pairs, score them, write.

Also the two things that other commands ask of it: what blocking would do (`plan`), and one pair's score taken apart
(`score_pairs`). Knows nothing of what becomes of the pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from resolver import database, tables
from resolver.database import quote
from resolver.link import (
    blocking,
    clinical,
    closure,
    fields,
    incremental,
    model,
    planner,
    rules,
    splinking,
    training,
)
from resolver.link.blocking import Blocked
from resolver.link.comparisons import COMPARISONS
from resolver.link.model import LinkModel
from resolver.link.scoring import PairScore, Scorer, score_all, take_apart
from resolver.settings import Settings
from resolver.stage import Facts, StageContext

OUTGROWN = 1.5  # times the records that a plan was made for, from which on it is made anew

# Number 0 among the rules: a copy of a record and one of its first ten.
_COPIES = """
    SELECT least(rid, first) AS join_key_l, greatest(rid, first) AS join_key_r, 0::SMALLINT AS match_key FROM crowd"""


@dataclass(frozen=True)
class Reach:
    """What blocking does with these records."""

    records: int
    rules: tuple[dict[str, Any], ...]  # per rule: number, name, cap, pairs, hubs and more
    hubs: tuple[dict[str, Any], ...]  # per field: how many values too many records share, and how many records
    proposed_per_record: float  # expected
    candidates_per_record: float  # expected to be kept, of those that rules propose
    unreached: int  # records that no rule pairs with another
    expected_missed: float  # share of the matches that some rule of the catalogue would find and the plan does not
    model: str  # trained or prior


@dataclass
class _Read:
    records: int
    counts: Mapping[str, int]
    crowded: int
    clinical: bool


@dataclass
class Prepared:
    read: _Read
    model: LinkModel
    scorer: Scorer
    planned_now: bool
    notes: list[str]  # for the facts


def run(context: StageContext) -> Facts:
    with splinking.guarded("linking records"), context.connect() as con:
        return _run(context, con)


def _run(context: StageContext, con: duckdb.DuckDBPyConnection) -> Facts:
    given, where, reuse = _given(context)
    base = incremental.read(con, context.base, given) if given and reuse else None
    ready = prepared(con, context.inputs["records"], context.inputs["events"], context.settings, given, where)
    read, used, notes = ready.read, ready.model, ready.notes
    con.execute(f"CREATE VIEW records_now AS FROM read_parquet({quote(context.inputs['records'])})")
    if base and given and (ready.planned_now or used.floor < given.floor):
        notes.append("the rules or the floor changed, so all pairs are scored again")
        base = None
    with context.progress.step("Counting blocks", len(used.rules), "rules"):
        blocked = blocking.blocks(con, used.rules, used.max_block)
    proposals = [(_COPIES, read.crowded * fields.COPIES)] if read.crowded else []
    carried = 0
    if base:
        proposals += incremental.proposals(con, base, blocked)
        carried = incremental.carry(con, base, blocked, used.floor)
    else:
        proposals += [(blocking.joined(one.number), one.pairs) for one in blocked if one.pairs]
    parts, scored = _score(context, con, ready.scorer, proposals, read.records, used.floor, "by_rule")
    if base:
        parts = [_merged(con, parts, context.scratch / "merged.parquet")]
    closing = by_a_third = closure.propose(con, _all(parts))
    if base and closing:
        parts.append(context.scratch / "closing_known.parquet")
        known = incremental.carry_closing(con, parts[-1])
        carried, closing = carried + known, closing - known
    if closing:
        # What the third record says is not in the score, so no score is too low.
        more, asked = _score(context, con, ready.scorer, [("FROM closing", closing)], read.records, None, "closing")
        parts, scored = parts + more, scored + asked
    kept = context.write(con, tables.PAIRS.select(f"{_all(parts)} ORDER BY left_rid, right_rid"), "pairs")
    used.save(context.outputs["link_model.json"])
    context.write(
        con, f"SELECT field, value, frequency FROM {fields.FREQUENCIES} ORDER BY field, value", model.FREQUENCIES_FILE
    )
    return _facts(con, read, used, blocked, scored, kept, by_a_third, carried, notes)


def _given(context: StageContext) -> tuple[LinkModel | None, Path | None, bool]:
    """The model to use, where it lies, and whether it is that of the published run that this one adds to."""
    base, chosen = context.base, context.settings.link.model
    published = model.load(base["link_model.json"]) if incremental.complete(base) else None
    if chosen is None:
        # A model that was never trained is not kept for good.
        if published is None or published.kind == "prior":
            return None, None, False
        return published, base["link_model.json"], True
    given = model.load(chosen)
    return given, chosen, published is not None and published.fingerprint == given.fingerprint


def _read(con: duckdb.DuckDBPyConnection, records: Path, events: Path | None) -> _Read:
    """Make the tables that blocking reads."""
    fields.prepare(con, records)
    crowded = fields.set_crowds_apart(con)
    has_clinical = events is not None and clinical.prepare(con, events)
    rules.prepare(con, has_clinical)
    row = con.execute("SELECT count(*) FROM fields").fetchone()
    return _Read(int(row[0]) if row else 0, fields.filled(con), crowded, has_clinical)


def prepared(
    con: duckdb.DuckDBPyConnection,
    records: Path,
    events: Path | None,
    settings: Settings,
    given: LinkModel | None = None,
    where: Path | None = None,
) -> Prepared:
    """Everything up to the blocks: the records read, and the model to score them with.

    The model is trained and planned where none was given, and planned anew where the records have outgrown its plan.
    """
    read = _read(con, records, events)
    notes: list[str] = []
    link = settings.link
    if given is None:
        fields.count_frequencies(con)
        rarest = fields.rarest(read.counts)
        fields.compared(con, rarest)
        trained = training.train(con, read.counts, read.records - read.crowded, settings.run.seed)
        made = LinkModel(
            kind=trained.kind,
            records=read.records,
            probability=trained.probability,
            weights=trained.weights,
            comparisons=tuple(trained.comparisons),
            left_out=tuple(c.name for c in COMPARISONS if c.name not in trained.comparisons),
            rarest=rarest,
            rules=(),
            max_block=link.max_block,
            clinical=read.clinical,
            cut=None,
            floor=link.floor_logit,
            training=trained.facts | {"seed": settings.run.seed, "filled": dict(read.counts)},
        )
    else:
        assert where is not None
        made = given.kept_from(link.floor_logit)
        fields.read_frequencies(con, model.frequencies_beside(where))
        fields.compared(con, made.rarest)
        unknown = [
            c.name
            for c in COMPARISONS
            if c.name in made.left_out and any(read.counts[column] > 1 for column in c.columns)
        ]
        if unknown:
            notes.append(f"the model does not know {', '.join(unknown)}, which is filled now: train anew to use it")
    scorer = Scorer(con, made.settings)
    if made.rules and made.records * OUTGROWN >= read.records and (read.clinical or not made.clinical):
        return Prepared(read, made, scorer, False, notes)
    if made.rules:
        notes.append("blocking is planned anew: the records have outgrown the model's plan")
    if scorer.empty or read.records < 2:
        return Prepared(read, made, scorer, True, notes)
    planned = planner.plan(
        con,
        read.records - read.crowded,
        link.max_candidates_per_record,
        link.max_block,
        settings.run.seed,
        scorer.for_plan,
        read.clinical,
    )
    made = dataclasses.replace(
        made,
        rules=planned.rules,
        records=read.records,
        max_block=link.max_block,
        clinical=read.clinical,
        cut=planned.cut,
        training=dict(made.training)
        | {
            "plan": {
                "proposed_per_record": round(planned.proposed_per_record, 3),
                "candidates_per_record": round(planned.candidates_per_record, 3),
                "matches_per_record": round(planned.matches_per_record, 4),
                "missed_share": round(planned.missed, 6),
            }
        },
    ).kept_from(link.floor_logit)
    return Prepared(read, made, scorer, True, notes)


def _score(
    context: StageContext,
    con: duckdb.DuckDBPyConnection,
    scorer: Scorer,
    proposals: list[tuple[str, int]],
    records: int,
    floor: float | None,
    name: str,
) -> tuple[list[Path], int]:
    if scorer.empty or not proposals:
        return [], 0
    folder = context.scratch / name
    folder.mkdir()
    chunks = blocking.candidates(con, proposals, records, folder, context.progress)
    with context.progress.step("Scoring pairs", sum(count for _, count in proposals), "pairs") as step:
        return score_all(scorer, chunks, floor, folder, step)


def _all(parts: list[Path]) -> str:
    """SQL for the pairs of some files, of which there may be none."""
    if not parts:
        return "(SELECT 0 AS left_rid, 0 AS right_rid, 0 AS rule, 0 AS logit LIMIT 0)"
    return f"read_parquet([{', '.join(quote(path) for path in parts)}])"


def _merged(con: duckdb.DuckDBPyConnection, parts: list[Path], path: Path) -> Path:
    """One file of the pairs that were scored and those carried over, which may be the same."""
    con.execute(f"""
        COPY (
            SELECT left_rid, right_rid, min(rule) AS rule, any_value(logit) AS logit
            FROM (SELECT left_rid, right_rid, rule, logit FROM {_all(parts)} UNION ALL BY NAME FROM carried)
            GROUP BY left_rid, right_rid
        ) TO {quote(path)} (FORMAT parquet, COMPRESSION lz4)""")
    return path


def _facts(
    con: duckdb.DuckDBPyConnection,
    read: _Read,
    used: LinkModel,
    blocked: list[Blocked],
    scored: int,
    kept: int,
    by_a_third: int,
    carried: int,
    notes: list[str],
) -> Facts:
    facts: Facts = {
        "records": read.records,
        "model": used.kind,
        "model_fingerprint": used.fingerprint,
        "comparisons": list(used.comparisons),
        "left_out_because_empty": list(used.left_out),
        "training": {key: value for key, value in used.training.items() if key != "filled"},
        "candidates": kept,
        "candidates_per_record": round(kept / max(read.records, 1), 3),
        "kept_from_logit": used.floor,
        "pairs_that_a_third_record_proposes": by_a_third,
        "pairs_scored": scored,
        "pairs_carried_over": carried,
        "rules": [_rule(one) for one in blocked],
        "hubs": blocking.hubs(con, used.max_block),
        "records_no_rule_reaches": blocking.unreached(con, blocked),
    }
    if read.crowded:
        facts["copies_paired_with_their_first_ten_alone"] = read.crowded
    if not blocked:
        notes.append(
            "no blocking rule applies: no two records share a usable value, or there is no more than one record"
        )
    if notes:
        facts["notes"] = notes
    return facts


def _rule(one: Blocked) -> dict[str, Any]:
    return {
        "number": one.number,
        "name": one.planned.rule.name,
        "family": one.planned.rule.family,
        "cap": one.planned.cap,
        "pairs": one.pairs,
        "blocks_above_cap": one.large,
        "hubs": one.hubs,
        "hub_records": one.hub_records,
        "expected_new_pairs_per_record": round(one.planned.adds_candidates, 4),
        "expected_new_share_of_matches": round(one.planned.adds_matches, 6),
    }


def plan(records: Path, events: Path | None, settings: Settings, scratch: Path) -> Reach:
    """What blocking would do: the same training and planning as a run, without proposing or scoring pairs."""
    limits = settings.run
    with (
        splinking.guarded("planning the blocking"),
        database.connect(memory_gib=limits.memory_gib, threads=limits.threads, spill=scratch) as con,
    ):
        where = settings.link.model
        ready = prepared(con, records, events, settings, model.load(where) if where else None, where)
        read, used = ready.read, ready.model
        blocked = blocking.blocks(con, used.rules, used.max_block)
        expected = used.training.get("plan", {})
        return Reach(
            records=read.records,
            rules=tuple(_rule(one) for one in blocked),
            hubs=tuple(blocking.hubs(con, used.max_block)),
            proposed_per_record=float(expected.get("proposed_per_record", 0.0)),
            candidates_per_record=float(expected.get("candidates_per_record", 0.0)),
            unreached=blocking.unreached(con, blocked),
            expected_missed=float(expected.get("missed_share", 0.0)),
            model=used.kind,
        )


def score_pairs(records: Path, model_path: Path, pairs: Sequence[tuple[int, int]]) -> list[PairScore]:
    """Scores of pairs of rids taken apart, also of pairs that blocking never proposed. Reads those records alone."""
    used = model.load(model_path)
    rids = sorted({int(rid) for pair in pairs for rid in pair})
    with splinking.guarded("scoring a pair"), database.connect(memory_gib=2, threads=database.cores()) as con:
        fields.prepare(con, records, ", ".join(map(str, rids)) or "NULL")
        fields.read_frequencies(con, model.frequencies_beside(model_path), alone=True)
        fields.set_crowds_apart(con)
        fields.compared(con, used.rarest)
        return take_apart(con, used.settings, used.prior_logit, [(int(a), int(b)) for a, b in pairs])
