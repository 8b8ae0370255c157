"""The parts of the link stage one by one: levels, keys, candidates, models, scores taken apart."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resolver import link, tables
from resolver.errors import DamagedError, RunError, UsageError
from resolver.link import blocking, clinical, closure, comparisons, fields, model, planner, rules, splinking
from resolver.progress import Progress
from resolver.settings import parse

NAMES = st.text("ABC", max_size=6) | st.text("aB1122233é ", max_size=8)


@pytest.fixture(scope="module")
def con() -> Any:
    with duckdb.connect() as made:
        comparisons.create_macros(made)
        yield made


@hypothesis_settings(deadline=None, max_examples=6)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=10, max_size=20))
def test_edits_are_damerau_levenshtein(con: Any, names: list[tuple[str, str]]) -> None:
    """One and two edits, a swap of neighbours being one, are told as the full distance tells them."""
    told = ", ".join(f"edits_{most}(a, b, {comparisons.signs('a')}, {comparisons.signs('b')})" for most in (1, 2))
    found = con.execute(
        f"SELECT damerau_levenshtein(a, b), levenshtein(a, b), {told}"
        " FROM (SELECT unnest($a::VARCHAR[]) AS a, unnest($b::VARCHAR[]) AS b)",
        {"a": [left for left, _ in names], "b": [right for _, right in names]},
    ).fetchall()

    # Two swaps at once are the one case that is given up for speed.
    assert [edits for _, _, *edits in found] == [
        [distance <= most and plain <= most + 1 for most in (1, 2)] for distance, plain, *_ in found
    ]


def test_priors_add_up() -> None:
    """m and u of a comparison's levels are shares: each adds up to one, and "same" speaks for a match."""
    for comparison in comparisons.COMPARISONS:
        assert math.isclose(sum(level.m for level in comparison.evidence), 1, abs_tol=0.006), comparison.name
        assert math.isclose(sum(level.u for level in comparison.evidence), 1, abs_tol=0.006), comparison.name
        assert comparison.evidence[0].m > comparison.evidence[0].u


def test_only_matchable_fields_are_read() -> None:
    """The columns that are opened are fields of a person, and none that matching must not use."""
    person = {name for name, _, _ in tables.PERSON_FIELDS}

    assert set(fields.READ) <= person
    assert not set(fields.READ) & {"state", "suffix", "race", "ethnicity"}


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("ROBERT", "R163"),
        ("RUPERT", "R163"),
        ("ASHCRAFT", "A261"),
        ("TYMCZAK", "T522"),
        ("PFISTER", "P236"),
        ("HONEYMAN", "H555"),
        ("LEE", "L"),
    ],
)
def test_sounds(con: Any, name: str, sound: str) -> None:
    """Names that sound alike share a code, by the rules of Soundex, without its trailing zeros."""
    found = con.execute(f"SELECT {rules._sound('name')} FROM (SELECT $n::VARCHAR AS name)", {"n": name}).fetchall()

    assert found == [(sound,)]


@hypothesis_settings(deadline=None, max_examples=4)
@given(st.lists(st.tuples(st.floats(145, 210), st.floats(-3, 3)), min_size=10, max_size=15))
def test_heights_within_tolerance_share_a_key(
    tmp_path_factory: pytest.TempPathFactory, heights: list[tuple[float, float]]
) -> None:
    """Two heights at most the tolerance apart share a key; two more than twice that apart don't."""
    path = tmp_path_factory.mktemp("heights") / "events.parquet"
    values = [value for cm, off in heights for value in (cm, cm + off)]
    with duckdb.connect() as made:
        made.execute(f"CREATE TABLE fields AS SELECT rid, NULL::DATE AS birth_date FROM range({len(values)}) t(rid)")
        made.execute(f"CREATE TABLE events ({tables.EVENTS.ddl})")
        made.execute(
            """
            INSERT INTO events
            SELECT generate_subscripts($values, 1) - 1, 'measurement', 'LOINC', '8302-2', NULL, '2020-01-01', NULL,
                unnest($values), 'cm'""",
            {"values": values},
        )
        made.execute(f"COPY events TO '{path}' (FORMAT parquet)")
        clinical.prepare(made, path)
        found = made.execute("""
            SELECT DISTINCT a.rid // 2 FROM measured a JOIN measured b USING (height)
            WHERE a.rid % 2 = 0 AND b.rid = a.rid + 1""").fetchall()
    shared = {number for (number,) in found}

    for number, (cm, off) in enumerate(heights):
        adult = all(clinical.ADULT_CM[0] <= value <= clinical.ADULT_CM[1] for value in (cm, cm + off))
        if adult and abs(off) < clinical.TOLERANCE_CM - 1e-6:
            assert number in shared
        if abs(off) > 2 * clinical.TOLERANCE_CM + 1e-6:
            assert number not in shared


def _blocked(made: duckdb.DuckDBPyConnection, records: int) -> list[tuple[str, int]]:
    """Two rules over a few hundred records, with overlap."""
    made.execute(
        f"CREATE OR REPLACE TABLE parts AS SELECT rid, rid % 13 AS ssn, rid % 7 AS phone FROM range({records}) t(rid)"
    )
    planned = [planner.Planned(rules.Rule(name, "identifier", (name,)), 1000) for name in ("ssn", "phone")]
    return [(blocking.joined(one.number), one.pairs) for one in blocking.blocks(made, planned, 1000)]


def test_chunks_hold_the_same_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Candidates made in many chunks are those made in one: distinct, with the first rule, in order of the left."""
    with duckdb.connect() as made:
        proposals = _blocked(made, 400)

        def everything() -> list[list[tuple[int, int, int]]]:
            return [
                sorted(made.execute(f"FROM {table}").fetchall())
                for table, _ in blocking.candidates(made, proposals, 400, tmp_path, Progress())
            ]

        (whole,) = everything()
        monkeypatch.setattr(blocking, "CHUNK", 1500)
        chunks = everything()

    expected = {
        (a, b): 1 if a % 13 == b % 13 else 2
        for a in range(400)
        for b in range(a + 1, 400)
        if a % 13 == b % 13 or a % 7 == b % 7
    }
    assert {(a, b): rule for a, b, rule in whole} == expected
    assert len(chunks) > 3
    assert [pair for chunk in chunks for pair in chunk] == whole
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("budget", [1.0, 3.0, 50.0])
def test_the_cut_keeps_the_best_within_the_budget(budget: float) -> None:
    """Of what the rules propose the likeliest pairs are kept, as many as the budget allows."""
    pairs = 800
    rows = {
        "pair": np.arange(pairs),
        "rule": np.zeros(pairs, dtype=np.int16),
        "size": np.full(pairs, 5),
        "logit": np.linspace(8, -12, pairs),
        "ends": np.full(pairs, 2),
    }
    rule = rules.Rule("ssn", "identifier", ("ssn",))
    found = planner._choose([rule], rows, 200, budget, 1000, {})
    kept = pairs if found.cut is None else int((rows["logit"] > found.cut).sum())

    assert [one.rule for one in found.rules] == [rule]
    assert found.proposed_per_record == pairs / 200
    assert kept / 200 == pytest.approx(min(budget, pairs / 200), abs=0.05)
    assert (found.cut is None) == (budget > pairs / 200)


def test_words_of_names_are_keys_wherever_they_stand(records: Any) -> None:
    """Names in another order, or with a further family name, share two words; one shared word needs company."""
    names = [("VINCENT", "GOYETTE", 2001), ("SCHUSTER GOYETTE", "VINSENT", 1960), ("GOYETTE", "ABEL", 2001)]
    rows = [
        {"source": "a", "source_record_id": str(at), "first_name": first, "last_name": last, "sex": "M"}
        | {"birth_date": datetime.date(year, 2, 3)}
        for at, (first, last, year) in enumerate(names)
    ]
    with duckdb.connect() as made:
        fields.prepare(made, records(rows))
        fields.set_crowds_apart(made)
        rules.prepare(made, clinical=False)
        shared = {}
        for rule in rules.RULES:
            if rule.source in ("words", "word_pairs"):
                keys = rules.keys(rule)
                found = made.execute(
                    f"SELECT DISTINCT a.rid, b.rid FROM ({keys}) a JOIN ({keys}) b ON a.key = b.key AND a.rid < b.rid"
                ).fetchall()
                shared[rule.parts] = set(found)

    assert shared["word", "other_word"] == {(0, 1)}
    assert shared["word", "sex", "year"] == {(0, 2)}


def test_large_blocks_are_left_out_and_counted() -> None:
    """A block above the cap proposes nothing; above max_block it counts as a hub."""
    with duckdb.connect() as made:
        made.execute(
            "CREATE TABLE parts AS SELECT rid, CASE WHEN rid < 50 THEN 1 ELSE rid // 2 END AS ssn FROM range(90) t(rid)"
        )
        rule = rules.Rule("ssn", "identifier", ("ssn",))
        (narrow,) = blocking.blocks(made, [planner.Planned(rule, 10)], 30)
        (wide,) = blocking.blocks(made, [planner.Planned(rule, 60)], 60)

    assert (narrow.pairs, narrow.hubs, narrow.hub_records, narrow.large) == (20, 1, 50, 0)
    assert (wide.pairs, wide.hubs) == (20 + 50 * 49 // 2, 0)


def _closing(made: duckdb.DuckDBPyConnection, kept: list[tuple[int, int, int, float]]) -> set[tuple[int, int]]:
    made.execute("CREATE OR REPLACE TABLE kept (left_rid INTEGER, right_rid INTEGER, rule SMALLINT, logit DOUBLE)")
    made.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", [list(pair) for pair in kept])
    count = closure.propose(made, "kept")
    found = made.execute("SELECT join_key_l, join_key_r FROM closing").fetchall()
    assert count == len(found) == len(set(found))
    return set(found)


def test_a_third_record_proposes_what_no_key_does() -> None:
    """Two records that are both likely a third one's person are paired, once, and only where no rule kept the pair."""
    with duckdb.connect() as made:
        chain = [(0, 5, 1, 4.0), (3, 5, 2, 0.5), (5, 7, 1, -0.5), (1, 2, 0, 9.0), (1, 4, 0, 9.0)]

        assert _closing(made, chain) == {(0, 3)}  # 7 is not likely enough, and copies propose nothing
        assert _closing(made, [*chain, (0, 3, 3, -9.0)]) == set()
        assert _closing(made, [*chain, (0, 2, 1, 3.0), (2, 3, 1, 3.0)]) == {(0, 3), (2, 5)}


def test_a_third_record_proposes_no_more_than_its_nearest() -> None:
    """A record that is near a thousand others pairs only the nearest of them, whatever the order of the input."""
    star = [(0, other, 1, 5.0 + other % 7) for other in range(1, 1001)]
    with duckdb.connect() as made:
        found = _closing(made, star)

        assert len(found) == closure.NEAREST * (closure.NEAREST - 1) // 2
        assert all(left % 7 == right % 7 == 6 for left, right in found)
        assert _closing(made, star[::-1]) == found


def test_a_score_taken_apart_adds_up(linked: Any) -> None:
    """Prior and contributions of a pair add up to the log-odds that the run wrote."""
    some = linked.pairs()[::37]
    found = link.score(linked.files["records"], linked.files["link_model.json"], [(b, a) for a, b, _, _ in some])

    for (left, right, _, logit), apart in zip(some, found, strict=True):
        assert (apart.left_rid, apart.right_rid) == (left, right)
        assert math.isclose(apart.logit, logit, abs_tol=1e-9)
        assert [one.comparison for one in apart.contributions] == linked.facts["comparisons"]


def test_a_pair_that_was_never_proposed_has_a_score(linked: Any) -> None:
    """A pair that no rule proposed is scored all the same, with missing fields adding nothing."""
    proposed = {(left, right) for left, right, _, _ in linked.pairs()}
    count = len(linked.ids())
    pair = next((a, b) for a in range(count) for b in range(a + 1, count) if (a, b) not in proposed)
    (apart,) = link.score(linked.files["records"], linked.files["link_model.json"], [pair])

    assert apart.logit < 0
    assert all(one.logit == 0 for one in apart.contributions if one.level.startswith("missing"))


@pytest.mark.usefixtures("taught")
def test_plan_tells_what_blocking_does(linked: Any, tmp_path: Path) -> None:
    """`plan` gives the rules, caps and pairs that a run uses, without scoring."""
    made = parse(
        {"run": {"dir": str(tmp_path), "threads": 2, "memory_gib": 2}, "sources": [{"kind": "synthea", "path": "x"}]},
        base=tmp_path,
        where="test",
    )
    reach = link.plan(linked.files["records"], linked.files["events"], made, tmp_path)

    assert list(reach.rules) == linked.facts["rules"]
    assert reach.unreached == linked.facts["records_no_rule_reaches"]
    assert reach.records == linked.facts["records"]


def test_a_model_survives_the_file(linked: Any, tmp_path: Path) -> None:
    """A model read and saved again is the same file."""
    read = model.load(linked.files["link_model.json"])
    read.save(tmp_path / "link_model.json")

    assert (tmp_path / "link_model.json").read_bytes() == linked.files["link_model.json"].read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("rules"),
        lambda content: content.update(format=99),
        lambda content: content["rules"][0].update(parts=["1); DROP TABLE fields; --"]),
        lambda content: content["rules"][0].update(source="secrets"),
        lambda content: content["splink"]["comparisons"][0]["comparison_levels"].pop(),
    ],
)
def test_a_spoilt_model_is_refused(linked: Any, tmp_path: Path, spoil: Any) -> None:
    """A model file that lacks a part, or would bring SQL of its own, is refused in one line."""
    content = json.loads(linked.files["link_model.json"].read_text())
    spoil(content)
    path = tmp_path / "link_model.json"
    path.write_text(json.dumps(content))

    with pytest.raises(DamagedError, match=r"link_model\.json is not a link model"):
        model.load(path)


def test_a_model_without_frequencies_is_refused(linked: Any, tmp_path: Path) -> None:
    """A model copied without its frequencies is not used half."""
    copy = tmp_path / "link_model.json"
    copy.write_bytes(linked.files["link_model.json"].read_bytes())

    with pytest.raises(UsageError, match=r"link_tf\.parquet is missing"):
        link.score(linked.files["records"], copy, [(0, 1)])


def test_no_value_passes_the_guard() -> None:
    """A library's error that quotes a record becomes one line that does not."""
    with pytest.raises(RunError) as caught, splinking.guarded("testing"), duckdb.connect() as made:
        made.execute("SELECT 'ZQXMARKER'::INTEGER")

    assert "ZQXMARKER" not in str(caught.value)
    assert caught.value.__suppress_context__
