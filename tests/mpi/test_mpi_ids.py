"""Enterprise ids: their form and their check digit."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.mpi import ids

numbers = st.integers(1, ids.HIGHEST)


@given(numbers)
def test_an_id_reads_back(number: int) -> None:
    """An id is read in any case, with spaces, hyphens, and letters that look like digits."""
    made = ids.encode(number)
    typed = f" {made[:4]}-{made[4:]} ".lower().replace("0", "o").replace("1", "l").replace("5", "s")
    assert ids.read(made) == made
    assert ids.read(typed) == made


@given(numbers, st.integers(1, 8), st.sampled_from(ids.DIGITS))
def test_one_wrong_character_is_noticed(number: int, place: int, digit: str) -> None:
    """The check digit catches every single wrong character."""
    made = ids.encode(number)
    wrong = made[:place] + digit + made[place + 1 :]
    assert (ids.read(wrong) is None) == (wrong != made)


@given(numbers, st.integers(1, 8), st.integers(1, 8))
def test_two_swapped_characters_are_noticed(number: int, one: int, other: int) -> None:
    """The check digit catches any two characters that changed places."""
    made = list(ids.encode(number))
    swapped = made.copy()
    swapped[one], swapped[other] = swapped[other], swapped[one]
    assert (ids.read("".join(swapped)) is None) == (swapped != made)


@settings(deadline=None, max_examples=20)
@given(st.lists(numbers, min_size=1, max_size=20))
def test_sql_makes_the_same_ids(found: list[int]) -> None:
    """SQL and Python agree, and ids sort in the order in which they were issued."""
    with duckdb.connect() as con:
        made = con.execute(
            f"SELECT {ids.sql('number')} FROM (SELECT unnest(?::BIGINT[]) AS number)", [sorted(found)]
        ).fetchall()
    assert [row[0] for row in made] == [ids.encode(number) for number in sorted(found)]
    assert made == sorted(made)


@pytest.mark.parametrize("number", [0, -1, ids.HIGHEST + 1])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    """No id is made that would not fit its width."""
    with pytest.raises(ValueError):
        ids.encode(number)


@pytest.mark.parametrize("text", ["", "P", "17", "north:17", "Q0000001Y", "P0000001Y0", "P000000€Y"])
def test_other_text_is_no_id(text: str) -> None:
    """What has another form is not taken for an id."""
    assert ids.read(text) is None
