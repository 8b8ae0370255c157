"""What a person may choose about a test bed, one class per part, and how a config or preset is read.

Knows nothing about how any of it is carried out. Rates are shares from 0 to 1 unless the field says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from resolver.database import cores, memory_gib
from resolver.settings.base import Section


class PopulationSettings(Section):
    dir: Path | None = None
    """Folder with the clean population: one Parquet file per Synthea table."""


class SegmentSettings(Section):
    facilities: int = Field(default=5, ge=1)
    """How many facilities there are."""

    visited: tuple[float, ...] = (0.40, 0.30, 0.15, 0.10, 0.05)
    """Shares of persons who visit 1, 2, 3, ... facilities; they add up to 1."""

    split: Literal["primary_first", "random", "last_move", "moves"] = "primary_first"
    """How a person's encounters are spread over the facilities visited. primary_first: the first share in time at the
    primary facility, the rest in turn over the others. random: each anywhere. moves: a further facility each time that
    the person moves. last_move: in turn over all but the last, and after the last move all there. Synthea's persons
    keep one address, so moves are drawn, uniformly over the years in which the person was seen."""

    primary_share: float = Field(default=0.60, gt=0, le=1)
    """primary_first: share of the encounters, first in time, that the primary facility has."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if abs(sum(self.visited) - 1) > 1e-6:
            raise ValueError(f"visited must add up to 1, not {sum(self.visited):g}")
        if len(self.visited) > self.facilities:
            raise ValueError("visited has more entries than there are facilities")
        return self


class LookalikeSettings(Section):
    share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of persons made to look like another person."""

    kinds: dict[str, float] = Field(
        default={"twin": 1.0, "sibling": 1.0, "parent_child": 1.0, "household_move": 0.5, "namesake": 0.5}
    )
    """Weight of each kind of look-alike."""


class DuplicateSettings(Section):
    least: float = Field(default=0.0, ge=0, le=1)
    """Lowest share of a facility's persons that it has registered twice; each facility draws its own."""

    most: float = Field(default=0.0, ge=0, le=1)
    """Highest such share."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.least > self.most:
            raise ValueError("least must not be above most")
        return self


class CountSettings(Section):
    share: float = Field(gt=0, le=1)
    """Share of records that this line is about."""

    least: int = Field(ge=0)
    """Fewest errors on such a record."""

    most: int = Field(ge=0)
    """Most errors on such a record."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.least > self.most:
            raise ValueError("least must not be above most")
        return self


class FamilySettings(Section):
    weight: float = Field(ge=0)
    """How often this family is drawn, next to the other families."""

    kinds: dict[str, float | dict[str, float]] = Field(min_length=1)
    """Weight of each kind in the family: a number for all of the kind's own fields alike, or field by field."""

    idle: float = Field(default=0.0, ge=0, lt=1)
    """Share of the draws of this family that come to nothing: a protocol may count what it tried."""


class ErrorSettings(Section):
    counts: tuple[CountSettings, ...] = ()
    """How many errors a record has: shares of records with so many. Records not spoken for have none."""

    not_applicable: Literal["redraw", "skip"] = "redraw"
    """When an error that was drawn can't be made (a missing value can't be misspelt). redraw: draw another, so that the
    counts hold. skip: let it go, so that the counts say how many were tried."""

    repeats: bool = True
    """Whether one kind may strike one field of a record more than once."""

    families: dict[str, FamilySettings] = Field(default={})
    """Families of errors with their weights."""

    missing: dict[str, float] = Field(default={})
    """Share of records on which a field was never filled in, by column."""

    defaults: dict[str, float] = Field(default={})
    """Share of records on which a desk typed its own default (UNKNOWN, 01/01/1900, 999-99-9999), by column."""

    truncate_at: int = Field(default=10, ge=3)
    """Characters that the kind `truncated` leaves of a name."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if sum(count.share for count in self.counts) > 1 + 1e-6:
            raise ValueError("the shares in counts add up to more than 1")
        return self


class ContactSettings(Section):
    enabled: bool = False
    """Whether patients have the columns PHONE, EMAIL and MEMBER_ID."""

    phone: float = Field(default=0.95, ge=0, le=1)
    """Share of persons with a telephone."""

    shared_phone: float = Field(default=0.25, ge=0, le=1)
    """Share of persons in a household of two or more who give the household's number."""

    email: float = Field(default=0.65, ge=0, le=1)
    """Share of persons with an e-mail address."""

    shared_email: float = Field(default=0.08, ge=0, le=1)
    """Share of persons in a household of two or more who give the household's e-mail address."""

    member_id: float = Field(default=0.90, ge=0, le=1)
    """Share of persons with an insurance member number."""

    shared_member_id: float = Field(default=0.30, ge=0, le=1)
    """Share of persons in a household of two or more who are on the household's insurance: one number, own suffix."""

    changed_phone: float = Field(default=0.15, ge=0, le=1)
    """Share of records with another number than the person has now: from before a move, say."""

    changed_email: float = Field(default=0.08, ge=0, le=1)
    """The same for e-mail addresses."""

    changed_member_id: float = Field(default=0.30, ge=0, le=1)
    """The same for member numbers: from before a change of job or payer."""


class ClinicalSettings(Section):
    measurement_noise: bool = False
    """Whether measurements get measurement error and rounding, by kind of measurement."""

    coding_variants: float = Field(default=0.0, ge=0, le=1)
    """Share of the events for which another code is known that get it, coarser or a sibling. A doctor keeps to a choice
    for a patient, a laboratory or a vaccine cupboard for all."""

    never_entered: float = Field(default=0.0, ge=0, le=1)
    """Share of events that a facility never entered. Of conditions, drugs, allergies, care plans and devices: share of
    those a patient has, with all mentions."""

    shifted_dates: float = Field(default=0.0, ge=0, le=1)
    """Share of times of entry that are off by days, with all that a table holds of the encounter at that time."""

    shift_days: int = Field(default=3, ge=1)
    """Most days that a shifted date is off."""

    max_encounters: int | None = Field(default=None, ge=1)
    """Most encounters that a record keeps, with their events. Default: all."""

    max_events: int | None = Field(default=None, ge=1)
    """Most events that a record keeps in a table. Default: all."""


class FacilitySettings(Section):
    errors: float = Field(default=1.0, ge=0)
    """Multiplies the number of errors on this facility's records: 1.5 is half as many again."""

    missing: float = Field(default=1.0, ge=0)
    """Multiplies this facility's shares of missing values and of defaults."""

    case: Literal["upper", "title", "as_is"] = "as_is"
    """How the facility writes names and addresses. This is its house style, not an error."""

    words: bool = False
    """The facility has no codes: it writes words, abbreviations and brand names instead."""

    clinical: float = Field(default=1.0, ge=0)
    """Multiplies this facility's rates of clinical noise, and its errors of measurement."""


class AugmentSettings(Section):
    preset: str | None = None
    """The preset that this config starts from; what the config says goes before it."""

    out: Path | None = None
    """Folder of the test bed: facility_N/<table>.parquet, truth/<table>.parquet, summary.json."""

    seed: int = 0
    """Seed of everything that draws at random."""

    threads: int = Field(default_factory=cores, ge=1)
    """Threads to use. The content does not depend on it. Default: all cores that the process may use."""

    memory_gib: float = Field(default_factory=lambda: round(min(memory_gib() * 0.6, 1.2), 2), gt=0.1)
    """Memory that the database may use, in GiB; past it, work spills to disk. Default: 1.2, or 60 % of what a
    small machine has."""

    population: PopulationSettings = PopulationSettings()
    segment: SegmentSettings = SegmentSettings()
    lookalikes: LookalikeSettings = LookalikeSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    errors: ErrorSettings = ErrorSettings()
    contact: ContactSettings = ContactSettings()
    clinical: ClinicalSettings = ClinicalSettings()

    every_facility: FacilitySettings = FacilitySettings()
    """What all facilities have in common that `facilities` says nothing about."""

    facilities: dict[int, FacilitySettings] = Field(default={})
    """What is particular about facility 1, 2, 3, ...; the others are as `every_facility` says."""

    def facility(self, number: int) -> FacilitySettings:
        return self.facilities.get(number, self.every_facility)
