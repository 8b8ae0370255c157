"""Errors in how a value is written down: case, spaces, punctuation, damaged encoding; and in the one-letter sex."""

from __future__ import annotations

from augmentation.errors import NAMES, register_value
from augmentation.streams import Stream

_MARKS = "-'.,"


@register_value("case", *NAMES, "ADDRESS", "CITY", "EMAIL")
def case(value: str, stream: Stream) -> str | None:
    """All capitals, all small, or capitals at the start of words."""
    forms = [form for form in (value.upper(), value.lower(), value.title()) if form != value]
    return stream.pick(forms) if forms else None


@register_value("spaces", *NAMES, "ADDRESS", "CITY", "SSN", "PHONE", "MEMBER_ID")
def spaces(value: str, stream: Stream) -> str | None:
    """A space before, after or within, or one left out."""
    way = stream.below(4)
    if way == 0:
        return " " + value
    if way == 1:
        return value + " "
    if " " in value:
        return value.replace(" ", "  ", 1) if way == 2 else value.replace(" ", "", 1)
    place = stream.between(1, max(1, len(value) - 1))
    return f"{value[:place]} {value[place:]}"


@register_value("punctuation", *NAMES, "ADDRESS", "CITY")
def punctuation(value: str, stream: Stream) -> str | None:
    """Marks left out, or a stray one after the value."""
    if any(mark in value for mark in _MARKS):
        form = stream.pick(("", " "))
        for mark in _MARKS:
            value = value.replace(mark, form)
        return value
    return value + stream.pick((".", ",", "'", "*", "-"))


@register_value("encoding", *NAMES, "CITY")
def encoding(value: str, stream: Stream) -> str | None:
    """Letters beyond ASCII damaged on the way between two systems."""
    if value.isascii():
        return None
    way = stream.below(3)
    if way == 0:
        return value.encode().decode("cp1252", errors="ignore")
    mark = "?" if way == 1 else "\ufffd"
    return "".join(character if character.isascii() else mark for character in value)


@register_value("sex_unknown", "GENDER")
def sex_unknown(value: str, stream: Stream) -> str | None:
    """Unknown or other."""
    return stream.pick(("U", "U", "O"))


@register_value("sex_flipped", "GENDER")
def sex_flipped(value: str, stream: Stream) -> str | None:
    """The other one."""
    return {"F": "M", "M": "F"}.get(value)
