"""Errors in street, town and ZIP, and moves to another real address of the population."""

from __future__ import annotations

import re

from augmentation.errors import Change, register, register_value
from augmentation.errors.record import PLACE, Record
from augmentation.errors.spelling import like
from augmentation.streams import Stream

# Word -> forms; the first is the post office's own abbreviation.
_SHORT = {
    "STREET": ("ST", "STR", "ST."),
    "AVENUE": ("AVE", "AV", "AVE."),
    "ROAD": ("RD", "RD."),
    "DRIVE": ("DR", "DR.", "DRV"),
    "LANE": ("LN", "LN."),
    "COURT": ("CT", "CT.", "CRT"),
    "PLACE": ("PL", "PL."),
    "BOULEVARD": ("BLVD", "BLVD.", "BOUL"),
    "CIRCLE": ("CIR", "CIR.", "CRCL"),
    "TERRACE": ("TER", "TERR"),
    "HIGHWAY": ("HWY", "HIWAY"),
    "PARKWAY": ("PKWY", "PKY"),
    "SQUARE": ("SQ", "SQR"),
    "TRAIL": ("TRL", "TR"),
    "ALLEY": ("ALY", "ALLY"),
    "CROSSING": ("XING", "CRSSNG"),
    "CROSSROAD": ("XRD",),
    "JUNCTION": ("JCT", "JCTN"),
    "HEIGHTS": ("HTS", "HGTS"),
    "GARDENS": ("GDNS", "GARDEN"),
    "STATION": ("STA", "STN"),
    "MOUNT": ("MT",),
    "VILLAGE": ("VLG", "VILL"),
    "HOLLOW": ("HOLW", "HLLW"),
    "MEADOW": ("MDW", "MDWS"),
    "BROOK": ("BRK",),
    "BRIDGE": ("BRG",),
    "BYPASS": ("BYP",),
    "ESPLANADE": ("ESPL",),
    "ESTATE": ("EST",),
    "FERRY": ("FRY",),
    "FORT": ("FT",),
    "GATEWAY": ("GTWY",),
    "GREEN": ("GRN",),
    "HARBOR": ("HBR",),
    "HAVEN": ("HVN",),
    "MANOR": ("MNR",),
    "MISSION": ("MSN",),
    "ORCHARD": ("ORCH",),
    "OVERPASS": ("OPAS",),
    "PORT": ("PRT",),
    "STRAVENUE": ("STRA",),
    "TRACK": ("TRAK",),
    "UNDERPASS": ("UPAS",),
    "UNION": ("UN",),
    "VIADUCT": ("VIA",),
    "NORTH": ("N", "N.", "NO"),
    "SOUTH": ("S", "S.", "SO"),
    "EAST": ("E", "E."),
    "WEST": ("W", "W."),
}
_LONG = {short: word for word, forms in _SHORT.items() for short in forms}
_UNIT = re.compile(r"\s*(?:\b(?:APT|APARTMENT|UNIT|SUITE|STE)\b\.?\s*#?|#)\s*(\w+)\s*$", re.IGNORECASE)
_UNIT_FORMS = (" APT {}", " APARTMENT {}", " UNIT {}", " #{}", " # {}", " APT. {}", ", APT {}", " STE {}", "-{}")

_INVENTED = ("OAK", "MAPLE", "CEDAR", "PINE", "ELM", "LAKE", "HILL", "PARK", "RIVER", "FOREST", "MEADOW", "SPRING")
_INVENTED_WAYS = ("STREET", "AVENUE", "ROAD", "DRIVE", "LANE", "COURT", "PLACE", "BOULEVARD")

# Parts of town names that people and post offices write in several ways.
_TOWN = (
    *((r"^NORTH ", "N "), (r"^SOUTH ", "S "), (r"^EAST ", "E "), (r"^WEST ", "W "), (r"^N\.? ", "NORTH ")),
    *((r"^MOUNT ", "MT "), (r"^SAINT ", "ST "), (r"^ST\.? ", "SAINT "), (r"^FORT ", "FT "), (r"^MT\.? ", "MOUNT ")),
    *((r"BOROUGH\b", "BORO"), (r"BORO\b", "BOROUGH"), (r" CITY$", ""), (r" TOWN$", ""), (r"BURGH\b", "BURG")),
    *((r" HEIGHTS$", " HTS"), (r" BEACH$", " BCH"), (r" SPRINGS$", " SPGS"), (r" JUNCTION$", " JCT")),
    *((r" VILLAGE$", ""), (r" CENTER$", " CTR"), (r" TOWNSHIP$", " TWP"), (r"^(NORTH|SOUTH|EAST|WEST) ", "")),
)


@register_value("abbreviated", "ADDRESS")
def abbreviated(value: str, stream: Stream) -> str | None:
    """A word of the street written short, or the short form written out."""
    words = value.split(" ")
    places = [place for place, word in enumerate(words) if place and word.upper() in _SHORT.keys() | _LONG.keys()]
    if not places:
        return None
    place = stream.pick(places)
    word = words[place].upper()
    words[place] = like(words[place], stream.pick(_SHORT[word]) if word in _SHORT else _LONG[word])
    return " ".join(words)


@register_value("unit_format", "ADDRESS")
def unit_format(value: str, stream: Stream) -> str | None:
    """The apartment written in another way."""
    found = _UNIT.search(value)
    if not found:
        return None
    form = stream.pick(_UNIT_FORMS).format(found[1])
    return value[: found.start()] + (form.upper() if value.isupper() else form.title())


@register_value("unit_dropped", "ADDRESS")
def unit_dropped(value: str, stream: Stream) -> str | None:
    """The apartment left out."""
    found = _UNIT.search(value)
    return value[: found.start()] if found else None


@register_value("house_number", "ADDRESS")
def house_number(value: str, stream: Stream) -> str | None:
    """The house number with two digits in the wrong order or one digit wrong."""
    number, _, street = value.partition(" ")
    if not number.isdecimal() or not street:
        return None
    place = stream.below(len(number))
    if place and stream.chance(0.5):
        number = number[: place - 1] + number[place] + number[place - 1] + number[place + 1 :]
    else:
        number = number[:place] + str(stream.between(1, 9)) + number[place + 1 :]
    return f"{number} {street}"


def _moved(record: Record, stream: Stream, fields: tuple[str, ...]) -> Change:
    place = record.other_place(stream)
    if place is None or not record["ADDRESS"]:
        return None
    model = record["ADDRESS"] or ""
    found = dict(zip(PLACE, place, strict=True))
    # What the desk did not fill in before, it does not fill in now.
    return {name: like(model, found[name]) if model.isupper() else found[name] for name in fields if record[name]}


@register("moved", "ADDRESS")
def moved(record: Record, field: str, stream: Stream) -> Change:
    """Moved house: another real address."""
    return _moved(record, stream, PLACE)


@register("zip_kept", "ADDRESS")
def zip_kept(record: Record, field: str, stream: Stream) -> Change:
    """Moved house, and the old ZIP was kept."""
    return _moved(record, stream, ("ADDRESS", "CITY"))


@register("street_only", "ADDRESS")
def street_only(record: Record, field: str, stream: Stream) -> Change:
    """Another street line, town and ZIP as before: a move within the town."""
    return _moved(record, stream, ("ADDRESS",))


@register_value("street_invented", "ADDRESS")
def street_invented(value: str, stream: Stream) -> str | None:
    """A street line that is nobody's in the population, town and ZIP as before."""
    street = f"{stream.between(1, 9999)} {stream.pick(_INVENTED)} {stream.pick(_INVENTED_WAYS)}"
    return like(value, street) if value.isupper() else street.title()


@register_value("town_alias", "CITY")
def town_alias(value: str, stream: Stream) -> str | None:
    """The town written in another of its ways."""
    upper = value.upper()
    forms = [changed for old, new in _TOWN if (changed := re.sub(old, new, upper)) not in (upper, "")]
    return like(value, stream.pick(forms)) if forms else None


@register("town_nearby", "CITY")
def town_nearby(record: Record, field: str, stream: Stream) -> Change:
    """The town next door, where the post office or the family is: one with the same first three digits of ZIP."""
    town, area = record["CITY"], (record["ZIP"] or "")[:3]
    near = record.world.towns_of.get(area, ()) if len(area) == 3 and area != "000" else ()
    return like(town, stream.pick(near)) if town and near else None


@register_value("zip_digit", "ZIP")
def zip_digit(value: str, stream: Stream) -> str | None:
    """One digit of the ZIP wrong, or its last two in the wrong order."""
    if len(value) < 5 or not value.isdecimal():
        return None
    if stream.chance(0.4):
        return value[:3] + value[4] + value[3] + value[5:]
    place = stream.between(1, 4)
    return value[:place] + str(stream.below(10)) + value[place + 1 :]
