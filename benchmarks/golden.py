"""How many golden values are right, field by field, next to plain most-frequent voting; are they as sure as they say?

    python benchmarks/golden.py RUN TRUTH PERSONS [--lookalikes FILE]

RUN       a run folder with records.parquet and events.parquet, or facility folders in Synthea's layout
TRUTH     Parquet with record_id (the source's own id, or <source>:<id>) and person_id
PERSONS   the clean population: a folder of Synthea's tables whose patients have the ids of TRUTH
FILE      Parquet with source_patient_id, target_patient_id and fields_copied (columns of Synthea's patients): persons
          made to look like another before the facilities saw them

Clusters are the true ones, so that only the choice of values is measured. Fields count where some record of the person
has them right. Reporting only: nothing here is fitted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

from resolver import golden, ingest
from resolver.progress import Progress
from resolver.settings import parse
from resolver.stage import StageContext

FIELDS = {
    "first_name": ("FIRST",),
    "last_name": ("LAST",),
    "birth_date": ("BIRTHDATE",),
    "ssn": ("SSN",),
    "address": ("ADDRESS",),
    "city": ("CITY",),
    "zip": ("ZIP",),
    "sex": ("GENDER",),
    "maiden_name": ("MAIDEN",),
}
MAIN = ("first_name", "last_name", "birth_date", "ssn", "address", "city", "zip")
SURE = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def context(folder: Path, inputs: dict[str, Path], outputs: tuple[str, ...], source: Path) -> StageContext:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"run": {"dir": str(folder)}, "sources": [{"kind": "synthea", "path": str(source)}]}
    settings = parse(content, base=folder, where="benchmark")
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return StageContext(settings, inputs, {name: folder / f"{name}.parquet" for name in outputs}, scratch, Progress())


def taken_in(source: Path, folder: Path) -> Path:
    """A folder with records.parquet; made by ingest where `source` is not one."""
    if (source / "records.parquet").exists():
        return source
    ingest.run(context(folder, {}, ("records", "events", "rejected", "slices"), source))
    return folder


def clean(persons: Path, folder: Path, lookalikes: Path | None) -> pl.DataFrame:
    """The true values per person, normalised as the records are."""
    alone = folder / "clean" / "patients"
    alone.mkdir(parents=True)
    (alone / "patients.parquet").symlink_to((persons / "patients.parquet").absolute())
    frame = pl.read_parquet(taken_in(alone, folder / "persons") / "records.parquet")
    frame = with_address(frame).select(pl.col("source_record_id").alias("person_id"), *FIELDS)
    if lookalikes is not None:
        copied = pl.read_parquet(lookalikes).select("target_patient_id", "source_patient_id", "fields_copied")
        frame = frame.join(copied, left_on="person_id", right_on="target_patient_id", how="left")
        frame = frame.join(
            frame.select(source_patient_id="person_id", **{f"{f}_of": f for f in FIELDS}).drop_nulls(
                "source_patient_id"
            ),
            on="source_patient_id",
            how="left",
        )
        for name, columns in FIELDS.items():
            taken = pl.col("fields_copied").str.split(",").list.contains(columns[0]).fill_null(False)
            frame = frame.with_columns(pl.when(taken).then(f"{name}_of").otherwise(name).alias(name))
    return frame.select("person_id", *FIELDS)


def with_address(frame: pl.DataFrame) -> pl.DataFrame:
    whole = pl.col("street") + pl.concat_str(pl.lit(" "), pl.col("unit").fill_null(""))
    return frame.with_columns(address=whole.str.strip_chars(), birth_date=pl.col("birth_date").cast(pl.String))


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("run", type=Path)
    args.add_argument("truth", type=Path)
    args.add_argument("persons", type=Path)
    args.add_argument("--lookalikes", type=Path)
    opt = args.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report(opt.run, opt.truth, opt.persons, opt.lookalikes, Path(name))


def report(run: Path, truth: Path, persons: Path, lookalikes: Path | None, folder: Path) -> None:
    run = taken_in(run, folder / "run")
    records = with_address(pl.read_parquet(run / "records.parquet"))
    who = pl.read_parquet(truth).select("record_id", "person_id")
    own = records.select("rid", "record_id").join(who, on="record_id")
    if own.is_empty():
        own = records.select("rid", record_id="source_record_id").join(who, on="record_id")
    clusters = own.select(
        pl.col("rid"), pl.col("rid").min().over("person_id").alias("cluster"), pl.col("person_id")
    ).sort("rid")
    clusters.select("rid", "cluster").write_parquet(folder / "clusters.parquet")

    inputs = {"records": run / "records.parquet", "events": run / "events.parquet"}
    inputs["clusters"] = folder / "clusters.parquet"
    began = time.monotonic()
    golden.run(context(folder / "golden", inputs, ("golden", "golden_fields"), run))
    seconds = time.monotonic() - began

    right = clean(persons, folder, lookalikes)
    people = clusters.unique("cluster").select("cluster", "person_id").join(right, on="person_id")
    chosen = with_address(pl.read_parquet(folder / "golden" / "golden.parquet"))
    sure = pl.read_parquet(folder / "golden" / "golden_fields.parquet").select("cluster", "field", "confidence")
    print(f"{records.height:,} records, {people.height:,} persons, {seconds:.1f} s")
    print(f"{'field':<14}{'persons':>8}{'golden':>9}{'frequent':>10}")
    totals = [0, 0, 0]
    calibration = []
    for name in FIELDS:
        said = records.select("rid", value=name).join(clusters, on="rid").drop_nulls("value")
        truths = people.select("cluster", "person_id", true=name).drop_nulls("true")
        possible = said.join(truths, on="cluster").filter(pl.col("value") == pl.col("true")).select("cluster").unique()
        frequent = (
            said.group_by("cluster", "value")
            .agg(n=pl.len(), first=pl.col("rid").min())
            .sort("cluster", "n", "first", descending=[False, True, False])
            .unique("cluster", keep="first", maintain_order=True)
        )
        answer = possible.join(truths, on="cluster").join(chosen.select("cluster", golden=name), on="cluster")
        answer = answer.join(frequent.select("cluster", frequent="value"), on="cluster", how="left")
        count = answer.height
        good = answer.filter(pl.col("golden") == pl.col("true")).height
        plain = answer.filter(pl.col("frequent") == pl.col("true")).height
        if name in MAIN:
            totals = [totals[0] + count, totals[1] + good, totals[2] + plain]
        print(f"{name:<14}{count:>8,}{good / max(count, 1):>9.1%}{plain / max(count, 1):>10.1%}")
        part = "street" if name == "address" else name
        every = truths.join(chosen.select("cluster", value=name).drop_nulls("value"), on="cluster")
        every = every.join(sure.filter(pl.col("field") == part), on="cluster")
        calibration.append(every.select(field=pl.lit(name), sure="confidence", right=pl.col("value") == pl.col("true")))
    print(f"{'the first seven':<14}{totals[0]:>7,}{totals[1] / totals[0]:>9.1%}{totals[2] / totals[0]:>10.1%}")

    print("\nHow sure, and how many of them are right (all values, also where no record has the right one)")
    for name, frame in [
        ("all fields", pl.concat(calibration)),
        *((frame["field"][0], frame) for frame in calibration if frame.height),
    ]:
        bins = frame.with_columns(bin=pl.sum_horizontal(pl.col("sure") >= edge for edge in SURE))
        rows = (
            bins.group_by("bin").agg(n=pl.len(), sure=pl.col("sure").mean(), right=pl.col("right").mean()).sort("bin")
        )
        gap = sum(row["n"] * abs(row["sure"] - row["right"]) for row in rows.to_dicts()) / frame.height
        print(
            f"{name:<12} gap {gap:.3f}  "
            + "  ".join(f"{r['sure']:.2f}:{r['right']:.2f} ({r['n']})" for r in rows.to_dicts())
        )


if __name__ == "__main__":
    main()
