"""What people said of pairs of records, and how it binds: linked records stay one person, unlinked ones never are.

Judges pass these verdicts on as evidence, but clustering weighs evidence and may overrule it. So publishing holds the
clusters against the verdicts once more and changes those that break one. Knows nothing of enterprise ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import duckdb

from resolver.errors import RunError

Pair = tuple[str, str]
T = TypeVar("T", bound=Hashable)


def digest(con: duckdb.DuckDBPyConnection) -> str:
    """Changes when, and only when, what people say of any pair changes."""
    row = con.execute(
        "SELECT coalesce(md5(string_agg(left_record || chr(0) || right_record || chr(0) || says, chr(0)"
        " ORDER BY left_record, right_record, says)), 'none') FROM verdicts"
    ).fetchone()
    assert row is not None
    return str(row[0])


def bind(con: duckdb.DuckDBPyConnection) -> None:
    """`bound` (record_id, bundle): records that links, by way of others too, hold together."""
    links = con.execute("SELECT left_record, right_record FROM verdicts WHERE says = 'link' ORDER BY ALL").fetchall()
    bundles = components({record for pair in links for record in pair}, links)
    con.execute("CREATE OR REPLACE TEMP TABLE bound (record_id VARCHAR, bundle INTEGER)")
    if bundles:
        con.executemany(
            "INSERT INTO bound VALUES (?, ?)",
            [[record, bundle] for bundle, records in enumerate(bundles) for record in sorted(records)],
        )


def contradiction(con: duckdb.DuckDBPyConnection) -> list[int]:
    """Events of verdicts that can't all be true: linked, by way of others too, and unlinked. Empty where all can.

    Records count here whether or not they are in the index just now: they may come back.
    """
    bind(con)
    rows = con.execute(
        """WITH torn AS (
            SELECT DISTINCT l.bundle, v.event FROM verdicts v JOIN bound l ON l.record_id = v.left_record
            JOIN bound r ON r.record_id = v.right_record AND r.bundle = l.bundle WHERE v.says = 'unlink')
        SELECT event FROM torn UNION SELECT v.event FROM verdicts v JOIN bound b ON b.record_id = v.left_record
        WHERE v.says = 'link' AND b.bundle IN (SELECT bundle FROM torn) ORDER BY event"""
    ).fetchall()
    return [int(row[0]) for row in rows]


def enforce(con: duckdb.DuckDBPyConnection, edges: str) -> int:
    """Make `incoming` (record_id, part) fit the verdicts; how many verdicts it went against.

    `edges` is SQL for left_record, right_record, logit. Parts that changed are named in `altered`. A part is numbered
    by the smallest rid of its records.
    """
    broken_links = con.execute(
        """
        SELECT l.part, r.part FROM verdicts v
        JOIN incoming l ON l.record_id = v.left_record JOIN incoming r ON r.record_id = v.right_record
        WHERE v.says = 'link' AND l.part <> r.part ORDER BY ALL"""
    ).fetchall()
    if broken_links:
        groups = components({part for pair in broken_links for part in pair}, broken_links)
        _renumber(con, [(part, min(group)) for group in groups for part in group])
    broken = con.execute(
        """
        SELECT l.part, v.left_record, v.right_record FROM verdicts v
        JOIN incoming l ON l.record_id = v.left_record JOIN incoming r ON r.record_id = v.right_record
        WHERE v.says = 'unlink' AND l.part = r.part"""
    ).fetchall()
    if broken:
        con.execute("CREATE OR REPLACE TEMP TABLE at_odds (part BIGINT)")
        con.executemany("INSERT INTO at_odds VALUES (?)", [[part] for part in sorted({row[0] for row in broken})])
        _take_apart(con, edges)
    return len(broken_links) + len(broken)


def _renumber(con: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[int, int]]) -> None:
    con.execute("CREATE OR REPLACE TEMP TABLE renumbered (part BIGINT, becomes BIGINT)")
    con.executemany("INSERT INTO renumbered VALUES (?, ?)", [list(pair) for pair in sorted(pairs)])
    con.execute("UPDATE incoming i SET part = r.becomes FROM renumbered r WHERE i.part = r.part")
    con.execute("INSERT INTO altered SELECT DISTINCT becomes FROM renumbered")


def _take_apart(con: duckdb.DuckDBPyConnection, edges: str) -> None:
    """Divide the parts named in `at_odds` so that no unlink is broken."""
    members: dict[int, list[str]] = defaultdict(list)
    number: dict[str, int] = {}
    for record, rid, part in con.execute(
        "SELECT record_id, rid, part FROM incoming SEMI JOIN at_odds USING (part) ORDER BY record_id"
    ).fetchall():
        members[part].append(record)
        number[record] = rid
    con.execute(
        """CREATE OR REPLACE TEMP TABLE in_question AS
            SELECT record_id, part FROM incoming SEMI JOIN at_odds USING (part)"""
    )

    def within(relation: str, columns: str) -> dict[int, list[tuple[object, ...]]]:
        found: dict[int, list[tuple[object, ...]]] = defaultdict(list)
        for part, *row in con.execute(
            f"SELECT l.part, {columns} FROM ({relation}) e JOIN in_question l ON l.record_id = e.left_record"
            " JOIN in_question r ON r.record_id = e.right_record AND r.part = l.part ORDER BY ALL"
        ).fetchall():
            found[part].append(tuple(row))
        return found

    scored = within(edges, "e.left_record, e.right_record, e.logit")
    said = within("FROM verdicts", "e.left_record, e.right_record, e.says")
    becomes: list[list[object]] = []
    for part, records in members.items():
        pieces = divide(
            records,
            [(str(a), str(b), float(str(logit))) for a, b, logit in scored[part]],
            [(str(a), str(b)) for a, b, says in said[part] if says == "link"],
            [(str(a), str(b)) for a, b, says in said[part] if says == "unlink"],
        )
        for piece in pieces:
            label = min(number[record] for record in piece)
            becomes += [[record, label] for record in piece]
    con.execute("CREATE OR REPLACE TEMP TABLE divided (record_id VARCHAR, part BIGINT)")
    con.executemany("INSERT INTO divided VALUES (?, ?)", becomes)
    con.execute("UPDATE incoming i SET part = d.part FROM divided d WHERE i.record_id = d.record_id")
    con.execute("INSERT INTO altered SELECT DISTINCT part FROM divided")


def components(nodes: Iterable[T], pairs: Iterable[tuple[T, T]]) -> list[set[T]]:
    """Sets of nodes that the pairs hold together."""
    group = {node: {node} for node in nodes}
    for a, b in pairs:
        if group[a] is not group[b]:
            small, large = sorted((group[a], group[b]), key=len)
            large |= small
            for node in small:
                group[node] = large
    return list({id(found): found for found in group.values()}.values())


def divide(
    records: Sequence[str], edges: Sequence[tuple[str, str, float]], must: Sequence[Pair], cannot: Sequence[Pair]
) -> list[list[str]]:
    """Divide the records of one person so that no pair of `cannot` is together: as little as possible is cut.

    Records that must be together are; then the strongest evidence joins first. What no evidence ties to anything goes
    with the largest piece that it may go with. Pieces come in the order of their first record.
    """
    piece = {record: {record} for record in records}
    foes: dict[str, set[str]] = defaultdict(set)
    for a, b in cannot:
        foes[a].add(b)
        foes[b].add(a)

    def join(a: str, b: str) -> bool:
        one, other = piece[a], piece[b]
        if one is other:
            return True
        if any(foes[record] & other for record in one):
            return False
        small, large = sorted((one, other), key=len)
        large |= small
        for record in small:
            piece[record] = large
        return True

    for a, b in must:
        if not join(a, b):
            raise RunError("Verdicts on one person contradict each other; this is a fault of the program.")
    for a, b, _ in sorted(edges, key=lambda edge: (-edge[2], edge[0], edge[1])):
        join(a, b)
    while True:
        pieces = sorted({id(found): found for found in piece.values()}.values(), key=lambda one: (-len(one), min(one)))
        if not any(join(min(large), min(small)) for n, large in enumerate(pieces) for small in pieces[n + 1 :]):
            return sorted((sorted(one) for one in pieces), key=lambda one: one[0])
