"""Turns raw person fields and raw events into the forms that resolver/tables.py declares. SQL only, one place only.

Every kind of source comes through here, and so may a value that a person types to look someone up. Normalising twice
gives the same as once. Knows nothing of files, record numbers or rejection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from resolver.database import quote
from resolver.ingest import raw, vocabulary
from resolver.ingest.dates import date, stamp
from resolver.tables import PERSON_FIELDS

# A longer value is no value of its field; what is kept of it as raw is cut here.
MAX_LENGTH = 256

FIRST_YEAR = 1880
LAST_EVENT_YEAR = 2100  # the end of a prescription may lie ahead

# Letters that do not come apart into a Latin letter and an accent.
SINGLE = ("ŁØĐÐĦŊŦı", "LODDHNTI")
DOUBLE = {"ß": "SS", "ẞ": "SS", "Æ": "AE", "Œ": "OE", "Þ": "TH"}

FIELDS = tuple(name for name, _, _ in PERSON_FIELDS)
_ENDS = "JR|SR|II|III|IV"
_UNIT = "(?:[A-Z]{0,2}-?[0-9][A-Z0-9-]*|[A-Z])"
_UNIT_TAIL = f"((?: (?:{vocabulary.UNIT_WORDS} ?#? ?|# ?|BOX ?#? ?){_UNIT})+)$"
_BOX_ONLY = f"^BOX ?#? ?({_UNIT})$"
_STATE = "[A-Z]{2}|" + "|".join(sorted(vocabulary.STATES, key=lambda name: (-len(name), name)))
_WHOLE_ADDRESS = (
    rf"^(.*?)(?:,\s*([^,0-9]+?))?[,\s]+({_STATE})\.?[,\s]+([0-9]{{5}}(?:-[0-9]{{4}})?)(?:[,\s]+U\.?S\.?A?\.?)?$"
)


def persons(table: str, *, date_formats: tuple[str, ...] = (), placeholders: tuple[str, ...] = ()) -> str:
    """SQL: `file` and raw.PERSON_COLUMNS in; the same in their form out, and raw_<field> beside each field."""
    unknown = {*vocabulary.PLACEHOLDERS, *(value.strip().upper() for value in placeholders)}
    kept = ", ".join(
        ("file", "source", "row", "id", "updated_at", "race", "ethnicity", *(f"raw_{name}" for name in FIELDS))
    )
    raws = ", ".join(f"nullif(left({_raw(name)}, {MAX_LENGTH}), '') AS raw_{name}" for name in FIELDS)
    given = ", ".join(f"{_given(name, unknown)} AS {name}" for name in raw.FIELDS)
    steps = {
        "given": f"""
            SELECT file, source, row, nullif(trim(id), '') AS id, {stamp("updated_at", date_formats)} AS updated_at,
                {plain("race")} AS race, {plain("ethnicity")} AS ethnicity, {raws}, {given} FROM {table}""",
        "split": f"""
            SELECT *,
                regexp_extract(upper(address), {quote(_WHOLE_ADDRESS)}, ['street', 'city', 'state', 'zip']) AS whole,
                regexp_extract(address, '^(.*),\\s*([^,0-9]+)$', ['street', 'city']) AS half,
                {_untitled(letters("full_name"))} AS spelt,
                {_untitled(letters("split_part(full_name, ',', 2)"))} AS behind
            FROM given""",
        "ordered": f"""
            SELECT *, regexp_replace(spelt, '( ({_ENDS}))+$', '') AS core,
                regexp_extract(spelt, ' ({_ENDS})$', 1) AS ended,
                CASE WHEN contains(full_name, ',') AND behind <> '' AND NOT regexp_full_match(behind, '{_ENDS}')
                    THEN {letters("split_part(full_name, ',', 1)")} END AS turned
            FROM split""",
        "whole_name": f"SELECT *, {_full_name()} AS part FROM ordered",
        "apart": f"""
            SELECT {kept}, coalesce(first_name, nullif(part.first, '')) AS first_name,
                coalesce(middle_name, nullif(part.middle, '')) AS middle_name,
                coalesce(last_name, turned, nullif(part.last, '')) AS last_name, maiden_name,
                coalesce(suffix, nullif(ended, '')) AS suffix, birth_date, sex, ssn, ssn_last4,
                {_street_line("coalesce(street, nullif(whole.street, ''), nullif(half.street, ''), address)")} AS line,
                street_number, unit, coalesce(city, nullif(whole.city, ''), nullif(half.city, '')) AS city,
                coalesce(state, nullif(whole.state, '')) AS state, coalesce(zip, nullif(whole.zip, '')) AS zip,
                phone, email, member_id
            FROM whole_name""",
        "spelt": f"""
            SELECT {kept}, {_untitled(letters("first_name"))} AS first_name, {letters("middle_name")} AS middle_name,
                {letters("last_name")} AS last_name, {letters("maiden_name")} AS maiden_name,
                {_lookup(_alphanumeric("suffix"), vocabulary.SUFFIXES)} AS suffix,
                {date("birth_date", date_formats)} AS birth_date,
                {_lookup(_alphanumeric("sex"), vocabulary.SEXES)} AS sex,
                {_digits("ssn")} AS ssn, regexp_extract(upper(ssn), '^[X*#\\s-]*([0-9]{{4}})$', 1) AS shown,
                {_digits("ssn_last4")} AS ssn_last4, line, {_street_number("street_number")} AS street_number,
                {_unit_only("upper(unit)")} AS unit, {letters("city")} AS city, {letters("state")} AS state,
                {_zip("zip")} AS zip, {_phone("phone")} AS phone, regexp_replace(lower(email), '\\s', '', 'g') AS email,
                {_alphanumeric("member_id")} AS member_id
            FROM apart""",
        "ended": f"""
            SELECT * REPLACE (
                {_without_end("last_name")} AS last_name, {_without_end("maiden_name")} AS maiden_name,
                {_street_only("line")} AS line,
                coalesce(suffix, nullif(regexp_extract(last_name, '. ({_ENDS})$', 1), '')) AS suffix,
                coalesce(unit, {_unit_only(f"nullif(regexp_extract(line, '.{_UNIT_TAIL}', 1), '')")},
                    nullif(regexp_extract(line, {quote(_BOX_ONLY)}, 1), '')) AS unit)
            FROM spelt""",
        "final": f"""
            SELECT file, source, row, id,
                {_name("first_name", unknown)} AS first_name, {_name("middle_name", unknown)} AS middle_name,
                {_name("last_name", unknown)} AS last_name, {_name("maiden_name", unknown)} AS maiden_name, suffix,
                {_possible_birth("birth_date")} AS birth_date, sex, {_possible_ssn("ssn")} AS ssn,
                coalesce(right({_possible_ssn("ssn")}, 4), {_four("ssn_last4")}, {_four("shown")}) AS ssn_last4,
                {_known("line", (*unknown, *vocabulary.NO_STREETS))} AS street,
                coalesce(nullif(regexp_extract(line, '^[0-9]+'), ''), street_number) AS street_number,
                {_known("unit", unknown)} AS unit, {_known("city", (*unknown, *vocabulary.NO_CITIES))} AS city,
                coalesce({_lookup("state", vocabulary.STATES)}, {_known("state", unknown)}) AS state, zip,
                {_possible_phone("phone")} AS phone, {_possible_email("email")} AS email,
                {_possible_member("member_id")} AS member_id,
                {", ".join(f"raw_{name}" for name in FIELDS)}, updated_at, race, ethnicity
            FROM ended""",
    }
    chain = ", ".join(f"{name} AS ({query})" for name, query in steps.items())
    return f"WITH {chain} SELECT * REPLACE ({_no_doe('first_name')}, {_no_doe('last_name')}) FROM final"


def events(table: str, *, date_formats: tuple[str, ...] = ()) -> str:
    """SQL: `file` and raw.EVENT_COLUMNS in; the same in their form out, and beside them raw_start, raw_stop, raw_value,
    and bad_start, which says that there is a date and it is impossible."""
    first, last = f"TIMESTAMP '{FIRST_YEAR}-01-01'", f"TIMESTAMP '{LAST_EVENT_YEAR + 1}-01-01'"
    bad = ", ".join(f"TIMESTAMP {quote(day)}" for day in vocabulary.BAD_DATES)
    return f"""
    WITH plain AS (
        SELECT file, source, row, nullif(trim(id), '') AS id, kind,
            {plain("system")} AS system, {plain("code")} AS code,
            left(description, {MAX_LENGTH}) AS description, start AS raw_start, stop AS raw_stop, value AS raw_value,
            {stamp("start", date_formats)} AS start, {stamp("stop", date_formats)} AS stop,
            try_cast(value AS DOUBLE) AS value, {plain("unit")} AS unit
        FROM {table}
    )
    SELECT file, source, row, id, kind,
        CASE WHEN code IS NULL OR system IS NULL THEN 'TEXT'
            ELSE coalesce({_lookup("upper(system)", vocabulary.SYSTEMS)}, upper(system)) END AS system,
        upper(coalesce(code, {plain("description")})) AS code, description,
        CASE WHEN start >= {first} AND start < {last} AND start NOT IN ({bad}) THEN start END AS start,
        CASE WHEN stop >= {first} AND stop < {last} AND stop NOT IN ({bad}) THEN stop END AS stop,
        CASE WHEN isfinite(value) THEN value END AS value, unit, raw_start, raw_stop, raw_value,
        CASE WHEN start IS NULL
            THEN trim(raw_start) <> '' AND NOT regexp_full_match(trim(raw_start), '[0-9]{{4}}(-[0-9]{{2}})?')
            ELSE NOT (start >= {first} AND start < {last}) END AS bad_start
    FROM plain"""


def letters(value: str) -> str:
    """SQL: upper case, A to Z, single spaces; apostrophes, full stops and digits vanish, all else parts words."""
    folded = f"translate(upper(strip_accents(nfc_normalize({value}))), {quote(SINGLE[0])}, {quote(SINGLE[1])})"
    for letter, two in DOUBLE.items():
        folded = f"replace({folded}, {quote(letter)}, {quote(two)})"
    joined = f"regexp_replace({folded}, '[0-9''’ʼ`´.]+', '', 'g')"
    parted = f"nullif(trim(regexp_replace({joined}, '[^A-Z]+', ' ', 'g')), '')"
    bare = f"nullif(translate(upper({value}), '0123456789', ''), '')"
    # One look is cheaper than eight replacements, and most values are plain words: SMITH, or a simulator's Smith929.
    return f"""CASE WHEN regexp_full_match({value}, '[A-Z]+( [A-Z]+)*') THEN {value}
        WHEN regexp_full_match({value}, '[A-Za-z0-9]+') THEN {bare} ELSE {parted} END"""


def plain(value: str) -> str:
    """SQL: a value without the spaces around it, no longer than needed; null where nothing is left."""
    return f"nullif(trim(left({value}, {MAX_LENGTH})), '')"


def _raw(name: str) -> str:
    """What a field came from: where a compound field gave it, that one."""
    if name in ("first_name", "last_name"):
        return f"coalesce({name}, full_name)"
    return "coalesce(street, address)" if name == "street" else name


def _given(name: str, unknown: Iterable[str]) -> str:
    value = f"trim({name})"
    none = ", ".join(map(quote, sorted(unknown)))
    return f"CASE WHEN length({value}) BETWEEN 1 AND {MAX_LENGTH} AND upper({value}) NOT IN ({none}) THEN {value} END"


def _known(value: str, unknown: Iterable[str]) -> str:
    none = ", ".join(map(quote, sorted({"", *unknown})))
    return f"CASE WHEN {value} NOT IN ({none}) THEN {value} END"


def _lookup(value: str, words: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{quote(word)}: {quote(form)}" for word, form in words.items())
    return f"MAP {{{pairs}}}[{value}]"


def _digits(value: str) -> str:
    """Digits alone; a number that went through a program as 123.0 has none behind its point."""
    return f"nullif(regexp_replace(regexp_replace({value}, '\\.0+$', ''), '[^0-9]', '', 'g'), '')"


def _alphanumeric(value: str) -> str:
    return f"nullif(regexp_replace(upper(strip_accents({value})), '[^A-Z0-9]', '', 'g'), '')"


def _full_name() -> str:
    """A struct first, middle, last from SMITH, JOHN A (turned) or JOHN A SMITH (core)."""
    straight = rf"^(\S+)(?: (.*?))?? ((?:{vocabulary.PARTICLES} )*\S+)$"
    turned = r"^(\S+)(?: (.*))?()$"
    return f"""CASE WHEN turned IS NOT NULL THEN regexp_extract(behind, {quote(turned)}, ['first', 'middle', 'last'])
        WHEN contains(core, ' ') THEN regexp_extract(core, {quote(straight)}, ['first', 'middle', 'last'])
        WHEN core IS NOT NULL THEN {{'first': '', 'middle': '', 'last': core}} END"""


def _untitled(value: str) -> str:
    return f"regexp_replace({value}, '^({vocabulary.TITLES} )+', '')"


def _without_end(value: str) -> str:
    return f"regexp_replace({value}, '(.)( ({_ENDS}))+$', '\\1')"


def _name(value: str, unknown: Iterable[str]) -> str:
    """A name in letters, or null where it is none: a placeholder, a newborn's, one letter again and again."""
    none = ", ".join(map(quote, sorted({*unknown, *vocabulary.NO_NAMES})))
    return f"""CASE WHEN {value} IN ({none})
        OR regexp_full_match({value}, {quote(vocabulary.NEWBORN)}) OR starts_with({value}, 'ZZZ')
        OR (length({value}) > 2 AND replace({value}, left({value}, 1), '') = '') THEN NULL ELSE {value} END"""


def _no_doe(name: str) -> str:
    doe = "coalesce(first_name IN ('JOHN', 'JANE') AND last_name = 'DOE', false)"
    return f"CASE WHEN {doe} THEN NULL ELSE {name} END AS {name}"


def _street_line(value: str) -> str:
    folded = f"strip_accents(upper({value}))"
    bare = f"regexp_replace({folded}, '[''’.]+', '', 'g')"
    spaced = f"trim(regexp_replace({bare}, '[^A-Z0-9#/-]+', ' ', 'g'))"
    short = f"coalesce({_lookup('word', vocabulary.STREET_WORDS)}, word)"
    line = f"array_to_string(list_transform(string_split({spaced}, ' '), lambda word: {short}), ' ')"
    return f"nullif(regexp_replace({line}, '\\b{vocabulary.BOX_WORDS}\\b', 'BOX'), '')"


def _street_only(line: str) -> str:
    """The street line without its unit; a box stays where there is nothing else."""
    bare = f"regexp_replace({line}, '(.){_UNIT_TAIL}', '\\1')"
    return f"regexp_replace({bare}, {quote(_BOX_ONLY)}, 'PO BOX \\1')"


def _unit_only(value: str) -> str:
    words = f"regexp_replace({value}, '\\b(?:{vocabulary.UNIT_WORDS}|{vocabulary.BOX_WORDS})\\b', ' ', 'g')"
    return f"nullif(trim(regexp_replace({words}, '[^A-Z0-9-]+', ' ', 'g')), '')"


def _street_number(value: str) -> str:
    return f"nullif(regexp_extract({value}, '^[0-9]+'), '')"


# Postal codes that are not five digits, without signs between: Ireland and Britain, Canada, the Netherlands; six to
# eight digits elsewhere.
_POSTCODE = "[A-Z]{1,2}[0-9][A-Z0-9]{0,2}[0-9A-Z]{3}|[A-Z][0-9][A-Z][0-9][A-Z][0-9]|[0-9]{4}[A-Z]{2}|[0-9]{6,8}"


def _zip(value: str) -> str:
    bare = f"regexp_replace(upper({value}), '^[A-Z]{{1,2}}-', '')"  # D-35390
    five = f"regexp_extract({bare}, '^([0-9]{{5}})(?:-?[0-9]{{4}}|\\.0+)?$', 1)"
    four = f"regexp_extract({bare}, '^([0-9]{{4}})(?:\\.0+)?$', 1)"  # New England's, without their leading zero
    other = f"regexp_extract(regexp_replace({bare}, '[^A-Z0-9]', '', 'g'), '^({_POSTCODE})$', 1)"
    found = f"coalesce(nullif({five}, ''), '0' || nullif({four}, ''), nullif({other}, ''))"
    return f"CASE WHEN {found} NOT IN ('00000', '99999') THEN {found} END"


def _phone(value: str) -> str:
    """Digits without extension and the signs between: ten of an American number, of any other at most the last nine.

    Nine, because the same number is written with its country's code and with a zero in its place.
    """
    digits = f"regexp_replace(regexp_replace(lower({value}), '(x|ext).*$', ''), '[^0-9]', '', 'g')"
    at_home = _american(f"regexp_replace({digits}, '^1', '')")
    abroad = f"regexp_matches({value}, '^\\s*\\+[^1]')"
    return f"CASE WHEN {at_home} AND NOT {abroad} THEN right({digits}, 10) ELSE right(ltrim({digits}, '0'), 9) END"


def _american(digits: str) -> str:
    return f"regexp_full_match({digits}, '[2-9][0-9]{{9}}')"


def _possible_phone(value: str) -> str:
    bad = sorted({*vocabulary.BAD_PHONES, *(one.lstrip("0")[-9:] for one in vocabulary.BAD_PHONES)})
    return f"""CASE WHEN ({_american(value)} OR length({value}) IN (8, 9))
        AND right({value}, 7) NOT IN ('0000000', '9999999') AND replace({value}, left({value}, 1), '') <> ''
        AND {value} NOT IN ({", ".join(map(quote, bad))}) THEN {value} END"""


def _possible_email(value: str) -> str:
    return f"""CASE WHEN regexp_full_match({value}, '[^@\\s]+@[^@\\s]+\\.[^@\\s.]+')
        AND split_part({value}, '@', 1) NOT IN ({", ".join(map(quote, vocabulary.BAD_EMAIL_NAMES))}) THEN {value} END"""


def _possible_member(value: str) -> str:
    return f"CASE WHEN length({value}) > 2 AND replace({value}, left({value}, 1), '') <> '' THEN {value} END"


def _possible_birth(value: str) -> str:
    bad = ", ".join(f"DATE {quote(day)}" for day in vocabulary.BAD_DATES)
    return f"""CASE WHEN {value} >= DATE '{FIRST_YEAR}-01-01' AND {value} <= current_date
        AND {value} NOT IN ({bad}) THEN {value} END"""


def _possible_ssn(value: str) -> str:
    """Numbers that were never given out are null, save those from 900: some sources give them to who has none."""
    return f"""CASE WHEN length({value}) = 9 AND left({value}, 3) NOT IN ('000', '666') AND {value}[4:5] <> '00'
        AND right({value}, 4) <> '0000' AND replace({value}, left({value}, 1), '') <> ''
        AND {value} NOT IN ({", ".join(map(quote, vocabulary.BAD_SSNS))}) THEN {value} END"""


def _four(value: str) -> str:
    return f"CASE WHEN length({value}) = 4 AND {value} <> '0000' THEN {value} END"
