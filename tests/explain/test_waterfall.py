"""The waterfall adds up to the stored decision, and says what a pair would have scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resolver.errors import DamagedError, RunError
from resolver.explain.opened import Opened
from resolver.explain.waterfall import EXACT, OTHER_COUNTS, Explanation, pair
from resolver.fusion import PARTS

SPREAD = "SELECT left_rid, right_rid FROM decisions ORDER BY hash(left_rid, right_rid) LIMIT {}"
DOUBTFUL = "SELECT left_rid, right_rid FROM decisions ORDER BY abs(logit) LIMIT {}"
LIKELY = "SELECT left_rid, right_rid FROM decisions ORDER BY logit DESC LIMIT {}"


def parts(found: Explanation) -> dict[str, float]:
    return {group.name: group.logit for group in found.groups}


def lines(found: Explanation) -> list[str]:
    return [line.about for group in found.groups for line in group.lines]


def stored(run: Any, left: int, right: int) -> dict[str, Any]:
    columns = ("prior", *PARTS, "logit", "probability", "tier")
    ((*row,),) = run.query(
        f"SELECT {', '.join(columns)} FROM decisions WHERE left_rid = {left} AND right_rid = {right}"
    )
    return dict(zip(columns, row, strict=True))


def check(run: Any, found: Explanation, left: int, right: int) -> None:
    expected = stored(run, left, right)
    assert found.decided
    assert found.logit == pytest.approx(expected["logit"], abs=EXACT)
    assert found.stored == expected["logit"]
    assert found.prior == expected["prior"]
    assert (found.probability, found.tier) == (expected["probability"], expected["tier"])
    for part in PARTS:
        assert parts(found).get(part, 0.0) == pytest.approx(expected[part] or 0.0, abs=EXACT)
    for group in found.groups:
        for line in group.lines:
            if line.parts:
                assert sum(one.logit for one in line.parts) == pytest.approx(line.logit, abs=1e-9) or (
                    line.about == "demographics weighed anew"
                )


def test_pairs_judged_by_trees_add_up_to_their_decisions(finished: Any, opened: Opened) -> None:
    """For pairs of every kind the sum is the stored log-odds and the groups are its parts, with nothing left over."""
    assert finished.query("SELECT count(*) FROM verdicts WHERE judge = 'clinical'")[0][0] > 100
    for query, count in ((SPREAD, 16), (DOUBTFUL, 16), (LIKELY, 6)):
        for left, right in finished.query(query.format(count)):
            found = pair(opened, left, right)
            check(finished, found, left, right)
            assert OTHER_COUNTS not in lines(found)


def test_pairs_scored_by_splink_alone_add_up_to_their_decisions(plain: Any) -> None:
    """Without learned judges the lines are Splink's comparisons, named by field, and their sum is the decision."""
    with Opened(plain.settings("learn.way=none")) as run:
        for query, count in ((SPREAD, 4), (DOUBTFUL, 4)):
            for left, right in plain.query(query.format(count)):
                found = pair(run, left, right)
                check(plain, found, left, right)
                assert "every candidate pair" not in lines(found)
                assert {"first name", "last name"} & set(lines(found))


def test_the_formula_of_fixed_weights_adds_up(plain: Any, tmp_path: Path) -> None:
    """With a weight on Splink's score each line is weighted, and so is the prior."""
    weighted = plain.copy(tmp_path)
    how = ("learn.way=none", "decide.method=formula", "decide.w_splink=0.5")
    weighted.go(*how)
    with Opened(weighted.settings(*how)) as run:
        for left, right in weighted.query(LIKELY.format(2)):
            found = pair(run, left, right)
            check(weighted, found, left, right)
            assert "weight on the prior" in lines(found)


def test_the_order_of_the_two_records_changes_nothing_but_the_sides(finished: Any, opened: Opened) -> None:
    """Given the other way round, the same lines come with their sides exchanged."""
    ((left, right),) = finished.query(LIKELY.format(1))
    one, other = pair(opened, left, right), pair(opened, right, left)

    assert (one.left, one.right) == (other.right, other.left)
    assert one.outcome.sizes == other.outcome.sizes[::-1]
    for a, b in zip(one.groups, other.groups, strict=True):
        assert [(x.about, x.logit, x.left, x.right) for x in a.lines] == [
            (x.about, x.logit, x.right, x.left) for x in b.lines
        ]


def test_lines_come_in_order_of_size_with_the_values_of_both_sides(finished: Any, opened: Opened) -> None:
    """Within a group what moves most stands first; a line about a field shows the field of each record."""
    ((left, right),) = finished.query(
        """SELECT left_rid, right_rid FROM decisions JOIN records l ON l.rid = left_rid
        JOIN records r ON r.rid = right_rid
        WHERE l.last_name <> r.last_name AND logit > 0 ORDER BY logit DESC, left_rid, right_rid LIMIT 1"""
    )
    found = pair(opened, left, right)
    names = [
        row[0] for row in finished.query(f"SELECT last_name FROM records WHERE rid IN ({left}, {right}) ORDER BY rid")
    ]

    for group in found.groups:
        sizes = [abs(line.logit) for line in group.lines]
        assert sizes == sorted(sizes, reverse=True)
    (line,) = [line for group in found.groups for line in group.lines if line.about == "last name"]
    assert [line.left, line.right] == names


@pytest.mark.parametrize("query", [DOUBTFUL, LIKELY])
def test_a_pair_that_blocking_never_proposed_gets_what_it_would_have_scored(
    finished: Any, tmp_path: Path, query: str
) -> None:
    """Taken out of the candidates, a pair is said to be no candidate and gets the log-odds it had, part by part."""
    without = finished.copy(tmp_path)
    ((left, right),) = finished.query(query.format(1))
    for table in ("pairs", "verdicts", "decisions"):
        without.rewrite(table, f"FROM {table} WHERE NOT (left_rid = {left} AND right_rid = {right})")
    with Opened(without.settings()) as run:
        found = pair(run, left, right)
    expected = stored(finished, left, right)

    assert not found.decided
    assert found.stored is None
    assert "No blocking rule proposed it" in found.proposed
    assert found.logit == pytest.approx(expected["logit"], abs=EXACT)
    assert found.tier == expected["tier"]
    for part in PARTS:
        assert parts(found).get(part, 0.0) == pytest.approx(expected[part] or 0.0, abs=EXACT)


def test_strangers_that_share_nothing_are_no_candidates(finished: Any, opened: Opened) -> None:
    """A pair far below the floor is explained too, and it is said that nobody asked about it."""
    ((left, right),) = finished.query(
        """SELECT l.rid, r.rid FROM records l JOIN records r ON l.rid < r.rid AND l.sex <> r.sex
            AND l.birth_date < r.birth_date - INTERVAL 20 YEAR AND l.first_name <> r.first_name
            AND l.last_name <> r.last_name
        ANTI JOIN pairs ON left_rid = l.rid AND right_rid = r.rid ORDER BY 1, 2 LIMIT 1"""
    )
    found = pair(opened, left, right)

    assert "andidate" in found.proposed or "No blocking rule" in found.proposed
    assert found.tier == "non-match"
    assert found.outcome.why.startswith("Two persons. A pair that was never scored counted")


def test_a_verdict_from_an_earlier_run_is_shown_as_it_stands(finished: Any, tmp_path: Path) -> None:
    """Where today's counts give other log-odds than the stored verdict, a line says so; the sum stays as stored."""
    older = finished.copy(tmp_path)
    ((left, right),) = finished.query(
        """SELECT left_rid, right_rid FROM verdicts GROUP BY ALL HAVING list(judge) = ['demographic']
        ORDER BY 1, 2 LIMIT 1"""
    )
    here = f"left_rid = {left} AND right_rid = {right}"
    older.rewrite(
        "verdicts",
        f"SELECT * REPLACE (CASE WHEN {here} THEN logit + 0.5 ELSE logit END AS logit) FROM verdicts",
    )
    older.rewrite(
        "decisions",
        f"""SELECT * REPLACE (CASE WHEN {here} THEN logit + 0.5 ELSE logit END AS logit,
            CASE WHEN {here} THEN demographics + 0.5 ELSE demographics END AS demographics) FROM decisions""",
    )
    with Opened(older.settings()) as run:
        found = pair(run, left, right)

    check(older, found, left, right)
    (line,) = [line for group in found.groups for line in group.lines if line.about == OTHER_COUNTS]
    assert line.logit == pytest.approx(0.5, abs=EXACT)


def test_settings_that_the_run_was_not_made_with_are_refused(finished: Any) -> None:
    """A sum that is not the stored one is never shown: the config has changed since the run."""
    ((left, right),) = finished.query(DOUBTFUL.format(1))
    with (
        Opened(finished.settings("adjudicate.judges=[demographic]")) as run,
        pytest.raises(RunError, match="other settings"),
    ):
        pair(run, left, right)


def test_one_record_is_no_pair(opened: Opened) -> None:
    """A record is not explained against itself."""
    with pytest.raises(RunError, match="given twice"):
        pair(opened, 3, 3)


def test_a_damaged_table_is_one_line(finished: Any, tmp_path: Path) -> None:
    """A file that is no Parquet is named, with what to do."""
    broken = finished.copy(tmp_path)
    (broken.run / "decisions.parquet").write_bytes(b"PAR1 this is not one")
    with pytest.raises(DamagedError, match=r"decisions\.parquet is not a readable"):
        Opened(broken.settings())
