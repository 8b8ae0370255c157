"""What a stage is, and what it is handed.

A stage is a function of tables and typed settings to tables: it reads `inputs`, writes `outputs`, returns facts for the
manifest and the last screen (counts and names of columns, never values from records). It knows nothing of manifests,
resuming or the other stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from resolver import database
from resolver.progress import Progress
from resolver.settings import Settings

Facts = dict[str, Any]


@dataclass(frozen=True)
class Base:
    """The last published run, which a new run adds to."""

    run: str
    files: Mapping[str, Path]  # name of the table or file -> where it is kept


@dataclass(frozen=True)
class StageContext:
    settings: Settings
    inputs: Mapping[str, Path]  # name of the table or file -> where it lies
    outputs: Mapping[str, Path]  # name -> temporary name to write to
    scratch: Path  # for spills and intermediate files; removed after the stage
    progress: Progress
    base: Mapping[str, Path] = field(default_factory=dict)  # files of the run that this one adds to; else empty

    def connect(self) -> duckdb.DuckDBPyConnection:
        run = self.settings.run
        return database.connect(memory_gib=run.memory_gib, threads=run.threads, spill=self.scratch)

    def write(self, con: duckdb.DuckDBPyConnection, query: str, output: str, group: int = 122_880) -> int:
        """Write a query to an output as Parquet, in its order; the number of rows.

        `group` is the number of rows that a reader of one row has to read: less for wide tables that are looked into.
        """
        path = self.outputs[output]
        ((rows,),) = con.execute(
            f"COPY ({query}) TO {database.quote(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group})"
        ).fetchall()
        return int(rows)


@dataclass(frozen=True)
class Stage:
    name: str
    does: str  # one line, shown in --help and on the progress bar
    reads: tuple[str, ...]  # outputs of earlier stages
    writes: tuple[str, ...]  # tables (Parquet) or files with their extension
    sections: tuple[str, ...]  # sections of the settings that change its result
    run: Callable[[StageContext], Facts]
    # Files outside the run folder that the stage reads, and anything else that its result hangs on.
    watches: Callable[[Settings], Mapping[str, Any]] = lambda settings: {}
    # Whether what the stage did outside the run folder, of which these facts tell, is still there.
    stands: Callable[[Settings, Facts], bool] = lambda settings, facts: True
    adds: bool = False  # whether it can add to the last published run instead of doing all of it again


def file_of(output: str) -> str:
    """File name of an output in the run folder: a bare name is a table."""
    return output if "." in output else f"{output}.parquet"
