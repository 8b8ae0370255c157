"""Errors in how a name is given, split and kept: nicknames, swapped and double names, lost accents, short fields."""

from __future__ import annotations

import re
import unicodedata

from augmentation.errors import NAMES, Change, register, register_value
from augmentation.errors.nicknames import table
from augmentation.errors.record import Record
from augmentation.errors.spelling import like
from augmentation.streams import Stream

# Ways in which other scripts and alphabets are written in English letters: groups of forms of one name or part of it.
_SAME_NAME = (
    "MOHAMMED MOHAMMAD MUHAMMAD MOHAMED MUHAMMED MOHAMAD",
    "AHMED AHMAD AHMET",
    "HUSSEIN HUSSAIN HUSAYN HOSSEIN",
    "YOUSSEF YUSUF YOUSEF YOSEF YUSEF",
    "ABDALLAH ABDULLAH ABDOULAYE",
    "FATIMA FATIMAH FATMA",
    "AISHA AYESHA AICHA",
    "OMAR UMAR OMER",
    "IBRAHIM EBRAHIM",
    "KHADIJA KHADIJAH",
    "CHANG ZHANG CHEUNG JANG",
    "WANG WONG ONG",
    "LI LEE LY",
    "LIU LAU LIEW",
    "CHEN CHAN TAN",
    "HUANG WONG HWANG",
    "XU HSU HUI",
    "ZHOU CHOU CHOW",
    "ZHAO CHAO CHIU",
    "NG WU GOH",
    "PARK PAK BAK",
    "CHOI CHOE CHOY",
    "YUN YOON",
    "NGUYEN NGUYIN",
    "DMITRI DMITRY DIMITRI DMITRIY",
    "SERGEI SERGEY SERGUEI",
    "YURI YURY IOURI",
    "ALEKSANDR ALEXANDR ALEXANDER",
    "YEKATERINA EKATERINA KATERINA",
    "TATIANA TATYANA",
    "YEVGENY EVGENY EVGENI",
    "MIKHAIL MICHAEL",
    "GARCIA GARZIA",
    "HERNANDEZ FERNANDEZ",
    "GONZALEZ GONZALES",
    "RODRIGUEZ RODRIGUES",
    "VELASQUEZ VELAZQUEZ",
    "CHAVEZ CHAVES",
    "JIMENEZ XIMENEZ GIMENEZ",
    "VARGAS BARGAS",
    "YOLANDA JOLANDA",
    "MUELLER MÜLLER MULLER MILLER",
    "SCHROEDER SCHRÖDER SCHRODER",
    "KOENIG KÖNIG KONIG",
    "BJORN BJÖRN BJOERN",
    "JOERG JÖRG JORG",
    "KATARZYNA KATHARINA KATERINA",
)
_PARTS = (
    (r"SKI\b", "SKY"),
    (r"SKY\b", "SKI"),
    (r"WICZ\b", "VICH"),
    (r"VICH\b", "WICZ"),
    (r"OV\b", "OFF"),
    (r"OFF\b", "OV"),
    (r"EZ\b", "ES"),
    (r"Ü", "UE"),
    (r"Ö", "OE"),
    (r"Ä", "AE"),
    (r"ß", "SS"),
    (r"Ñ", "NY"),
    (r"Ø", "OE"),
    (r"Å", "AA"),
    (r"\bAL-", "EL-"),
    (r"KH", "H"),
    (r"TS", "C"),
    (r"\bYE", "E"),
    (r"ZH", "J"),
)
_FORMS = {name: group.split() for group in _SAME_NAME for name in group.split()}
_SUFFIXES = ("JR", "SR", "II", "III")
_GENERATIONS = frozenset((*_SUFFIXES, "IV", "JR.", "SR."))


def without_accents(text: str) -> str:
    """The text with its accents gone, letter by letter."""
    plain = unicodedata.normalize("NFD", text.replace("ß", "ss").replace("ø", "o").replace("Ø", "O"))
    return "".join(character for character in plain if not unicodedata.combining(character))


@register_value("nickname", "FIRST")
def nickname(value: str, stream: Stream) -> str | None:
    """The short form for the full name, or the full name for the short form."""
    words = value.split(" ")
    forms = table().get(without_accents(words[0]).upper())
    return like(value, " ".join([stream.pick(forms), *words[1:]])) if forms else None


@register("swapped", "FIRST", "LAST")
def swapped(record: Record, field: str, stream: Stream) -> Change:
    """First and last name in each other's field."""
    first, last = record["FIRST"], record["LAST"]
    return {"FIRST": last, "LAST": first} if first and last else None


@register("middle_swapped", "FIRST", "MIDDLE")
def middle_swapped(record: Record, field: str, stream: Stream) -> Change:
    """First and middle name in each other's field."""
    first, middle = record["FIRST"], record["MIDDLE"]
    return {"FIRST": middle, "MIDDLE": first} if first and middle and len(middle) > 1 else None


@register("middle_as_first", "FIRST")
def middle_as_first(record: Record, field: str, stream: Stream) -> Change:
    """The person goes by the middle name, and the first one is not asked for."""
    middle = record["MIDDLE"]
    return {"FIRST": middle, "MIDDLE": None} if middle and len(middle) > 1 else None


@register("middle_in_first", "FIRST")
def middle_in_first(record: Record, field: str, stream: Stream) -> Change:
    """Both given names in the field for the first."""
    first, middle = record["FIRST"], record["MIDDLE"]
    return {"FIRST": f"{first} {middle}", "MIDDLE": None} if first and middle else None


@register_value("initial", "FIRST", "MIDDLE")
def initial(value: str, stream: Stream) -> str | None:
    """Only the first letter."""
    return value[0]


@register("other_middle", "MIDDLE")
def other_middle(record: Record, field: str, stream: Stream) -> Change:
    """Another middle name: the person has several, or the desk took a confirmation or saint's name."""
    value, names = record["MIDDLE"], record.world.middle_names
    return like(value, stream.pick(names)) if value and names else None


@register("maiden_name", "LAST")
def maiden_name(record: Record, field: str, stream: Stream) -> Change:
    """Registered under the family name at birth."""
    last, maiden = record["LAST"], record["MAIDEN"]
    return {"LAST": maiden} if last and maiden else None


@register("married_name", "LAST")
def married_name(record: Record, field: str, stream: Stream) -> Change:
    """Registered after a marriage under another family name; the one before becomes the maiden name."""
    last, names = record["LAST"], record.world.family_names
    if not last or not names or record["MAIDEN"] or record["GENDER"] != "F":
        return None
    return {"LAST": like(last, stream.pick(names)), "MAIDEN": last}


@register("double_made", "LAST")
def double_made(record: Record, field: str, stream: Stream) -> Change:
    """A second family name beside the one: the maiden name or another from the family, with or without a hyphen."""
    last = record["LAST"]
    if not last or re.search(r"[-\s]", last):
        return None
    second = record["MAIDEN"] or (stream.pick(record.world.family_names) if record.world.family_names else None)
    if not second or second.upper() == last.upper():
        return None
    pair = [last, like(last, second)]
    if stream.chance(0.5):
        pair.reverse()
    return stream.pick(("-", "-", " ")).join(pair)


@register_value("double_cut", "LAST", "MAIDEN")
def double_cut(value: str, stream: Stream) -> str | None:
    """One part of a hyphenated or double family name."""
    parts = [part for part in re.split(r"[-\s]+", value) if len(part) > 1]
    return stream.pick(parts) if len(parts) > 1 else None


@register("double_split", "LAST")
def double_split(record: Record, field: str, stream: Stream) -> Change:
    """The first part of a double family name taken for a middle name, or the two run together or set apart."""
    last = record["LAST"] or ""
    parts = [part for part in re.split(r"[-\s]+", last) if part]
    if len(parts) < 2:
        return None
    way = stream.below(3)
    if way == 0:
        return {"MIDDLE": parts[0], "LAST": " ".join(parts[1:])}
    return "".join(parts) if way == 1 else " ".join(parts)


@register("suffix_glued", "LAST")
def suffix_glued(record: Record, field: str, stream: Stream) -> Change:
    """JR, SR or a number written as part of the family name."""
    last, suffix = record["LAST"], record["SUFFIX"]
    if not last or last.split()[-1].upper() in _GENERATIONS:
        return None
    if suffix:
        return {"LAST": f"{last} {suffix}", "SUFFIX": None}
    return f"{last} {stream.pick(_SUFFIXES)}" if record["GENDER"] == "M" else None


@register_value("accents_lost", *NAMES, "CITY")
def accents_lost(value: str, stream: Stream) -> str | None:
    """Accents and umlauts gone."""
    return without_accents(value)


@register_value("transliterated", "FIRST", "LAST", "MAIDEN")
def transliterated(value: str, stream: Stream) -> str | None:
    """Another way to write a name from another alphabet in English letters."""
    upper = value.upper()
    forms = [form for form in _FORMS.get(upper, ()) if form != upper]
    forms += [changed for old, new in _PARTS if (changed := re.sub(old, new, upper)) != upper]
    return like(value, stream.pick(forms)) if forms else None


@register("truncated", *NAMES, "CITY", "ADDRESS")
def truncated(record: Record, field: str, stream: Stream) -> Change:
    """Cut at the width of an old system's field."""
    value, width = record[field], record.world.truncate_at
    if field == "ADDRESS":
        width *= 2
    return value[:width].rstrip() if value and len(value) > width else None
