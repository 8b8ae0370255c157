"""Golden values of persons that a correction made: a plain vote over their records, until the next run.

The golden stage weighs far more than this does, but it needs the whole run; a correction must take effect at once.
"""

from __future__ import annotations

from resolver.mpi.schema import FIELDS
from resolver.tables import PERSON_FIELDS


def vote(members: str, key: str) -> str:
    """SQL for `key` and one column per field: the value that most records have, the latest of them where it is a tie.

    `members` names a relation of `key` and record_id. Values are those of the view `records`.
    """
    columns = ", ".join(f"r.{name}::VARCHAR AS {name}" for name in FIELDS)
    best = ", ".join(f"max(value) FILTER (field = '{name}')::{type_} AS {name}" for name, type_, _ in PERSON_FIELDS)
    return f"""
        WITH long AS (
            UNPIVOT (SELECT m.{key}, r.updated_at, {columns} FROM {members} m JOIN records r USING (record_id))
            ON {", ".join(FIELDS)} INTO NAME field VALUE value),
        counted AS (
            SELECT {key}, field, value, count(*) AS records, max(updated_at) AS latest FROM long GROUP BY ALL),
        best AS (
            FROM counted QUALIFY row_number() OVER (
                PARTITION BY {key}, field ORDER BY records DESC, latest DESC NULLS LAST, value) = 1)
        SELECT {key}, {best} FROM (SELECT DISTINCT {key} FROM {members})
        LEFT JOIN best USING ({key}) GROUP BY {key}"""
