"""The step that makes contact data and breaks the demographics of all facilities' records.

Starts from the clean records each time (truth/records.parquet), so that it can be run again with other errors. Knows
nothing of encounters and events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from augmentation.contact import contact
from augmentation.errors import FIELDS
from augmentation.errors.corrupt import Changes, Columns, corrupt, styled
from augmentation.errors.record import PLACE, World
from augmentation.population import Layout
from augmentation.settings import AugmentSettings
from augmentation.streams import keys_of
from augmentation.summary import Summary
from resolver import files
from resolver.errors import RunError
from resolver.progress import Progress

CONTACT = ("PHONE", "EMAIL", "MEMBER_ID")
_HOUSEHOLD = 4  # most persons who are taken for a family because they share a name and a town


def keep_clean(layout: Layout, summary: Summary) -> None:
    """Write truth/records.parquet, the facilities' clean patients together, and count them."""
    patients = [
        pl.read_parquet(folder / "patients.parquet").with_columns(facility=pl.lit(number, pl.Int32))
        for number, folder in layout.facilities.items()
    ]
    clean = pl.concat(patients).sort("Id")
    _write(clean, layout.truth_table("records"))
    summary.add_patients(_text(clean).to_arrow())
    summary.add_truth(pl.read_parquet(layout.truth_table("truth")).to_arrow())


def register(settings: AugmentSettings, layout: Layout, summary: Summary, progress: Progress) -> dict[str, Any]:
    """Rewrite facility_N/patients.parquet, write truth/errors.parquet and count in `summary`."""
    for table in ("records", "persons", "truth"):
        if not layout.truth_table(table).exists():
            raise RunError(
                f"{layout.truth_table(table)} is missing.", do="Make it with: resolver augment segment CONFIG"
            )
    persons = _text(pl.read_parquet(layout.truth_table("persons")).drop(CONTACT, strict=False).sort("Id"))
    records = pl.read_parquet(layout.truth_table("records")).drop(CONTACT, strict=False).sort("Id")
    truth = pl.read_parquet(layout.truth_table("truth")).sort("record_id")
    placed = records.select("Id").join(
        truth.join(persons.select("Id").with_row_index("person"), left_on="person_id", right_on="Id"),
        left_on="Id",
        right_on="record_id",
        how="left",
        maintain_order="left",
    )
    if placed["person"].null_count():
        raise RunError(
            f"{layout.truth} does not fit the records of {layout.out}.",
            do="Make it again with: resolver augment segment CONFIG",
        )
    person_of = placed["person"].to_list()

    households = _households(persons, settings.seed)
    persons = persons.join(households, on="Id", how="left", maintain_order="left")
    people: Columns = {name: persons[name].to_list() for name in FIELDS if name in persons.columns}
    clean = _text(records)
    if settings.contact.enabled:
        keys = keys_of(persons["Id"].to_list(), settings.seed)
        made = contact(
            people,
            keys,
            keys_of(persons["household"].to_list(), settings.seed),
            (persons["relative"] >= 0).to_numpy(),
            settings.contact,
        )
        people |= made
        persons = persons.with_columns(pl.Series(name, values, pl.String) for name, values in made.items())
        clean = clean.with_columns(
            pl.Series(name, [values[person] for person in person_of], pl.String) for name, values in made.items()
        )
    facility = clean["facility"].to_numpy().astype(np.int64)
    columns = styled({name: clean[name].to_list() for name in FIELDS if name in clean.columns}, facility, settings)
    ids = clean["Id"].to_list()
    with progress.step("Errors", len(ids), "records") as step:
        changes = corrupt(
            columns, keys_of(ids, settings.seed), facility, person_of, _world(persons, people, settings), settings
        )
        step.advance(len(ids))

    broken = clean.with_columns(pl.Series(name, values, pl.String) for name, values in columns.items())
    for number, folder in layout.facilities.items():
        own = broken.filter(pl.col("facility") == number).drop("facility")
        _write(own, folder / "patients.parquet")
        summary.add_patients(own.to_arrow())
    errors = errors_frame(changes, ids)
    _write(errors, layout.truth_table("errors"))
    _write(persons.drop("household", "relative"), layout.truth_table("persons"))
    summary.add_truth(truth.to_arrow())
    summary.add_errors(errors.to_arrow())
    return {"changes": len(changes), "records_changed": errors["record_id"].n_unique()}


def errors_frame(changes: Changes, ids: list[str]) -> pl.DataFrame:
    """The changes, each record's together and in their order."""
    return pl.DataFrame(
        {
            "record_id": [ids[row] for row in changes.row],
            "step": pl.Series(changes.step, dtype=pl.Int32),
            "field": pl.Series(changes.field, dtype=pl.String),
            "kind": pl.Series(changes.kind, dtype=pl.String),
            "before": pl.Series(changes.before, dtype=pl.String),
            "after": pl.Series(changes.after, dtype=pl.String),
        },
        schema_overrides={"record_id": pl.String},
    ).sort("record_id", "step", "field")


def _text(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the fields that errors may touch as text, and nothing for empty text."""
    return table.with_columns(
        pl.col(name).cast(pl.String).replace("", None) for name in FIELDS if name in table.columns
    )


def _households(persons: pl.DataFrame, seed: int) -> pl.DataFrame:
    """For each person a household, and the position of the eldest other person in it (-1: lives alone).

    Synthea gives all persons an address of their own. Who shares one was made so by a look-alike; besides, up to four
    persons of one name in one town are taken for a family, so that there are spouses and parents to borrow from.
    """
    home = pl.concat_str("ADDRESS", "CITY", "ZIP", separator="\x1f", ignore_nulls=True)
    return (
        persons.select("Id", "LAST", "CITY", "BIRTHDATE", home=home)
        .with_row_index("position")
        .sort("BIRTHDATE", "Id")
        .with_columns(at_home=pl.len().over("home"), turn=pl.int_range(pl.len()).over("LAST", "CITY"))
        .with_columns(
            household=pl.when(pl.col("at_home") > 1)
            .then(pl.format("at {}", "home"))
            .otherwise(pl.format("{} of {}, {}", pl.col("LAST"), pl.col("CITY"), pl.col("turn") // _HOUSEHOLD))
        )
        .with_columns(household=pl.coalesce("household", "Id"))
        .with_columns(
            eldest=pl.col("position").first().over("household"),
            next=pl.col("position").get(1, null_on_oob=True).over("household"),
        )
        .select(
            "Id",
            "household",
            relative=pl.when(pl.col("position") == pl.col("eldest"))
            .then(pl.col("next").cast(pl.Int64).fill_null(-1))
            .otherwise(pl.col("eldest").cast(pl.Int64)),
        )
        .sort("Id")
    )


def _world(persons: pl.DataFrame, people: Columns, settings: AugmentSettings) -> World:
    places = persons.select(PLACE).drop_nulls().unique().sort(PLACE)
    known = places.filter(~pl.col("ZIP").str.starts_with("000"))
    towns = known.group_by(area=pl.col("ZIP").str.slice(0, 3)).agg(pl.col("CITY").unique().sort())
    return World(
        places=places.rows(),
        towns_of=dict(towns.iter_rows()),
        family_names=persons["LAST"].drop_nulls().sort().to_list(),
        middle_names=persons["MIDDLE"].drop_nulls().sort().to_list() if "MIDDLE" in persons.columns else [],
        relatives=persons["relative"].to_list(),
        persons=people,
        truncate_at=settings.errors.truncate_at,
    )


def _write(table: pl.DataFrame, path: Any) -> None:
    with files.whole(path) as scratch:
        table.write_parquet(scratch, compression="zstd")
