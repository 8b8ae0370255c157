"""Draws in SQL."""

from __future__ import annotations

import duckdb
import pytest

from augmentation import draws

ROWS = 20000


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(f"CREATE TABLE k AS SELECT i, {draws.key('i')} AS k FROM range({ROWS}) r(i)")
    return con


def test_draws_are_uniform(con: duckdb.DuckDBPyConnection) -> None:
    """Twenty equal bins hold nearly the same number of draws, and all are in [0, 1)."""
    u = draws.uniform("k", 1, "a")
    bins = [n for (n,) in con.execute(f"SELECT count(*) FROM k GROUP BY floor({u} * 20) ORDER BY ALL").fetchall()]
    least, most = con.execute(f"SELECT min({u}), max({u}) FROM k").fetchall()[0]

    assert len(bins) == 20
    assert sum((n - ROWS / 20) ** 2 / (ROWS / 20) for n in bins) < 45  # chi-square, 19 degrees: 1 in 1,000 is 43.8
    assert least >= 0
    assert most < 1


@pytest.mark.parametrize(("seed", "stream"), [(1, "b"), (2, "a")])
def test_streams_and_seeds_are_unrelated(con: duckdb.DuckDBPyConnection, seed: int, stream: str) -> None:
    """Neither another stream nor another seed goes with the first."""
    one, other = draws.uniform("k", 1, "a"), draws.uniform("k", seed, stream)
    (r,) = con.execute(f"SELECT corr({one}, {other}) FROM k").fetchall()[0]

    assert abs(r) < 0.03


def test_normal_draws_have_the_right_spread(con: duckdb.DuckDBPyConnection) -> None:
    """Mean 0, standard deviation 1, and nothing wild."""
    word = draws.bits("k", 1, "n")
    drawn = f"SELECT {draws.normal('w')} AS x FROM (SELECT {word} AS w FROM k)"
    query = f"SELECT avg(x), stddev(x), max(abs(x)) FROM ({drawn})"
    mean, spread, most = con.execute(query).fetchall()[0]

    assert abs(mean) < 0.03
    assert spread == pytest.approx(1, abs=0.02)
    assert most < 3.5


def test_keys_tell_columns_apart() -> None:
    """Values that run together as text have keys of their own, and null is as good as empty."""
    with duckdb.connect() as con:
        (same, empty) = con.execute(
            f"SELECT {draws.key(quote('a'), quote('bc'))} = {draws.key(quote('ab'), quote('c'))},"
            f" {draws.key('NULL', quote('a'))} = {draws.key(quote(''), quote('a'))}"
        ).fetchall()[0]

    assert not same
    assert empty


def test_a_draw_stays_what_it_was() -> None:
    """Draws do not change from version to version, or no test bed could be made again."""
    with duckdb.connect() as con:
        drawn_, made_ = draws.uniform(draws.key(quote("person")), 7, "stream"), draws.identifier(7, "s", quote("a"))
        query = f"SELECT {drawn_}, {made_}"
        (drawn, made) = con.execute(query).fetchall()[0]

    assert drawn == 0.7870283474870232
    assert made == "38bbbeed-0111-0cc6-c1a9-0d2461b9066f"
    assert draws.uniform_of(7, "stream", 1) == 0.7066100256129048


def quote(text: str) -> str:
    return f"'{text}'"
