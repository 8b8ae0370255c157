"""Values that are not there, and values that a desk types where it has none."""

from __future__ import annotations

from augmentation.errors import FIELDS, Change, register
from augmentation.errors.record import Record
from augmentation.streams import Stream

DEFAULTS = {
    "FIRST": ("UNKNOWN", "BABY BOY", "BABY GIRL", "BABY", "JOHN", "JANE", "TEST", "UNK"),
    "MIDDLE": ("NMN", "NONE", "UNKNOWN", "X"),
    "LAST": ("UNKNOWN", "DOE", "UNK", "TEST", "NONE"),
    "MAIDEN": ("UNKNOWN", "NONE", "SAME"),
    "SUFFIX": ("NONE",),
    "BIRTHDATE": ("1900-01-01", "1901-01-01", "1800-01-01", "1970-01-01"),
    "GENDER": ("U",),
    "SSN": ("999-99-9999", "000-00-0000", "123-45-6789", "111-11-1111"),
    "ADDRESS": ("UNKNOWN", "HOMELESS", "GENERAL DELIVERY", "NO ADDRESS", "UNKNOWN STREET"),
    "CITY": ("UNKNOWN", "NONE"),
    "ZIP": ("00000", "99999"),
    "PHONE": ("000-000-0000", "999-999-9999"),
    "EMAIL": ("none@none.com", "declined@noemail.com", "noemail@noemail.com"),
    "MEMBER_ID": ("UNKNOWN", "SELFPAY", "NONE", "000000000"),
}


@register("missing", *FIELDS)
def missing(record: Record, field: str, stream: Stream) -> Change:
    """Nothing there."""
    return {field: None} if record[field] else None


def _default(record: Record, field: str, stream: Stream) -> Change:
    choices = DEFAULTS[field]
    if field == "FIRST":
        # A newborn has no name yet; BABY GIRL stands for a girl.
        wrong = {"M": ("BABY GIRL", "JANE"), "F": ("BABY BOY", "JOHN")}.get(record["GENDER"] or "", ())
        choices = tuple(choice for choice in choices if choice not in wrong)
    return stream.pick(choices) if record[field] else None


default = register("default", *FIELDS)(_default)
