"""A person: its records, the pairs among them, the weakest bridge, and the nearest other persons.

A person is named by an enterprise id, by one of its records, or as cluster:N. Knows nothing of how it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resolver.errors import RunError
from resolver.explain.clustering import MOST
from resolver.explain.opened import Opened, Row
from resolver.explain.ties import Bridge, Ties

NEAREST = 5


@dataclass(frozen=True)
class Neighbour:
    """Another person with a scored pair to this one."""

    cluster: int
    person_id: str | None
    records: int
    best: float  # log-odds of the strongest pair
    mine: int  # that pair's records
    theirs: int
    scored: int  # pairs between the two that were scored
    between: float  # log-odds of all pairs between the two, as clustering counts
    reason: str | None  # why clustering cut a pair between them that its own log-odds would link


@dataclass(frozen=True)
class Person:
    asked: str
    person_id: str | None  # as the index has it now
    clusters: tuple[int, ...]  # of the run; several where a person has merged them since
    records: dict[int, Row]
    pairs: tuple[Row, ...]  # decisions among them, the weakest first
    unscored: int  # pairs among them that were never scored
    unscored_logit: float
    total: float | None  # log-odds of all pairs, as clustering counts; None for a person too large to look at
    bridge: Bridge | None
    neighbours: tuple[Neighbour, ...]
    notes: tuple[str, ...]


def person(run: Opened, text: str) -> Person:
    """Why these records are one person."""
    person_id, rids, notes = _find(run, text)
    records = run.records(rids)
    of = run.clusters(rids)
    clusters = sorted(set(of.values()))
    pairs = run.decisions(rids)
    decisions = sorted(pairs, key=lambda row: (row["logit"], row["left_rid"], row["right_rid"]))
    size = len(rids)
    ties = Ties.of(run, rids, pairs) if size <= MOST else None
    if ties is None:
        notes.append(f"With {size:,} records it is too large to look for its weakest bridge.")
    known = run.persons_of([str(row["record_id"]) for row in records.values()])
    ids = sorted(set(known.values()))
    if person_id is None and len(ids) == 1:
        person_id = ids[0]
    if len(clusters) > 1 or (person_id and any(one != person_id for one in ids)):
        notes.append("The index was corrected since this run, so that its persons are not those of the run.")
    return Person(
        asked=text,
        person_id=person_id,
        clusters=tuple(clusters),
        records=records,
        pairs=tuple(decisions),
        unscored=size * (size - 1) // 2 - len(decisions),
        unscored_logit=run.settings.cluster.unscored_logit,
        total=None if ties is None else ties.total,
        bridge=None if ties is None else ties.weakest_bridge(),
        neighbours=_neighbours(run, rids, records),
        notes=tuple(notes),
    )


def _find(run: Opened, text: str) -> tuple[str | None, list[int], list[str]]:
    """Enterprise id, records, and what is to be said of them."""
    from resolver.mpi import ids

    asked = ids.read(text)
    if asked is not None:
        found = _from_index(run, asked)
        if found is not None:
            return found
    numbered = re.fullmatch(r"cluster:(\d{1,9})", text)
    if numbered:
        members = run.members([int(numbered[1])])[int(numbered[1])]
        if not members:
            raise RunError(
                "There is no cluster of that number in this run.", do="A cluster has the number of its smallest rid."
            )
        return None, members, []
    try:
        rid = run.rid(text, "That")
    except RunError as error:
        looks = ids.looks_like(text) and asked is None
        raise RunError(
            "The check digit of that enterprise id does not fit, so a character is wrong."
            if looks
            else "That is neither a person of the index nor a record of one source of this run.",
            do=None if looks else error.do,
        ) from None
    cluster = run.clusters([rid])[rid]
    return None, run.members([cluster])[cluster], []


def _from_index(run: Opened, asked: str) -> tuple[str, list[int], list[str]] | None:
    con = run.index
    if con is None:
        return None
    notes: list[str] = []
    here = asked
    while True:
        state = con.execute("SELECT status, forward FROM persons WHERE person_id = ?", [here]).fetchone()
        if state is None:
            return None
        if state[0] == "live":
            break
        if state[1] is None:
            raise RunError("That person is retired: none of its records is in the index any more.")
        here = str(state[1])
    if here != asked:
        notes.append(f"{asked} was merged into {here}.")
    rows = con.execute("SELECT record_id FROM crosswalk WHERE person_id = ? ORDER BY record_id", [here]).fetchall()
    wanted = [str(row[0]) for row in rows]
    found = run.rows("SELECT rid FROM records WHERE record_id IN (SELECT unnest($ids)) ORDER BY rid", {"ids": wanted})
    if not found:
        raise RunError("No record of that person is in this run.", do="Run the config that publishes it.")
    if len(found) < len(wanted):
        notes.append(f"{len(wanted) - len(found):,} of its records are not in this run.")
    return here, [int(row["rid"]) for row in found], notes


def _neighbours(run: Opened, rids: Sequence[int], records: dict[int, Row]) -> tuple[Neighbour, ...]:
    wanted = ", ".join(map(str, rids))
    cost = run.settings.cluster.unscored_logit
    same_source = float(run.facts["cluster"]["same_source_logit"])
    run.con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE near AS
        WITH touched AS MATERIALIZED (
            SELECT left_rid AS mine, right_rid AS theirs, logit FROM decisions WHERE left_rid IN ({wanted})
            UNION ALL SELECT right_rid, left_rid, logit FROM decisions WHERE right_rid IN ({wanted}))
        SELECT mine, theirs, logit, cluster FROM touched JOIN clusters ON clusters.rid = theirs
        WHERE theirs NOT IN ({wanted})"""
    )
    found = run.rows(
        f"""
        SELECT cluster, max(logit) AS best, count(*) AS scored,
            sum(CASE WHEN logit < 0 THEN logit * {run.settings.cluster.against!r} ELSE logit END) AS total,
            arg_max(mine, (logit, -mine, -theirs)) AS mine, arg_max(theirs, (logit, -mine, -theirs)) AS theirs
        FROM near GROUP BY cluster ORDER BY best DESC, cluster LIMIT {NEAREST}"""
    )
    if not found:
        return ()
    members = run.members([int(row["cluster"]) for row in found])
    everyone = [rid for own in members.values() for rid in own]
    others = run.names(everyone)
    sources = {rid: source for rid, (_, source) in others.items()} | {
        rid: str(row["source"]) for rid, row in records.items()
    }
    persons = run.persons_of(sorted(record for record, _ in others.values()))
    listed = ", ".join(str(rid) for rid in everyone)
    cuts = run.rows(
        f"""
        SELECT cluster, min(reason) AS reason FROM (
            SELECT right_rid AS theirs, reason FROM cuts WHERE left_rid IN ({wanted}) AND right_rid IN ({listed})
            UNION ALL SELECT left_rid, reason FROM cuts WHERE right_rid IN ({wanted}) AND left_rid IN ({listed}))
        JOIN clusters ON clusters.rid = theirs GROUP BY cluster"""
    )
    reasons = {int(row["cluster"]): str(row["reason"]) for row in cuts}
    mine: dict[str, int] = {}
    for rid in rids:
        mine[sources[rid]] = mine.get(sources[rid], 0) + 1
    result = []
    for row in found:
        own = members[int(row["cluster"])]
        alike = sum(mine.get(sources[rid], 0) for rid in own)
        result.append(
            Neighbour(
                cluster=int(row["cluster"]),
                person_id=persons.get(others[own[0]][0]),
                records=len(own),
                best=float(row["best"]),
                mine=int(row["mine"]),
                theirs=int(row["theirs"]),
                scored=int(row["scored"]),
                between=float(row["total"]) + cost * (len(rids) * len(own) - int(row["scored"])) + same_source * alike,
                reason=reasons.get(int(row["cluster"])),
            )
        )
    return tuple(result)
