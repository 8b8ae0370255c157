"""A population's manifest: what made it and what is in it, table by table.

population.json names no place or time, so the same population has the same manifest everywhere.
Knows nothing about how a population is made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from resolver import files
from resolver.errors import DamagedError
from synthea_runner import content

MANIFEST = "population.json"
FORMAT = 1


@dataclass(frozen=True)
class TableFacts:
    """Rows, hash of the content (see content.py) and columns with their types."""

    rows: int
    content: str
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Population:
    """What is in a population's folder."""

    made: dict[str, Any]
    tables: dict[str, TableFacts]
    fhir: dict[str, TableFacts]

    @property
    def content(self) -> str:
        """One digest for all of it."""
        parts = {f"tables/{name}": [facts.rows, facts.content] for name, facts in self.tables.items()}
        parts |= {f"fhir/{name}": [facts.rows, facts.content] for name, facts in self.fhir.items()}
        return files.digest_of(parts)


def write(folder: Path, population: Population) -> None:
    """Write the manifest."""
    files.write_json(folder / MANIFEST, {"format": FORMAT, **asdict(population), "content": population.content})


def read(folder: Path) -> Population:
    """The manifest of a population."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        tables = {name: TableFacts(**facts) for name, facts in found["tables"].items()}
        fhir = {name: TableFacts(**facts) for name, facts in found["fhir"].items()}
        return Population(found["made"], tables, fhir)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"{path} is missing or can't be read.", do="Convert the population again.") from None


def measure(con: duckdb.DuckDBPyConnection, path: Path) -> TableFacts:
    """Facts of a Parquet or NDJSON file, from the file itself."""
    try:
        if path.suffix == ".parquet":
            return TableFacts(*content.of_parquet(con, path))
        return TableFacts(*content.of_lines(con, path))
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        raise DamagedError(f"{path} can't be read.", do="Make or fetch the data set again.") from None
