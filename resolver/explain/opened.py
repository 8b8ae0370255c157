"""A finished run, opened to look at a few of its records: finds them by id, and reads their rows and no others.

Knows nothing of log-odds.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from resolver import database
from resolver.database import quote
from resolver.errors import DamagedError, LockedError, RunError
from resolver.runs import RunFolder
from resolver.settings import Settings
from resolver.tables import PERSON_FIELDS

FIELDS = tuple(name for name, _, _ in PERSON_FIELDS)
TABLES = ("records", "events", "pairs", "verdicts", "decisions", "clusters", "cuts")
MANY_SOURCES = 6  # named in a message before it says how many more there are

Row = dict[str, Any]


class Opened:
    """The tables of a run as views of one connection; errors say what is missing and never quote a value."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = RunFolder(settings.run.dir)
        self._closing = contextlib.ExitStack()
        self.con = database.connect(memory_gib=settings.run.memory_gib, threads=settings.run.threads)
        self._closing.callback(self.con.close)
        self._scratch = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="resolver-explain-"))
        try:
            self._view()
        except BaseException:
            self.close()
            raise

    def _view(self) -> None:
        for table in TABLES:
            path = self.folder.require(table)
            try:
                self.con.execute(f"CREATE VIEW {table} AS FROM read_parquet({quote(path)})")
            except duckdb.Error as error:
                raise DamagedError(
                    f"{path} is not a readable Parquet file.", do="Run the config again: resolver run CONFIG"
                ) from error

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def scratch(self) -> Path:
        """A folder of its own: the run folder may be read-only."""
        return Path(self._scratch)

    def file(self, output: str) -> Path:
        return self.folder.require(output)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What each stage said of its work."""
        found = {name: entry["facts"] for name, entry in self.folder.manifest()["stages"].items()}
        if not {"decide", "cluster"} <= found.keys():
            raise RunError(f"The run in {self.folder.path} is not finished.", do="Run the config: resolver run CONFIG")
        return found

    def rows(self, query: str, values: object = None) -> list[Row]:
        try:
            found = self.con.execute(query, values) if values is not None else self.con.execute(query)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            # The database's own words can quote values.
            raise DamagedError(
                f"The files in {self.folder.path} can't be read ({type(error).__name__}).",
                do="Run the config again: resolver run CONFIG",
            ) from error

    # Records

    def rid(self, text: str, which: str) -> int:
        """The record that a person means: `source:id`, or the id alone where one source has it."""
        found = self.rows("SELECT rid FROM records WHERE record_id = ? LIMIT 1", [text]) or self.rows(
            "SELECT rid FROM records WHERE source_record_id = ? ORDER BY rid LIMIT 2", [text]
        )
        if not found:
            raise RunError(f"{which} is not in this run.", do=f"Write it as source:id; sources are {self._sources()}.")
        if len(found) > 1:
            raise RunError(
                f"{which} is in several sources.", do=f"Write it as source:id; sources are {self._sources()}."
            )
        return int(found[0]["rid"])

    def records(self, rids: Sequence[int]) -> dict[int, Row]:
        """The records themselves, by rid; what came in (raw_<field>) where it could not be used."""
        which = f"FROM records WHERE rid IN ({_list(rids)}) ORDER BY rid"
        found = self.rows(f"SELECT rid, record_id, source, {', '.join(FIELDS)} {which}")
        empty = [name for name in FIELDS if any(row[name] is None for row in found)]
        if empty:
            came = self.rows(f"SELECT {', '.join(f'raw_{name}' for name in empty)} {which}")
            for row, raw in zip(found, came, strict=True):
                row.update({f"raw_{name}": raw[f"raw_{name}"] for name in empty if row[name] is None})
        return {int(row["rid"]): row for row in found}

    def names(self, rids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Record id and source, by rid."""
        found = self.rows(f"SELECT rid, record_id, source FROM records WHERE rid IN ({_list(rids)})")
        return {int(row["rid"]): (str(row["record_id"]), str(row["source"])) for row in found}

    def _sources(self) -> str:
        names = [str(row["source"]) for row in self.rows("SELECT DISTINCT source FROM records ORDER BY source")]
        more = len(names) - MANY_SOURCES
        return ", ".join(names[:MANY_SOURCES]) + (f" and {more} more" if more > 0 else "")

    # Persons

    def clusters(self, rids: Sequence[int]) -> dict[int, int]:
        found = self.rows(f"SELECT rid, cluster FROM clusters WHERE rid IN ({_list(rids)})")
        return {int(row["rid"]): int(row["cluster"]) for row in found}

    def members(self, clusters: Sequence[int]) -> dict[int, list[int]]:
        """The records of clusters."""
        found = self.rows(f"SELECT cluster, rid FROM clusters WHERE cluster IN ({_list(clusters)}) ORDER BY rid")
        result: dict[int, list[int]] = {cluster: [] for cluster in clusters}
        for row in found:
            result[int(row["cluster"])].append(int(row["rid"]))
        return result

    @cached_property
    def index(self) -> duckdb.DuckDBPyConnection | None:
        """The index as it is now; None where nothing was published yet."""
        from resolver.mpi import store

        path = self.settings.index_path
        if not path.exists():
            return None
        try:
            return self._closing.enter_context(store.read(path))
        except (LockedError, DamagedError):
            raise
        except RunError:  # a run was killed before its first commit
            return None

    def persons_of(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Record -> enterprise id, as the index has it now; empty where there is no index."""
        if self.index is None:
            return {}
        found = self.index.execute(
            "SELECT record_id, person_id FROM crosswalk WHERE record_id IN (SELECT unnest($ids))",
            {"ids": list(record_ids)},
        ).fetchall()
        return {str(record): str(person) for record, person in found}

    def said(self, one: str, other: str) -> str | None:
        """What a person says of two records now, by the index: link or unlink."""
        if self.index is None:
            return None
        found = self.index.execute(
            "SELECT says FROM verdicts WHERE left_record = ? AND right_record = ?", sorted((one, other))
        ).fetchone()
        return None if found is None else str(found[0])

    # Pairs

    def decisions(self, rids: Sequence[int]) -> list[Row]:
        """The decisions on all pairs among these records."""
        wanted = _list(rids)
        return self.rows(
            f"SELECT * FROM decisions WHERE left_rid IN ({wanted}) AND right_rid IN ({wanted})"
            " ORDER BY left_rid, right_rid"
        )

    def doubtful(self, most: int) -> list[Row]:
        """The pairs nearest to even odds, of those that no person has judged: the same that the report shows."""
        return self.rows(
            "SELECT left_rid, right_rid, logit, probability, tier FROM decisions WHERE human IS NULL"
            f" ORDER BY abs(logit), left_rid, right_rid LIMIT {most}"
        )

    @cached_property
    def link_model(self) -> dict[str, Any]:
        path = self.file("link_model.json")
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path} is not a readable link model.", do="Run again with --from link.") from error
        return content


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers) or "NULL"
