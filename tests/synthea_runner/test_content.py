"""The hash of a table's content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from synthea_runner import content

_CON = duckdb.connect()  # opening one per example would take longer than the test
ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
        st.none() | st.integers(0, 99),
    ),
    max_size=12,
)


def _hash(rows: list[tuple[str | None, int | None]]) -> tuple[int, str]:
    _CON.execute("CREATE OR REPLACE TEMP TABLE t (a VARCHAR, b BIGINT)")
    if rows:
        _CON.executemany("INSERT INTO t VALUES (?, ?)", rows)
    return content.of_rows(_CON, "t", content.row_text(["a", "b"]))


@given(ROWS)
@settings(deadline=None, max_examples=40)
def test_hash_is_what_its_description_says(rows: list[tuple[str | None, int | None]]) -> None:
    """The hash can be worked out without DuckDB, from its description alone, so no version of DuckDB can change it."""
    texts = ("\x1f".join("\x1e" if value is None else str(value) for value in row) for row in rows)
    total = sum(int.from_bytes(hashlib.md5(text.encode()).digest(), "little") for text in texts) % 2**128

    assert _hash(rows) == (len(rows), f"{total:032x}")


@given(ROWS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_order_of_rows_does_not_count(rows: list[tuple[str | None, int | None]], random: object) -> None:
    """Shuffled rows have the same hash."""
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert _hash(shuffled) == _hash(rows)


def test_every_change_counts() -> None:
    """A row twice, a value moved to the next column, an empty text for nothing: each gives another hash."""
    variants = [
        [("x", 1)],
        [("x", 1), ("x", 1)],
        [("x", 1), ("x", 1), ("x", 1)],
        [("x1", None)],
        [("", 1)],
        [(None, 1)],
        [],
    ]

    assert len({_hash(rows) for rows in variants}) == len(variants)


def test_packing_of_the_file_does_not_count(tmp_path: Path) -> None:
    """The same rows in another compression and row group size have the same hash."""
    with duckdb.connect() as con:
        rows = "SELECT i, DATE '2020-01-01' + i::INT AS d, (i / 7)::DECIMAL(18,2) AS m FROM range(5000) t(i)"
        con.execute(f"COPY ({rows}) TO '{tmp_path / 'a.parquet'}' (COMPRESSION zstd)")
        con.execute(
            f"COPY ({rows} ORDER BY m DESC) TO '{tmp_path / 'b.parquet'}' (COMPRESSION snappy, ROW_GROUP_SIZE 2048)"
        )

        first, second = (content.of_parquet(con, tmp_path / f"{name}.parquet") for name in "ab")

    assert first == second
    assert first[0] == 5000


def test_lines_of_text(tmp_path: Path) -> None:
    """Lines of NDJSON are hashed as they stand, commas, quotes and all."""
    lines = ['{"a": "b, c"}', '{"d": ["\\"", 1]}']
    (tmp_path / "x.ndjson").write_text("\n".join(lines) + "\n")
    total = sum(int.from_bytes(hashlib.md5(line.encode()).digest(), "little") for line in lines) % 2**128

    with duckdb.connect() as con:
        assert content.of_lines(con, tmp_path / "x.ndjson") == (2, f"{total:032x}")
