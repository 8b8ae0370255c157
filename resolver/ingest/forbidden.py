"""What must never help to match: the one list, and the checks that hold readers and tables against it.

These are artefacts of simulated data: values that the simulator shares between facilities, or that no test bed breaks.
No two real hospitals share them, so a result that leans on them says nothing about real data.
"""

from __future__ import annotations

from collections.abc import Iterable

from resolver.errors import UsageError

# Columns of Synthea's patients table. RACE and ETHNICITY go to `slices`, which matching may not open.
PATIENT_COLUMNS = frozenset(
    {
        "LAT",
        "LON",
        "FIPS",
        "COUNTY",
        "DRIVERS",
        "PASSPORT",
        "BIRTHPLACE",
        "PREFIX",
        "MARITAL",
        "RACE",
        "ETHNICITY",
        "DEATHDATE",
        "HEALTHCARE_EXPENSES",
        "HEALTHCARE_COVERAGE",
        "INCOME",
    }
)

# Demographic columns that Synthea's test beds leave unbroken. A source reads them only where its `fields` name them.
ON_REQUEST = frozenset({"MIDDLE", "SUFFIX"})

# Columns of Synthea's event tables: shared ids, serial numbers, money.
EVENT_COLUMNS = frozenset(
    {
        "ENCOUNTER",
        "ORGANIZATION",
        "PROVIDER",
        "PAYER",
        "UDI",
        "BASE_COST",
        "TOTALCOST",
        "BASE_ENCOUNTER_COST",
        "TOTAL_CLAIM_COST",
        "PAYER_COVERAGE",
    }
)

# Survey answers that repeat registration data exactly: the address in clear, the income to the dollar. And the
# percentile of an infant's head circumference: the simulator draws one for life, so it comes back to the digit at every
# visit, which no measurement does; most of its values are one child's alone.
OBSERVATION_CODES = frozenset({"56799-0", "63586-2", "8289-1"})

# Tables of Synthea that hold nothing but such ids and money.
TABLES = frozenset(
    {"organizations", "providers", "payers", "payer_transitions", "claims", "claims_transactions", "patient_expenses"}
)

# Observation categories that are measured, not answered. All others (survey, social history, exam ...) are left out.
MEASURED_CATEGORIES = ("vital-signs", "laboratory")


def refuse(columns: Iterable[str], where: str) -> None:
    """Stop if a Synthea source wants to match on one of these columns."""
    for column in sorted(columns):
        if column.upper() in PATIENT_COLUMNS | EVENT_COLUMNS:
            raise UsageError(
                f"{where}: the column {column} must not be used to match: it is an artefact of the simulator.",
                do="Take it out of fields.",
            )
