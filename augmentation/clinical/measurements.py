"""How a facility measures: the error of each reading, the bias of its instrument, and what it rounds to.

    measurements.csv   code, what, relative and absolute error (standard deviations of one reading), the steps that
                       facilities round to, the least and most that is ever written down

The errors are those of instruments and of careful staff: shoes and clothes for height and weight, a cuff for blood
pressure, the analyser's imprecision for laboratory values. Units stay as they are. Knows nothing of rows.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from augmentation import draws

HEIGHT, WEIGHT, BODY_MASS_INDEX = "8302-2", "29463-7", "39156-5"

# Of an instrument's error, so much is the same for all readings of a facility.
BIAS = 0.5

# A laboratory value that the table does not name: its relative error, and the step it is rounded to.
OTHER_RELATIVE, OTHER_STEP = 0.04, 0.1


class Measurement(NamedTuple):
    code: str
    relative: float
    absolute: float
    steps: tuple[float, ...]
    least: float
    most: float


class Instrument(NamedTuple):
    """How one facility takes one measurement."""

    code: str
    relative: float
    absolute: float
    relative_bias: float
    absolute_bias: float
    step: float
    least: float
    most: float


@cache
def measurements() -> dict[str, Measurement]:
    with (Path(__file__).parent / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["code"]: Measurement(
                row["code"],
                float(row["relative"]),
                float(row["absolute"]),
                tuple(map(float, row["steps"].split("|"))),
                float(row["least"]),
                float(row["most"]),
            )
            for row in csv.DictReader(file)
        }


def instruments(facility: int, factor: float, seed: int) -> list[Instrument]:
    """The instruments of a facility. `factor` multiplies their errors."""
    found = []
    for one in measurements().values():
        chosen = draws.uniform_of(seed, "step", facility, one.code)
        # Uniform with the standard deviation 1: an instrument is a little off, never far.
        bias = (draws.uniform_of(seed, "bias", facility, one.code) - 0.5) * 12**0.5 * BIAS * factor
        found.append(
            Instrument(
                one.code,
                one.relative * factor,
                one.absolute * factor,
                one.relative * bias,
                one.absolute * bias,
                one.steps[int(chosen * len(one.steps))],
                one.least,
                one.most,
            )
        )
    return found


DECIMALS = (0, 1, 2)


def decimals(step: float) -> int:
    """How many decimals a value rounded to this step is written with."""
    if step == int(step):
        return 0
    return 2 if step < 0.1 else 1
