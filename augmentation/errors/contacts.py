"""Errors in telephone number, e-mail address and insurance member number, and numbers that changed with life."""

from __future__ import annotations

import re

from augmentation.errors import Change, register, register_value
from augmentation.errors.identifiers import one_digit, transposed
from augmentation.errors.record import Record
from augmentation.streams import Stream

PROVIDERS = ("gmail.com", "gmail.com", "gmail.com", "yahoo.com", "yahoo.com", "hotmail.com", "outlook.com", "aol.com")
_SLIPS = {
    "gmail.com": ("gmial.com", "gmail.co", "gmai.com", "gmail.con"),
    "yahoo.com": ("yaho.com", "yahoo.co", "ymail.com"),
    "hotmail.com": ("hotmial.com", "hotmail.co", "hotmai.com"),
    "outlook.com": ("outlok.com", "outlook.co"),
    "aol.com": ("aol.co", "aol.con"),
}
_MEMBER = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def phone_number(area: str, stream: Stream) -> str:
    """An area code with seven digits that could be a number."""
    return f"{area}-{stream.between(200, 999)}-{stream.below(10000):04d}"


def member_number(stream: Stream) -> str:
    """Three letters and nine digits, as payers print them."""
    return "".join(stream.pick(_MEMBER) for _ in range(3)) + f"{stream.below(10**9):09d}"


phone_transposed = register_value("phone_transposed", "PHONE")(transposed)
phone_digit = register_value("phone_digit", "PHONE")(one_digit)
member_transposed = register_value("member_transposed", "MEMBER_ID")(transposed)
member_digit = register_value("member_digit", "MEMBER_ID")(one_digit)


@register_value("phone_format", "PHONE")
def phone_format(value: str, stream: Stream) -> str | None:
    """Another way to write the number."""
    digits = re.sub(r"\D", "", value)
    if len(digits) != 10:
        return None
    form = stream.pick(("{}{}{}", "({}) {}-{}", "{}.{}.{}", "1-{}-{}-{}", "+1 {} {} {}"))
    return form.format(digits[:3], digits[3:6], digits[6:])


@register_value("phone_no_area", "PHONE")
def phone_no_area(value: str, stream: Stream) -> str | None:
    """Without the area code."""
    digits = re.sub(r"\D", "", value)
    return f"{digits[3:6]}-{digits[6:]}" if len(digits) == 10 else None


@register_value("phone_placeholder", "PHONE")
def phone_placeholder(value: str, stream: Stream) -> str | None:
    """A number that fills the field and is nobody's."""
    return stream.pick(("000-000-0000", "999-999-9999", "555-555-5555", "111-111-1111"))


@register_value("phone_changed", "PHONE")
def phone_changed(value: str, stream: Stream) -> str | None:
    """Another number: the one from before a move, or a mobile in place of the landline."""
    digits = re.sub(r"\D", "", value)
    return phone_number(digits[:3] if len(digits) == 10 else "617", stream)


@register_value("email_domain", "EMAIL")
def email_domain(value: str, stream: Stream) -> str | None:
    """The provider's name mistyped."""
    user, _, domain = value.partition("@")
    slips = _SLIPS.get(domain)
    return f"{user}@{stream.pick(slips)}" if slips else None


@register_value("email_changed", "EMAIL")
def email_changed(value: str, stream: Stream) -> str | None:
    """Another address of the same person: another provider, or a new number after the name."""
    user, _, domain = value.partition("@")
    user = re.sub(r"\d+$", "", user)
    return f"{user}{stream.between(1, 99)}@{stream.pick(PROVIDERS)}" if domain else None


@register_value("member_suffix", "MEMBER_ID")
def member_suffix(value: str, stream: Stream) -> str | None:
    """With the dependant's number after it, or without the one that it has."""
    found = re.search(r"-\d\d$", value)
    return value[: found.start()] if found else f"{value}-0{stream.between(1, 4)}"


@register_value("member_changed", "MEMBER_ID")
def member_changed(value: str, stream: Stream) -> str | None:
    """The number of another insurance, from before or after a change of job."""
    return member_number(stream)


def _relatives(name: str, field: str) -> None:
    @register(name, field)
    def change(record: Record, field: str, stream: Stream) -> Change:
        return record.relative(field) if record[field] else None


_relatives("phone_relative", "PHONE")
_relatives("email_relative", "EMAIL")
_relatives("member_relative", "MEMBER_ID")
