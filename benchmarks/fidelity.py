"""How near the clinfuse preset comes to records of the published protocol's own making.

    python benchmarks/fidelity.py FROZEN POPULATION [--seeds 1,2,3]

FROZEN      a test bed made by the protocol: FROZEN/facility_N/patients.parquet and FROZEN/truth.parquet
POPULATION  the clean population that it was made from, as Parquet tables

Prints, side by side for the frozen records and for the preset's on the same population with each seed: the share of
records without a value, field by field; and what plain Splink reaches (its own comparisons with its own default levels,
ordinary blocking, trained by EM without labels) at a probability of .99, at .5 and at the threshold that suits it best.
Wanted are F1 within .03 and missing values within 2 points; FAR marks what is not. MAIDEN is printed without a verdict:
no kind takes it away, so it says only who was drawn to visit more facilities and who was made a look-alike. Plain
Splink is this measure's yardstick, not the product.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from augmentation import pipeline
from augmentation.presets import load
from resolver.progress import Progress

FIELDS = ("FIRST", "LAST", "MAIDEN", "BIRTHDATE", "SSN", "ADDRESS", "CITY", "ZIP", "GENDER")
JUDGED = tuple(name for name in FIELDS if name != "MAIDEN")
MISSING_POINTS, F1_DISTANCE = 0.02, 0.03


def patients(folder: Path) -> pl.DataFrame:
    """All facilities' patients, with nothing but what plain tools would do before linking: case and punctuation."""
    names = ("FIRST", "LAST", "MAIDEN", "ADDRESS", "CITY")
    return (
        pl.concat(
            pl.read_parquet(path, columns=["Id", *FIELDS]).with_columns(pl.all().cast(pl.String))
            for path in sorted(folder.glob("facility_*/patients.parquet"))
        )
        .with_columns(
            *(pl.col(name).str.to_uppercase().str.strip_chars() for name in names),
            pl.col("SSN").str.replace_all(r"\D", ""),
            ZIP=pl.when(pl.col("ZIP") != "00000").then("ZIP"),
        )
        .rename({"Id": "unique_id"})
        .sort("unique_id")
    )


def missing(records: pl.DataFrame, folder: Path) -> dict[str, float]:
    """Shares without a value, as they lie in the files: a ZIP of zeros is a value there."""
    raw = pl.concat(
        pl.read_parquet(path, columns=list(FIELDS)).with_columns(pl.all().cast(pl.String))
        for path in sorted(folder.glob("facility_*/patients.parquet"))
    )
    return {name: raw[name].null_count() / records.height for name in FIELDS}


def plain_splink(records: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Pairs with their match weight, by Splink out of the box."""
    import splink.comparison_level_library as cll
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.CRITICAL)
    con = duckdb.connect()
    con.register("given", records.to_arrow())
    con.execute("CREATE TABLE records AS FROM given")
    blocks = (
        *(
            ("SSN",),
            ("BIRTHDATE", "LAST"),
            ("BIRTHDATE", "FIRST"),
            ("FIRST", "LAST"),
            ("ADDRESS",),
            ("BIRTHDATE", "ZIP"),
        ),
        *(("FIRST", "ZIP"), ("LAST", "ZIP"), ("FIRST", "CITY"), ("LAST", "CITY"), ("BIRTHDATE", "CITY")),
    )

    # The protocol has no wrong sex and no wrong town, so EM would find that they can't be: a probability of 0, which
    # Splink refuses. The chance of an error in them is set instead.
    def exact(column: str) -> Any:
        return cl.CustomComparison(
            output_column_name=column,
            comparison_levels=[
                cll.NullLevel(column),
                cll.ExactMatchLevel(column).configure(m_probability=0.95, fix_m_probability=True),
                cll.ElseLevel().configure(m_probability=0.05, fix_m_probability=True),
            ],
        )

    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            cl.DamerauLevenshteinAtThresholds("FIRST", [1, 2, 3]).configure(term_frequency_adjustments=True),
            cl.DamerauLevenshteinAtThresholds("LAST", [1, 2, 3]).configure(term_frequency_adjustments=True),
            cl.LevenshteinAtThresholds("BIRTHDATE", [1, 2]),
            cl.LevenshteinAtThresholds("SSN", [2]),
            cl.LevenshteinAtThresholds("ADDRESS", [5]),
            exact("CITY"),
            exact("ZIP"),
            exact("GENDER"),
        ],
        blocking_rules_to_generate_predictions=[block_on(*columns) for columns in blocks],
    )
    api = DuckDBAPI(con)
    linker = Linker(api.register("records"), settings)
    linker.training.estimate_probability_two_random_records_match([block_on("SSN")], recall=0.4)
    linker.training.estimate_u_using_random_sampling(max_pairs=2e6, seed=seed)
    for columns in (("BIRTHDATE",), ("SSN",), ("ADDRESS",)):
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(*columns))
    scored: Any = linker.inference.predict(threshold_match_probability=0.001)
    return pl.DataFrame(
        con.sql(f"SELECT unique_id_l, unique_id_r, match_weight FROM {scored.physical_name}").to_arrow_table()
    )


def scores(pairs: pl.DataFrame, truth: pl.DataFrame) -> dict[str, float]:
    """F1 at two thresholds and at the best one, over all true pairs."""
    person = truth.select("record_id", "person_id")
    same = (
        pairs.join(person, left_on="unique_id_l", right_on="record_id")
        .join(person, left_on="unique_id_r", right_on="record_id", suffix="_r")
        .select("match_weight", right=pl.col("person_id") == pl.col("person_id_r"))
        .sort("match_weight", descending=True)
        .with_columns(found=pl.col("right").cum_sum(), said=pl.int_range(1, pl.len() + 1))
    )
    per_person = truth.group_by("person_id").len()["len"]
    true = int((per_person * (per_person - 1) // 2).sum())
    f1 = same.with_columns(f1=2 * pl.col("found") / (pl.col("said") + true))

    def at(weight: float) -> float:
        return float(f1.filter(pl.col("match_weight") >= weight)["f1"].tail(1).item())

    return {"true pairs": true, "F1 at .99": at(6.63), "F1 at .5": at(0.0), "best F1": float(f1["f1"].max() or 0.0)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("frozen", type=Path)
    arguments.add_argument("population", type=Path)
    arguments.add_argument("--seeds", default="1,2,3", help="seeds of the preset, with commas")
    given = arguments.parse_args()

    columns: dict[str, dict[str, float]] = {}
    records = patients(given.frozen)
    truth = pl.read_parquet(given.frozen / "truth.parquet")
    columns["frozen"] = {
        "records": records.height,
        **missing(records, given.frozen),
        **scores(plain_splink(records, 1), truth),
    }
    for seed in given.seeds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "bed"
            settings = load("clinfuse", (f"seed={seed}", f"population.dir={given.population.absolute()}"))
            pipeline.make(settings, out, Progress())
            records = patients(out)
            truth = pl.read_parquet(out / "truth" / "truth.parquet")
            columns[f"seed {seed}"] = {
                "records": records.height,
                **missing(records, out),
                **scores(plain_splink(records, 1), truth),
            }
    print("".ljust(20), *(name.rjust(9) for name in columns))
    for line in columns["frozen"]:
        values = [column[line] for column in columns.values()]
        form = "9,.0f" if line in ("records", "true pairs") else "9.3f"
        wanted = MISSING_POINTS if line in JUDGED else F1_DISTANCE if "F1" in line else None
        far = wanted is not None and max(abs(value - values[0]) for value in values) > wanted
        label = f"{line} missing" if line in FIELDS else line
        print(label.ljust(20), *(format(value, form) for value in values), "  FAR" if far else "")


if __name__ == "__main__":
    main()
