"""The kinds of clinical noise, by name, in the order in which they are applied. Each is SQL over the rows of one table.

A kind either leaves rows out or changes columns. What it does to a row hangs on (seed, kind, the row's own values as
they came), and for some on the facility's ways, which hang on (seed, kind, facility): neither other rows, other kinds,
other facilities nor the number of threads matter. Rows that are equal in patient, encounter, time and code are drawn
alike. The exceptions are the two caps, which rank a record's encounters or events against each other.

The rows that a layer reads have, beside the table's columns:
    row_    number of the row in its file        key_    key of the row: patient, encounter, time, code
    day_    key of patient, encounter, time      code_   key of patient and code

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import duckdb

from augmentation import draws
from augmentation.clinical import measurements, vocabulary
from augmentation.population import Table, moment, spelled
from augmentation.settings import ClinicalSettings, FacilitySettings
from resolver.database import name, quote

# Tables that are not events of a patient's care.
NOT_EVENTS = frozenset({"encounters", "payer_transitions", "patient_expenses", "claims", "claims_transactions"})

# Of these, a facility knows or does not know the thing itself, not one mention of it.
LASTING = frozenset({"conditions", "medications", "allergies", "careplans", "devices"})

CODE_COLUMNS = (
    "CODE", "SYSTEM", "REASONCODE", "BODYSITE_CODE", "MODALITY_CODE", "SOP_CODE", "PROCEDURE_CODE", "PROCEDURECODE",
    "REACTION1", "REACTION2", *(f"DIAGNOSIS{number}" for number in range(1, 9)),
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """One facility, with what governs its noise."""

    con: duckdb.DuckDBPyConnection
    number: int
    ways: FacilitySettings
    clinical: ClinicalSettings
    seed: int

    def rate(self, share: float) -> float:
        return min(1.0, share * self.ways.clinical)


@dataclass(frozen=True)
class Layer:
    """What a kind does to a table's rows `t`: rows it leaves out, or columns it rewrites."""

    gone: str | None = None  # SQL that is true for rows left out
    changed: dict[str, str] = field(default_factory=dict)  # column -> SQL
    joins: str = ""  # SQL joins that keep each row of t once
    # Columns worked out before, stage by stage, for `changed` to read; only the first stage sees the joins.
    helpers: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Kind:
    name: str
    applies: Callable[[Site, Table], bool]
    layer: Callable[[Site, Table], Layer]


def _is_event(table: Table) -> bool:
    return table.name not in NOT_EVENTS and table.patient is not None and table.name != "patients"


def _few_encounters(site: Site, table: Table) -> Layer:
    """Only so many encounters of a record were kept, drawn at random, and with each encounter all that hangs on it."""
    if table.encounter is None:
        return Layer("kept.row_ IS NULL", joins="LEFT JOIN kept_adrift kept ON kept.row_ = t.row_")
    reference = f"t.{name(table.encounter)}"
    return Layer(
        f"CASE WHEN nullif({reference}, '') IS NULL THEN kept.row_ IS NULL ELSE visit.id IS NULL END",
        joins=f"""LEFT JOIN kept_adrift kept ON kept.row_ = t.row_
            LEFT JOIN kept_encounters visit ON visit.id = {reference}""",
    )


def _never_entered(site: Site, table: Table) -> Layer:
    key = "t.code_" if table.name in LASTING else "t.key_"
    drawn = draws.uniform(key, site.seed, f"never_entered {table.name}")
    return Layer(f"{drawn} < {site.rate(site.clinical.never_entered)!r}")


def _few_events(site: Site, table: Table) -> Layer:
    drawn = draws.bits("t.key_", site.seed, f"few_events {table.name}")
    order = f"PARTITION BY t.{name(str(table.patient))}, t.gone_ ORDER BY {drawn}, t.row_"
    return Layer(f"row_number() OVER ({order}) > {site.clinical.max_events}")


def _measurement(site: Site, table: Table) -> Layer:
    """Error and bias of the instrument, then the facility's rounding. Body mass index follows height and weight."""
    made = measurements.instruments(site.number, site.ways.clinical, site.seed)
    rows = ", ".join(
        f"({', '.join([quote(one.code), *(repr(value) for value in one[1:]), str(measurements.decimals(one.step))])})"
        for one in made
    )
    columns = "code, relative, absolute, relative_bias, absolute_bias, step, least, most, decimals"
    site.con.execute(f"CREATE OR REPLACE TEMP TABLE instruments AS SELECT * FROM (VALUES {rows}) i({columns})")

    by_code = {one.code: one for one in made}
    patient, encounter, time = (f"t.{name(str(column))}" for column in (table.patient, table.encounter, table.time))
    words = {"word_": draws.bits("t.key_", site.seed, "measurement")}
    taken = {}
    # The errors that the height and the weight of the same moment have got.
    for code, alias in ((measurements.HEIGHT, "height_"), (measurements.WEIGHT, "weight_")):
        key = draws.key(patient, encounter, time, quote(code))
        words[alias] = f"""CASE WHEN t.CODE = '{measurements.BODY_MASS_INDEX}'
            THEN {draws.bits(key, site.seed, "measurement")} END"""
        one = by_code[code]
        taken[code] = f"(1 + {one.relative_bias!r} + {one.relative!r} * {draws.normal(f't.{alias}')})"
    height, weight = taken[measurements.HEIGHT], taken[measurements.WEIGHT]
    own, other = draws.normal("t.word_"), measurements.OTHER_RELATIVE * site.ways.clinical
    read = f"""CASE
        WHEN t.CODE = '{measurements.BODY_MASS_INDEX}' THEN t.had_ * {weight} / ({height} * {height})
        WHEN t.known_
            THEN t.had_ * (1 + t.relative_bias_ + t.relative_ * {own}) + t.absolute_bias_ + t.absolute_ * {own}
        WHEN t.CATEGORY = 'laboratory' AND NOT starts_with(coalesce(t.UNITS, '{{'), '{{')
            THEN t.had_ * (1 + {other!r} * {own}) END"""
    # A value outside of what is ever written down is not forced into it: the simulator's own outliers are not noise.
    bounded = """CASE WHEN t.had_ BETWEEN t.least_ AND t.most_ THEN least(greatest(t.rounded_, t.least_), t.most_)
        ELSE t.rounded_ END"""
    text = " ".join(
        f"WHEN t.decimals_ = {places} THEN printf('%.{places}f', t.bounded_)" for places in measurements.DECIMALS
    )
    return Layer(
        changed={"VALUE": f"CASE WHEN t.bounded_ IS NULL THEN t.VALUE {text} END"},
        joins="LEFT JOIN instruments i ON i.code = t.CODE",
        helpers=(
            {
                **words,
                "had_": "CASE WHEN t.TYPE = 'numeric' THEN TRY_CAST(t.VALUE AS DOUBLE) END",
                "known_": "i.code IS NOT NULL",
                "step_": f"coalesce(i.step, {measurements.OTHER_STEP})",
                "decimals_": f"coalesce(i.decimals, {measurements.decimals(measurements.OTHER_STEP)})",
                **{f"{column}_": f"i.{column}" for column in columns.split(", ")[1:5]},
                "least_": "i.least",
                "most_": "i.most",
            },
            {"read_": read},
            {"rounded_": "round(t.read_ / t.step_) * t.step_"},
            {"bounded_": bounded},
        ),
    )


def _known(site: Site, table: Table, column: str, description: str) -> list[tuple[str, str]]:
    rows = site.con.execute(f"""
        SELECT DISTINCT {name(column)}, {name(description)} FROM {table.source}
        WHERE nullif({name(column)}, '') IS NOT NULL AND {name(description)} IS NOT NULL ORDER BY ALL""").fetchall()
    return [(str(code), str(words)) for code, words in rows]


def _lookup(site: Site, table: str, rows: list[tuple[str, str, list[str], list[str]]]) -> None:
    """A table of (code, description) with lists of codes and of wordings to choose from."""
    site.con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} (code VARCHAR, description VARCHAR, codes VARCHAR[], words VARCHAR[])"
    )
    if rows:
        lists = [list(column) for column in zip(*rows, strict=True)]
        site.con.execute(f"INSERT INTO {table} SELECT unnest(?), unnest(?), unnest(?), unnest(?)", lists)


def _chosen(values: str, drawn: str) -> str:
    return f"{values}[1 + CAST(floor({drawn} * len({values})) AS INTEGER)]"


def _coding_variant(site: Site, table: Table) -> Layer:
    """Another code for the same thing. A laboratory or a vaccine cupboard has its habits; a doctor, one per patient."""
    rows = []
    for code, description in _known(site, table, "CODE", "DESCRIPTION"):
        if others := vocabulary.variants(table.name, code, description):
            rows.append((code, description, [one.code for one in others], [one.description for one in others]))
    _lookup(site, "variants", rows)
    habit = table.name in ("observations", "immunizations")
    # The key of a habit is made once per code, not once per row.
    key = f"{draws.key(str(site.number), 'code')} AS habit_"
    joins = f"LEFT JOIN (SELECT *, {key} FROM variants) v ON v.code = t.CODE AND v.description = t.DESCRIPTION"
    drawn = "v.habit_" if habit else "t.code_"
    share, which = (draws.uniform(drawn, site.seed, f"coding_variant {part}") for part in ("share", "which"))
    hit = f"v.code IS NOT NULL AND {share} < {site.rate(site.clinical.coding_variants)!r}"
    return Layer(
        changed={
            "CODE": f"CASE WHEN {hit} THEN {_chosen('v.codes', which)} ELSE t.CODE END",
            "DESCRIPTION": f"CASE WHEN {hit} THEN {_chosen('v.words', which)} ELSE t.DESCRIPTION END",
        },
        joins=joins,
    )


def _words(site: Site, table: Table) -> Layer:
    """No codes at all: words, abbreviations and brand names, for the event and for its reason."""
    changed = dict.fromkeys((column for column in CODE_COLUMNS if column in table.columns), "NULL")
    joins = ""
    for column, description in (("CODE", "DESCRIPTION"), ("REASONCODE", "REASONDESCRIPTION")):
        if not {column, description} <= table.columns.keys():
            continue
        kind = table.name if column == "CODE" else "conditions"
        lookup = f"spoken_{column.lower()}"
        known = _known(site, table, column, description)
        _lookup(site, lookup, [(code, text, [], vocabulary.words(kind, code, text)) for code, text in known])
        drawn = draws.uniform("t.key_", site.seed, f"words {column}")
        joins += (
            f" LEFT JOIN {lookup} {column}_ ON {column}_.code = t.{column} AND {column}_.description = t.{description}"
        )
        changed[description] = f"coalesce({_chosen(f'{column}_.words', drawn)}, t.{description})"
    return Layer(changed=changed, joins=joins)


def _shifted_date(site: Site, table: Table) -> Layer:
    """Entered on another day: all that a table holds of an encounter at one time moves by the same days, back or on."""
    share, far, side = (
        draws.uniform("t.day_", site.seed, f"shifted_date {table.name} {part}") for part in ("share", "days", "side")
    )
    days = f"CAST(1 + floor({far} * {site.clinical.shift_days}) AS INTEGER) * CASE WHEN {side} < 0.5 THEN -1 ELSE 1 END"
    changed = {}
    for column in (str(table.time), "STOP"):
        if column in table.columns:
            own = f"t.{name(column)}"
            moved = spelled(f"({moment(own)} + to_days({days}))", own, table.columns[column])
            hit = f"{share} < {site.rate(site.clinical.shifted_dates)!r} AND {moment(own)} IS NOT NULL"
            changed[column] = f"CASE WHEN {hit} THEN {moved} ELSE {own} END"
    return Layer(changed=changed)


KINDS = (
    Kind(
        "few_encounters",
        lambda site, table: site.clinical.max_encounters is not None and table.name != "payer_transitions",
        _few_encounters,
    ),
    Kind(
        "never_entered",
        lambda site, table: site.rate(site.clinical.never_entered) > 0 and _is_event(table),
        _never_entered,
    ),
    Kind("few_events", lambda site, table: site.clinical.max_events is not None and _is_event(table), _few_events),
    Kind(
        "measurement",
        lambda site, table: (
            site.clinical.measurement_noise and {"VALUE", "TYPE", "CATEGORY", "UNITS", "CODE"} <= table.columns.keys()
        ),
        _measurement,
    ),
    Kind(
        "coding_variant",
        lambda site, table: (
            site.rate(site.clinical.coding_variants) > 0
            and not site.ways.words
            and _is_event(table)
            and {"CODE", "DESCRIPTION"} <= table.columns.keys()
        ),
        _coding_variant,
    ),
    Kind(
        "words",
        lambda site, table: site.ways.words and any(column in table.columns for column in CODE_COLUMNS),
        _words,
    ),
    Kind(
        "shifted_date",
        lambda site, table: site.rate(site.clinical.shifted_dates) > 0 and _is_event(table) and table.time is not None,
        _shifted_date,
    ),
)
