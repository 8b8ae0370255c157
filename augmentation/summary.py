"""What a test bed holds, counted as it is written: records, persons, true pairs, errors and missing values.

Counts only: no value of a record is kept. Knows nothing of how the test bed was made.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmentation.errors import FIELDS
from resolver import files

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import RenderableType


class Summary:
    def __init__(self) -> None:
        self.records = self.persons = self.true_pairs = 0
        self.records_by_facility: Counter[int] = Counter()
        self.missing: Counter[str] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()  # field, kind
        self.facts: dict[str, Any] = {}
        """What the steps counted for themselves, by step."""

    def add_patients(self, patients: pa.Table) -> None:
        for name in FIELDS:
            if name in patients.column_names:
                self.missing[name] += patients.column(name).null_count

    def add_truth(self, truth: pa.Table) -> None:
        """All records of some persons; a person's records must come in one call."""
        records = truth.column("person_id").value_counts().to_pylist()
        self.records += truth.num_rows
        self.persons += len(records)
        self.true_pairs += sum(one["counts"] * (one["counts"] - 1) // 2 for one in records)
        for one in truth.column("facility").value_counts().to_pylist():
            self.records_by_facility[one["values"]] += one["counts"]

    def add_errors(self, errors: pa.Table) -> None:
        for row in errors.group_by(["field", "kind"]).aggregate([([], "count_all")]).to_pylist():
            self.errors[row["field"], row["kind"]] += row["count_all"]

    def as_dict(self) -> dict[str, Any]:
        by_field: dict[str, dict[str, int]] = {}
        for (field, kind), count in sorted(self.errors.items()):
            by_field.setdefault(field, {})[kind] = count
        return {
            "records": self.records,
            "persons": self.persons,
            "true_pairs": self.true_pairs,
            "records_by_facility": {str(number): count for number, count in sorted(self.records_by_facility.items())},
            "missing": {name: self.missing[name] for name in FIELDS if name in self.missing},
            "errors": by_field,
            **self.facts,
        }

    def write(self, path: Path) -> None:
        files.write_json(path, self.as_dict())

    def table(self) -> RenderableType:
        """For the terminal: one line per field, and the totals above."""
        from rich.table import Table

        by_field: dict[str, Counter[str]] = {}
        for (field, kind), count in self.errors.items():
            by_field.setdefault(field, Counter())[kind] += count
        title = f"{self.records:,} records of {self.persons:,} persons, {self.true_pairs:,} true pairs"
        table = Table("field", title=title, title_justify="left")
        table.add_column("missing", justify="right")
        table.add_column("errors", justify="right")
        table.add_column("kinds of error")
        for name in FIELDS:
            if name not in self.missing and name not in by_field:
                continue
            kinds = by_field.get(name, Counter())
            table.add_row(
                name,
                f"{self.missing[name] / max(1, self.records):.1%}",
                f"{sum(kinds.values()):,}",
                ", ".join(
                    f"{kind} {count:,}" for kind, count in sorted(kinds.items(), key=lambda one: (-one[1], one[0]))
                ),
            )
        return table
