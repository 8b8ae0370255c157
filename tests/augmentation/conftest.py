"""Small populations cut from the real Synthea sample, in both forms that the test bed reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from augmentation.clinical import add_noise
from augmentation.lookalikes import make_lookalikes
from augmentation.population import Layout
from augmentation.segment import segment
from augmentation.settings import AugmentSettings
from resolver import database
from resolver.progress import Progress

SAMPLE = Path(__file__).parents[1] / "data" / "population"
PERSONS = 16
KEPT = ("patients", "encounters", "conditions", "medications", "observations", "payer_transitions", "organizations")


@pytest.fixture(scope="session")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Typed tables of some persons, with claims made from the encounters."""
    folder = tmp_path_factory.mktemp("population")
    con = duckdb.connect()
    con.execute(f"CREATE TABLE chosen AS SELECT Id FROM '{SAMPLE}/patients.parquet' ORDER BY Id LIMIT {PERSONS}")
    for table in KEPT:
        columns = [row[0] for row in con.execute(f"DESCRIBE FROM '{SAMPLE}/{table}.parquet'").fetchall()]
        patient = "Id" if table == "patients" else "PATIENT"
        where = f"WHERE {patient} IN (FROM chosen)" if patient in columns else ""
        if table == "observations":
            # Some of them: those of some encounters, and those that name none.
            where += " AND (ENCOUNTER IS NULL OR ENCOUNTER < '4')"
        con.execute(f"COPY (FROM '{SAMPLE}/{table}.parquet' {where}) TO '{folder}/{table}.parquet'")
    con.execute(f"""
        COPY (SELECT 'claim ' || Id AS Id, PATIENT AS PATIENTID, Id AS APPOINTMENTID, CODE AS DIAGNOSIS1
            FROM '{folder}/encounters.parquet') TO '{folder}/claims.parquet'""")
    con.execute(f"""
        COPY (SELECT 'line ' || APPOINTMENTID AS ID, Id AS CLAIMID, PATIENTID, APPOINTMENTID,
                PATIENTID AS PATIENTINSURANCEID
            FROM '{folder}/claims.parquet') TO '{folder}/claims_transactions.parquet'""")
    con.close()
    return folder


@pytest.fixture(scope="session")
def population_as_text(population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as Synthea writes it: all text, times with T and Z, digits on the names."""
    folder = tmp_path_factory.mktemp("text")
    con = duckdb.connect()
    for path in sorted(population.glob("*.parquet")):
        columns = []
        for name, kind, *_ in con.execute(f"DESCRIBE FROM '{path}'").fetchall():
            if kind == "TIMESTAMP":
                columns.append(f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}")
            elif path.stem == "patients" and name in ("FIRST", "LAST", "MAIDEN"):
                columns.append(f"{name} || '123' AS {name}")
            elif path.stem == "payer_transitions" and name == "OWNER_NAME":
                columns.append(f"replace({name}, ' ', '45 ') || '6' AS {name}")
            else:
                columns.append(f'CAST("{name}" AS VARCHAR) AS "{name}"')
        con.execute(f"COPY (SELECT {', '.join(columns)} FROM '{path}') TO '{folder}/{path.name}'")
    con.close()
    return folder


def _make(out: Path, population: Path, threads: int = 1, **settings: Any) -> dict[str, Any]:
    chosen, layout = AugmentSettings(population={"dir": population}, **settings), Layout(out)
    with database.connect(memory_gib=0.5, threads=threads) as con:
        facts = make_lookalikes(con, chosen, layout, Progress())
        facts |= segment(con, chosen, layout, Progress())
        return facts | add_noise(con, chosen, layout, Progress())


@pytest.fixture(scope="session")
def make_bed() -> Callable[..., dict[str, Any]]:
    """Makes look-alikes, facilities and clinical noise in a folder; the facts of all three."""
    return _make


@pytest.fixture(scope="session")
def plain_bed(population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two facilities without noise, for tests that read it or copy it."""
    out = tmp_path_factory.mktemp("plain")
    _make(out, population, seed=11, segment={"facilities": 2, "visited": [0.4, 0.6]})
    return out
