"""Errors in the birth date. Dates are ISO text (1974-05-06); what is not one is left alone."""

from __future__ import annotations

import calendar
import datetime

from augmentation.errors import register_value
from augmentation.streams import Stream


def _parts(value: str) -> tuple[int, int, int] | None:
    if len(value) != 10 or value[4] != "-" or value[7] != "-":
        return None
    year, month, day = value[:4], value[5:7], value[8:]
    if not (year + month + day).isdecimal() or _date(int(year), int(month), int(day)) is None:
        return None
    return int(year), int(month), int(day)


def _date(year: int, month: int, day: int) -> str | None:
    """The date as text, or None where there is no such day."""
    if not (1850 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    return f"{year:04d}-{month:02d}-{day:02d}"


@register_value("day_off", "BIRTHDATE")
def day_off(value: str, stream: Stream) -> str | None:
    """One or two days early or late."""
    parts = _parts(value)
    if parts is None:
        return None
    days = stream.pick((-2, -1, -1, -1, 1, 1, 1, 2))
    return (datetime.date(*parts) + datetime.timedelta(days=days)).isoformat()


@register_value("month_off", "BIRTHDATE")
def month_off(value: str, stream: Stream) -> str | None:
    """One month early or late."""
    parts = _parts(value)
    if parts is None:
        return None
    months = parts[0] * 12 + parts[1] - 1 + stream.pick((-1, 1))
    return _date(months // 12, months % 12 + 1, parts[2])


@register_value("year_off", "BIRTHDATE")
def year_off(value: str, stream: Stream) -> str | None:
    """One year early or late."""
    parts = _parts(value)
    return _date(parts[0] + stream.pick((-1, 1)), parts[1], parts[2]) if parts else None


@register_value("day_month_swapped", "BIRTHDATE")
def day_month_swapped(value: str, stream: Stream) -> str | None:
    """Day and month in each other's place."""
    parts = _parts(value)
    return _date(parts[0], parts[2], parts[1]) if parts else None


@register_value("date_transposed", "BIRTHDATE")
def date_transposed(value: str, stream: Stream) -> str | None:
    """Two neighbouring digits of the year, the month or the day in the wrong order."""
    if _parts(value) is None:
        return None
    place = stream.pick((2, 2, 2, 5, 8, 8))
    text = value[:place] + value[place + 1] + value[place] + value[place + 2 :]
    parts = _parts(text)
    return _date(*parts) if parts else None


@register_value("date_digit", "BIRTHDATE")
def date_digit(value: str, stream: Stream) -> str | None:
    """One digit wrong."""
    if _parts(value) is None:
        return None
    place = stream.pick((2, 3, 3, 6, 8, 9, 9))
    parts = _parts(value[:place] + str(stream.below(10)) + value[place + 1 :])
    return _date(*parts) if parts else None


@register_value("century", "BIRTHDATE")
def century(value: str, stream: Stream) -> str | None:
    """A year of two digits read in the wrong century."""
    parts = _parts(value)
    if parts is None:
        return None
    return _date(parts[0] - 100 if parts[0] >= 2000 else parts[0] + 100, parts[1], parts[2])


@register_value("january_first", "BIRTHDATE")
def january_first(value: str, stream: Stream) -> str | None:
    """Only the year was known, and the desk put the first of January."""
    return value[:4] + "-01-01" if _parts(value) else None


@register_value("month_first", "BIRTHDATE")
def month_first(value: str, stream: Stream) -> str | None:
    """Only month and year were known, and the desk put the first."""
    return value[:8] + "01" if _parts(value) else None


@register_value("year_only", "BIRTHDATE")
def year_only(value: str, stream: Stream) -> str | None:
    """Nothing but the year."""
    return value[:4] if _parts(value) else None
