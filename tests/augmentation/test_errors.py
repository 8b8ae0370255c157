"""Errors in demographics: what is reported is what changed, counts hold, streams are independent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from augmentation.errors import FIELDS, Kind, kinds
from augmentation.errors.choose import check, draw, plan
from augmentation.errors.corrupt import Changes, Columns, corrupt, styled
from augmentation.errors.missing import DEFAULTS
from augmentation.errors.nicknames import table
from augmentation.errors.record import Record, World
from augmentation.people.persons import block, persons
from augmentation.presets import load, names, parse
from augmentation.settings import AugmentSettings
from augmentation.streams import Stream, key, keys_of
from resolver.errors import SettingsError, UsageError

PRESETS = [load(name) for name in names()]
COUNT = 60  # records in a table


@pytest.fixture(scope="module")
def clean() -> Columns:
    """Synthetic persons with all fields, contact data too."""
    made = persons(block(0, 5), 5)
    columns: Columns = {name: list(values[:COUNT]) for name, values in made.items() if name in FIELDS}
    columns["LAST"][:4] = ["O'Brien-Núñez", "Van Der Berg", "Kowalski", "Müller"]
    columns["MAIDEN"][4:8] = ["Smith", "García", "Jones", "Lee"]
    columns["PHONE"] = [f"617-555-{place:04d}" for place in range(COUNT)]
    columns["EMAIL"] = [f"person{place}@gmail.com" for place in range(COUNT)]
    columns["MEMBER_ID"] = [f"ABC{place:09d}" for place in range(COUNT)]
    return columns


def run(
    clean: Columns, chosen: AugmentSettings, ids: list[str] | None = None, facility: Any = None
) -> tuple[Columns, Columns, Changes, list[str]]:
    """Before, after, what was reported, and the ids of the records."""
    size = len(clean["FIRST"])
    ids = [f"record {place}" for place in range(size)] if ids is None else ids
    facility = np.arange(size) % 5 + 1 if facility is None else facility
    world = World(
        places=[("1 Elm Street", "Salem", "01970"), ("9 Oak Avenue Apt 3", "Lynn", "01901")],
        towns_of={"019": ("Lynn", "Salem")},
        family_names=["Stone", "Reed"],
        middle_names=["Ray", "Kim"],
        relatives=[(place + 1) % size for place in range(size)],
        persons=clean,
    )
    before = styled(clean, facility, chosen)
    after = {name: list(values) for name, values in before.items()}
    changes = corrupt(after, keys_of(ids, chosen.seed), facility, list(range(size)), world, chosen)
    return before, after, changes, ids


def rows(changes: Changes, ids: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    """What was reported, by record."""
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row, *rest in zip(
        *(changes.row, changes.step, changes.field, changes.kind, changes.before, changes.after), strict=True
    ):
        found[ids[row]].append(tuple(rest))
    return found


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), preset=st.sampled_from(PRESETS))
def test_what_is_reported_is_what_changed(clean: Columns, seed: int, preset: AugmentSettings) -> None:
    """The reported changes, made on the clean records one by one, give the broken ones, and each changes something."""
    before, after, changes, _ = run(clean, preset.model_copy(update={"seed": seed}))

    assert len(changes) > 0
    for row, field, old, new in zip(changes.row, changes.field, changes.before, changes.after, strict=True):
        assert before[field][row] == old
        assert old != new
        before[field][row] = new
    assert before == after


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_counts_per_record_hold(clean: Columns, seed: int) -> None:
    """With the preset `hard` every record has three to five errors beside its missing and default values."""
    _, _, changes, ids = run(clean, load("hard").model_copy(update={"seed": seed}))

    for made in rows(changes, ids).values():
        assert 3 <= len({step for step, *_ in made if step > 2}) <= 5
    assert {row for row, step in zip(changes.row, changes.step, strict=True) if step > 2} == set(range(COUNT))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), kept=st.sets(st.integers(0, COUNT - 1), min_size=1))
def test_records_are_independent(clean: Columns, seed: int, kept: set[int]) -> None:
    """A record gets the same errors whoever stands beside it, so a facility more or less changes no other."""
    chosen = load("realistic").model_copy(update={"seed": seed})
    _, _, everywhere, ids = run(clean, chosen)
    places = sorted(kept)
    few = {name: [values[place] for place in places] for name, values in clean.items()}
    world_free = {"ssn_relative", "phone_relative", "email_relative", "member_relative"}
    facility = np.array([place % 5 + 1 for place in places])
    _, _, alone, own = run(few, chosen, [ids[place] for place in places], facility)

    expected, found = rows(everywhere, ids), rows(alone, own)
    for name in own:
        # Relatives are other persons in a smaller table; errors that borrow from them may borrow something else.
        if not world_free & {kind for _, _, kind, _, _ in expected[name]}:
            assert [one for one in found[name] if one[2] not in world_free] == expected[name]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), family=st.sampled_from(["ssn", "name", "date"]), attempt=st.integers(0, 20))
def test_a_further_kind_leaves_the_others_as_they_were(seed: int, family: str, attempt: int) -> None:
    """A new kind takes only the draws that it wins; all others are as they were without it."""
    content = load("clinfuse").model_dump(mode="json", exclude_defaults=True)["errors"]
    keys = keys_of([f"record {place}" for place in range(300)], seed)

    def drawn() -> dict[int, tuple[str, str]]:
        made = draw(plan(parse({"errors": content}, "test").errors, FIELDS), keys, np.arange(300), attempt)
        return {int(row): (one.kind.name, one.field) for one, rows in made for row in rows}

    without = drawn()
    content["families"][family]["kinds"]["spaces"] = {"LAST": 0.05}
    with_it = drawn()
    assert without.keys() == with_it.keys()
    assert {row for row in with_it if with_it[row] != without[row]} == {
        row for row in with_it if with_it[row] == ("spaces", "LAST")
    }
    content["families"]["further"] = {"weight": 0.05, "kinds": {"punctuation": {"LAST": 1}}}
    assert all(one in (with_it[row], ("punctuation", "LAST")) for row, one in drawn().items() if row in with_it)


TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["Ann", "O'Neil-Ruiz", "1974-02-29", "1974-05-06", "999-12-3456", "12 Main Street Apt 4", "José"]),
    st.from_regex(r"\d{4}-\d{2}-\d{2}", fullmatch=True),
    st.from_regex(r"\d{3}-\d{2}-\d{4}", fullmatch=True),
)


@settings(deadline=None, max_examples=80)
@example(name="ssn_digit", value="¹", other="", state=0)
@example(name="day_off", value="¹²³⁴-05-06", other="", state=0)
@given(name=st.sampled_from(sorted(kinds())), value=TEXT, other=TEXT, state=st.integers(0, 2**64 - 1))
def test_no_kind_stumbles(name: str, value: str, other: str, state: int) -> None:
    """Any kind takes any text, gives text or nothing for fields that there are, and draws the same again."""
    columns: Columns = {field: [value or None] for field in FIELDS}
    columns["MAIDEN"] = columns["MIDDLE"] = [other or None]
    record = Record(
        columns, [0], World(family_names=["Reed"], middle_names=["Kim"], places=[("1 Elm", "Lynn", "01901")])
    )
    kind = kinds()[name]
    for field in kind.fields:
        found = kind.change(record, field, Stream(state))

        assert kind.change(record, field, Stream(state)) == found
        if isinstance(found, dict):
            assert set(found) <= set(FIELDS)
            assert all(one is None or isinstance(one, str) for one in found.values())
        else:
            assert found is None or isinstance(found, str)


@pytest.mark.parametrize(
    ("kind", "field", "value", "possible"),
    [
        ("day_month_swapped", "BIRTHDATE", "1974-05-06", {"1974-06-05"}),
        ("day_month_swapped", "BIRTHDATE", "1974-05-26", {None}),
        ("century", "BIRTHDATE", "1924-05-06", {"2024-05-06"}),
        ("year_only", "BIRTHDATE", "1974-05-06", {"1974"}),
        ("january_first", "BIRTHDATE", "1974-05-06", {"1974-01-01"}),
        ("day_off", "BIRTHDATE", "2000-02-29", {"2000-02-27", "2000-02-28", "2000-03-01", "2000-03-02"}),
        ("nickname", "FIRST", "Abigail", {"Abby", "Abbie", "Gail"}),
        ("nickname", "FIRST", "GAIL", {"ABIGAIL"}),
        ("accents_lost", "LAST", "Núñez", {"Nunez"}),
        ("transliterated", "LAST", "KOWALSKI", {"KOWALSKY"}),
        ("double_cut", "LAST", "Ruiz-Ortega", {"Ruiz", "Ortega"}),
        ("truncated", "LAST", "Wolfeschlegelstein", {"Wolfeschle"}),
        ("unit_format", "ADDRESS", "1 Elm St Unit 7", None),
        ("unit_dropped", "ADDRESS", "1 Elm St #7", {"1 Elm St"}),
        ("abbreviated", "ADDRESS", "12 MAIN STREET", {"12 MAIN ST", "12 MAIN STR", "12 MAIN ST."}),
        ("town_alias", "CITY", "North Attleborough", {"N Attleborough", "North Attleboro", "Attleborough"}),
        ("ssn_unhyphenated", "SSN", "999-12-3456", {"999123456"}),
        ("ssn_last4", "SSN", "999-12-3456", {"3456", "xxx-xx-3456", "***-**-3456"}),
        ("email_domain", "EMAIL", "a@yahoo.com", {"a@yaho.com", "a@yahoo.co", "a@ymail.com"}),
        ("phone_no_area", "PHONE", "617-555-0123", {"555-0123"}),
        ("sex_flipped", "GENDER", "F", {"M"}),
    ],
)
def test_kinds_do_what_their_names_say(kind: str, field: str, value: str, possible: set[str | None] | None) -> None:
    """Single kinds on single values."""
    record = Record({field: [value]}, [0], World())
    found = {kinds()[kind].change(record, field, Stream(state)) for state in range(0, 2**64, 2**57)}  # type: ignore[type-var]

    if possible is None:
        assert len(found) > 3
    else:
        assert found == possible


def test_whole_persons_can_be_swapped() -> None:
    """Kinds that strike several fields change them together."""
    record = Record(
        {name: [value] for name, value in {"FIRST": "Ann", "MIDDLE": "Kay", "LAST": "Lee", "MAIDEN": "Orr"}.items()},
        [0],
        World(),
    )

    def change(kind: str) -> Any:
        return kinds()[kind].change(record, "LAST", Stream(1))

    assert change("swapped") == {"FIRST": "Lee", "LAST": "Ann"}
    assert change("middle_as_first") == {"FIRST": "Kay", "MIDDLE": None}
    assert change("maiden_name") == {"LAST": "Orr"}


def test_slips_are_of_one_to_three_letters() -> None:
    """A keyboard slip changes a name by one to three edits, mostly one."""
    record = Record({"FIRST": ["KATHERINE"]}, [0], World())
    lengths = Counter(
        abs(len(str(found)) - 9)
        for state in range(500)
        if (found := kinds()["keyboard"].change(record, "FIRST", Stream(state)))
    )

    assert max(lengths) <= 3
    assert lengths[0] > lengths[2]


def test_nicknames_go_both_ways() -> None:
    """Every nickname leads back to the name that it is short for."""
    for name, others in table().items():
        assert all(name in table()[other] for other in others)
        assert name not in others


def test_every_kind_is_used_by_a_preset() -> None:
    """No kind is forgotten, and every field has values that a desk types by default."""
    used = {kind for preset in PRESETS for family in preset.errors.families.values() for kind in family.kinds}
    used |= {"missing", "default", "phone_changed", "email_changed", "member_changed"}

    assert set(kinds()) == used
    assert set(DEFAULTS) == set(FIELDS)


def test_faults_of_a_config_come_together() -> None:
    """Unknown kinds and fields that a kind can't strike are refused at once, with the nearest name."""
    content = {"errors": {"families": {"x": {"weight": 1, "kinds": {"nickmane": 1, "nickname": {"SSN": 1}}}}}}

    with pytest.raises(SettingsError, match="did you mean nickname") as refused:
        check(parse(content, "test").errors)
    assert len(refused.value.faults) == 2
    with pytest.raises(SettingsError, match="COLOUR"):
        check(parse({"errors": {"missing": {"COLOUR": 0.1}}}, "test").errors)


@pytest.fixture
def fresh_kinds() -> Iterator[None]:
    """Kinds are looked up anew within the test and after it."""
    kinds.cache_clear()
    yield
    kinds.cache_clear()


@pytest.mark.usefixtures("fresh_kinds")
def test_other_packages_add_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point in the group augmentation.kinds adds a kind; one that is none, or has a taken name, is refused."""
    own = Kind("reversed", ("FIRST",), lambda record, field, stream: (record[field] or "")[::-1])

    def offer(**found: object) -> None:
        kinds.cache_clear()
        entries = [
            SimpleNamespace(name=name, value=f"other:{name}", load=lambda one=one: one) for name, one in found.items()
        ]
        monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == "augmentation.kinds" else [])

    offer(one=own)
    assert kinds()["reversed"] is own
    offer(one="no kind")
    with pytest.raises(UsageError, match="not an augmentation"):
        kinds()
    offer(one=own, two=Kind("reversed", ("LAST",), own.change))
    with pytest.raises(UsageError, match="already"):
        kinds()


def test_house_style_is_no_error(clean: Columns) -> None:
    """A facility that writes in capitals has all names and addresses in capitals, and none of it is an error."""
    chosen = parse({"every_facility": {"case": "upper"}}, "test")
    before, after, changes, _ = run(clean, chosen)

    assert len(changes) == 0
    assert before == after
    assert all(value == value.upper() for name in ("LAST", "ADDRESS", "CITY") for value in after[name] if value)
    assert after["EMAIL"] == clean["EMAIL"]


def test_rates_of_missing_values_hold() -> None:
    """A field is missing on its share of a facility's records, times the facility's factor."""
    many = 20_000
    chosen = parse({"errors": {"missing": {"SSN": 0.3}}, "facilities": {2: {"missing": 0.5}}}, "test")
    columns: Columns = {"SSN": ["999-12-3456"] * many}
    facility = np.arange(many) % 2 + 1
    keys = keys_of([str(place) for place in range(many)], key("seed") % 1000)
    corrupt(columns, keys, facility, [0] * many, World(), chosen)

    gone = np.array([value is None for value in columns["SSN"]])
    assert gone[facility == 1].mean() == pytest.approx(0.30, abs=0.015)
    assert gone[facility == 2].mean() == pytest.approx(0.15, abs=0.015)
