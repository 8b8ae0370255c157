"""Names of states."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.errors import UsageError
from synthea_runner.states import STATES, require


@given(
    st.sampled_from(sorted(STATES.items())),
    st.sampled_from([str.lower, str.upper, str.title, lambda text: f" {text} "]),
)
@settings(deadline=None, max_examples=60)
def test_states_are_known_in_any_case(state: tuple[str, str], change: object) -> None:
    """A state is found by its name or its two letters, whatever the case."""
    short, name = state

    assert require(change(name)) == name  # type: ignore[operator]
    assert require(change(short)) == name  # type: ignore[operator]


@pytest.mark.parametrize(
    ("wrong", "near"), [("Massachusets", "Massachusetts"), ("Texass", "Texas"), ("N. Carolina", "North Carolina")]
)
def test_nearest_name_is_suggested(wrong: str, near: str) -> None:
    """A wrong name is refused with the nearest right one."""
    with pytest.raises(UsageError, match=f"Did you mean {near}"):
        require(wrong)


def test_nothing_near() -> None:
    """A name that is like no state's is refused with an example."""
    with pytest.raises(UsageError, match="such as Massachusetts"):
        require("Zzyzx")
