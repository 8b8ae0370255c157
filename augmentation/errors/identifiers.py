"""Errors in the social security number."""

from __future__ import annotations

import itertools

from augmentation.errors import Change, register, register_value
from augmentation.errors.record import Record
from augmentation.streams import Stream

_PLACEHOLDERS = ("999-99-9999", "000-00-0000", "123-45-6789", "111-11-1111", "999-99-0000", "888-88-8888")


def digit_places(value: str) -> list[int]:
    return [place for place, character in enumerate(value) if character.isdecimal()]


def transposed(value: str, stream: Stream) -> str | None:
    """Two neighbouring digits in the wrong order; punctuation between them stays."""
    places = digit_places(value)
    pairs = [(left, right) for left, right in itertools.pairwise(places) if value[left] != value[right]]
    if not pairs:
        return None
    left, right = stream.pick(pairs)
    changed = list(value)
    changed[left], changed[right] = changed[right], changed[left]
    return "".join(changed)


def one_digit(value: str, stream: Stream) -> str | None:
    """One digit wrong."""
    places = digit_places(value)
    if not places:
        return None
    place = stream.pick(places)
    other = (int(value[place]) + stream.between(1, 9)) % 10
    return value[:place] + str(other) + value[place + 1 :]


def _digits(value: str) -> str:
    return "".join(character for character in value if character.isdecimal())


ssn_transposed = register_value("ssn_transposed", "SSN")(transposed)
ssn_digit = register_value("ssn_digit", "SSN")(one_digit)


@register_value("ssn_last4", "SSN")
def ssn_last4(value: str, stream: Stream) -> str | None:
    """Only the last four digits are kept."""
    digits = _digits(value)
    if len(digits) != 9:
        return None
    return stream.pick(("{}", "xxx-xx-{}", "***-**-{}")).format(digits[-4:])


@register_value("ssn_format", "SSN")
def ssn_format(value: str, stream: Stream) -> str | None:
    """Without hyphens, or with spaces for them."""
    digits = _digits(value)
    if len(digits) != 9 or digits == value:
        return None
    return digits if stream.chance(0.8) else f"{digits[:3]} {digits[3:5]} {digits[5:]}"


@register_value("ssn_unhyphenated", "SSN")
def ssn_unhyphenated(value: str, stream: Stream) -> str | None:
    """Without hyphens."""
    return _digits(value)


@register("ssn_relative", "SSN")
def ssn_relative(record: Record, field: str, stream: Stream) -> Change:
    """The number of a spouse or parent, under whom the person is insured."""
    return record.relative("SSN") if record["SSN"] else None


@register_value("ssn_placeholder", "SSN")
def ssn_placeholder(value: str, stream: Stream) -> str | None:
    """A number that fills the field and is nobody's."""
    return stream.pick(_PLACEHOLDERS)
