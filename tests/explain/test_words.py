"""How values and figures are written."""

from __future__ import annotations

import datetime

import pytest

from resolver.explain import words


@pytest.mark.parametrize(
    ("log_odds", "text"), [(2.345, "+2.35"), (-2.345, "−2.35"), (0.004, "0.00"), (-0.004, "0.00"), (100.0, "+100.00")]
)
def test_log_odds_have_a_sign_unless_they_are_nothing(log_odds: float, text: str) -> None:
    """A plus or a minus stands before all figures that are not rounded away."""
    assert words.signed(log_odds) == text


@pytest.mark.parametrize(
    ("probability", "text"), [(1.0, "over 99.99 %"), (0.0, "under 0.01 %"), (0.5, "50.00 %"), (0.99, "99.00 %")]
)
def test_nothing_is_said_to_be_certain(probability: float, text: str) -> None:
    """Neither 0 nor 100 per cent is ever shown."""
    assert words.percent(probability) == text


def test_a_value_that_could_not_be_used_is_shown_as_it_came() -> None:
    """A missing value shows what the source had, where it had anything."""
    record = {
        "ssn": None,
        "raw_ssn": "000-00-0000",
        "phone": None,
        "raw_phone": None,
        "birth_date": datetime.date(1980, 2, 3),
    }
    assert words.value(record, "ssn") == "— (000-00-0000)"
    assert words.value(record, "phone") == "—"
    assert words.value(record, "birth_date") == "1980-02-03"


@pytest.mark.parametrize(
    ("feature", "label", "fields"),
    [
        ("last_name_edits", "last name", ("last_name",)),
        ("ssn_last4_edits", "last four of the SSN", ("ssn_last4",)),
        ("ssn_edits", "SSN", ("ssn",)),
        ("street_number_edits", "house number", ("street_number",)),
        ("family_name_edits", "last or maiden name", ("last_name", "maiden_name")),
        ("condition_shared", "conditions", ()),
        ("place", "ZIP and town", ("zip", "city")),
    ],
)
def test_a_feature_is_about_the_longest_field_that_it_begins_with(
    feature: str, label: str, fields: tuple[str, ...]
) -> None:
    """Features are told under the field that they read."""
    assert words.about(feature) == (label, fields)


def test_an_unknown_feature_is_about_nothing_known() -> None:
    """A feature of another judge keeps its own words."""
    assert words.about("shoe_size") is None
