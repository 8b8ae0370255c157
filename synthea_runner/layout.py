"""Synthea's tables: the columns of each, in order, and the type that each column has in Parquet.

This is the layout of Synthea 3.3.0. Table and column names are Synthea's own.
Codes are text although many look like numbers, because others (LOINC's 8302-2) do not, and because leading zeros count.
This file knows nothing of files or of how values are read.
"""

from __future__ import annotations

TEXT = "VARCHAR"
DAY = "DATE"
TIME = "TIMESTAMP"  # in UTC
MONEY = "DECIMAL(18,2)"
COUNT = "BIGINT"
NUMBER = "DOUBLE"
SCORE = "DECIMAL(18,9)"  # a mean whose last digits depend on the order in which threads add


def _columns(text: str) -> dict[str, str]:
    """`NAME`, `NAME:type` separated by spaces; text where no type is given."""
    types = {"day": DAY, "time": TIME, "money": MONEY, "count": COUNT, "number": NUMBER, "score": SCORE, "text": TEXT}
    pairs = (entry.partition(":") for entry in text.split())
    return {name: types[kind or "text"] for name, _, kind in pairs}


LAYOUT: dict[str, dict[str, str]] = {
    "patients": _columns(
        "Id BIRTHDATE:day DEATHDATE:day SSN DRIVERS PASSPORT PREFIX FIRST MIDDLE LAST SUFFIX MAIDEN MARITAL RACE "
        "ETHNICITY GENDER BIRTHPLACE ADDRESS CITY STATE COUNTY FIPS ZIP LAT:number LON:number "
        "HEALTHCARE_EXPENSES:money HEALTHCARE_COVERAGE:money INCOME:money"
    ),
    "encounters": _columns(
        "Id START:time STOP:time PATIENT ORGANIZATION PROVIDER PAYER ENCOUNTERCLASS CODE DESCRIPTION "
        "BASE_ENCOUNTER_COST:money TOTAL_CLAIM_COST:money PAYER_COVERAGE:money REASONCODE REASONDESCRIPTION"
    ),
    "allergies": _columns(
        "START:day STOP:day PATIENT ENCOUNTER CODE SYSTEM DESCRIPTION TYPE CATEGORY "
        "REACTION1 DESCRIPTION1 SEVERITY1 REACTION2 DESCRIPTION2 SEVERITY2"
    ),
    "careplans": _columns("Id START:day STOP:day PATIENT ENCOUNTER CODE DESCRIPTION REASONCODE REASONDESCRIPTION"),
    "conditions": _columns("START:day STOP:day PATIENT ENCOUNTER SYSTEM CODE DESCRIPTION"),
    "devices": _columns("START:time STOP:time PATIENT ENCOUNTER CODE DESCRIPTION UDI"),
    "imaging_studies": _columns(
        "Id DATE:time PATIENT ENCOUNTER SERIES_UID BODYSITE_CODE BODYSITE_DESCRIPTION MODALITY_CODE "
        "MODALITY_DESCRIPTION INSTANCE_UID SOP_CODE SOP_DESCRIPTION PROCEDURE_CODE"
    ),
    "immunizations": _columns("DATE:time PATIENT ENCOUNTER CODE DESCRIPTION BASE_COST:money"),
    "medications": _columns(
        "START:time STOP:time PATIENT PAYER ENCOUNTER CODE DESCRIPTION BASE_COST:money PAYER_COVERAGE:money "
        "DISPENSES:count TOTALCOST:money REASONCODE REASONDESCRIPTION"
    ),
    "observations": _columns("DATE:time PATIENT ENCOUNTER CATEGORY CODE DESCRIPTION VALUE UNITS TYPE"),
    "procedures": _columns(
        "START:time STOP:time PATIENT ENCOUNTER SYSTEM CODE DESCRIPTION BASE_COST:money REASONCODE REASONDESCRIPTION"
    ),
    "supplies": _columns("DATE:day PATIENT ENCOUNTER CODE DESCRIPTION QUANTITY:count"),
    "organizations": _columns(
        "Id NAME ADDRESS CITY STATE ZIP LAT:number LON:number PHONE REVENUE:money UTILIZATION:count"
    ),
    "providers": _columns(
        "Id ORGANIZATION NAME GENDER SPECIALITY ADDRESS CITY STATE ZIP LAT:number LON:number "
        "ENCOUNTERS:count PROCEDURES:count"
    ),
    "payers": _columns(
        "Id NAME OWNERSHIP ADDRESS CITY STATE_HEADQUARTERED ZIP PHONE AMOUNT_COVERED:money AMOUNT_UNCOVERED:money "
        "REVENUE:money COVERED_ENCOUNTERS:count UNCOVERED_ENCOUNTERS:count COVERED_MEDICATIONS:count "
        "UNCOVERED_MEDICATIONS:count COVERED_PROCEDURES:count UNCOVERED_PROCEDURES:count "
        "COVERED_IMMUNIZATIONS:count UNCOVERED_IMMUNIZATIONS:count UNIQUE_CUSTOMERS:count QOLS_AVG:score "
        "MEMBER_MONTHS:count"
    ),
    "payer_transitions": _columns(
        "PATIENT MEMBERID START_DATE:time END_DATE:time PAYER SECONDARY_PAYER PLAN_OWNERSHIP OWNER_NAME"
    ),
    "patient_expenses": _columns(
        "PATIENT_ID YEAR:time PAYER_ID HEALTHCARE_EXPENSES:money INSURANCE_COSTS:money COVERED_COSTS:money"
    ),
    "claims": _columns(
        "Id PATIENTID PROVIDERID PRIMARYPATIENTINSURANCEID SECONDARYPATIENTINSURANCEID DEPARTMENTID "
        "PATIENTDEPARTMENTID DIAGNOSIS1 DIAGNOSIS2 DIAGNOSIS3 DIAGNOSIS4 DIAGNOSIS5 DIAGNOSIS6 DIAGNOSIS7 DIAGNOSIS8 "
        "REFERRINGPROVIDERID APPOINTMENTID CURRENTILLNESSDATE:time SERVICEDATE:time SUPERVISINGPROVIDERID "
        "STATUS1 STATUS2 STATUSP OUTSTANDING1:money OUTSTANDING2:money OUTSTANDINGP:money "
        "LASTBILLEDDATE1:time LASTBILLEDDATE2:time LASTBILLEDDATEP:time "
        "HEALTHCARECLAIMTYPEID1 HEALTHCARECLAIMTYPEID2"
    ),
    "claims_transactions": _columns(
        "ID CLAIMID CHARGEID PATIENTID TYPE AMOUNT:money METHOD FROMDATE:time TODATE:time PLACEOFSERVICE "
        "PROCEDURECODE MODIFIER1 MODIFIER2 DIAGNOSISREF1 DIAGNOSISREF2 DIAGNOSISREF3 DIAGNOSISREF4 UNITS:count "
        "DEPARTMENTID NOTES UNITAMOUNT:money TRANSFEROUTID TRANSFERTYPE PAYMENTS:money ADJUSTMENTS:money "
        "TRANSFERS:money OUTSTANDING:money APPOINTMENTID LINENOTE PATIENTINSURANCEID FEESCHEDULEID PROVIDERID "
        "SUPERVISINGPROVIDERID"
    ),
}

# Synthea appends digits to every name (Abel832), which would identify everyone.
DIGITS_COME_OFF: dict[str, tuple[str, ...]] = {
    "patients": ("FIRST", "MIDDLE", "LAST", "MAIDEN"),
    "providers": ("NAME",),
    "payer_transitions": ("OWNER_NAME",),
}

# Text that stands for nothing, besides no text at all: a payer without customers has a mean of 0/0.
NOTHING: dict[str, tuple[str, ...]] = {"payers": ("NaN",)}

# Rows are sorted by the first of these that the table has, then by all other columns: a patient's rows lie together,
# which also packs best.
_FIRST_IN_ORDER = ("PATIENT", "PATIENTID", "PATIENT_ID", "Id", "ID")


def in_order(columns: tuple[str, ...]) -> tuple[str, ...]:
    """All columns, those that rows are sorted by first in front."""
    lead = next((name for name in _FIRST_IN_ORDER if name in columns), columns[0])
    return (lead, *(name for name in columns if name != lead))
