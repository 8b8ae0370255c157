"""Misspellings: slips on a keyboard, letters misread from paper, names written as they sound.

Each works on one value and keeps its case. Knows nothing of which names exist.
"""

from __future__ import annotations

import re

from augmentation.errors import NAMES, register_value
from augmentation.streams import Stream

_ROWS = ("QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")


def _neighbours() -> dict[str, str]:
    """For each letter the keys around it on a QWERTY keyboard, whose rows are shifted by half a key."""
    at = {letter: (row, column + row / 2) for row, keys in enumerate(_ROWS) for column, letter in enumerate(keys)}
    return {
        one: "".join(
            other
            for other, (row, column) in at.items()
            if other != one and abs(row - at[one][0]) <= 1 and abs(column - at[one][1]) <= 1
        )
        for one in at
    }


_NEAR = _neighbours()
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTHS = (1, 1, 1, 1, 1, 1, 1, 2, 2, 3)  # most slips are of one letter

# Shapes that are misread from handwriting, faxes and bad scans. Each is read both ways.
_MISREAD = (
    *(("RN", "M"), ("CL", "D"), ("VV", "W"), ("NN", "M"), ("LI", "U"), ("IL", "U")),
    *(("I", "L"), ("O", "Q"), ("U", "V"), ("C", "E"), ("H", "N"), ("B", "R"), ("D", "O"), ("P", "R"), ("G", "C")),
    *(("S", "5"), ("O", "0"), ("I", "1"), ("B", "8"), ("Z", "2"), ("F", "E"), ("K", "X"), ("V", "Y"), ("T", "I")),
)

# Spellings of one sound, each heard both ways, and some that are only simplified.
_SOUNDS = (
    *(("PH", "F"), ("CK", "K"), ("C", "K"), ("QU", "KW"), ("X", "KS"), ("Z", "S"), ("SCH", "SH"), ("TH", "T")),
    *(("Y", "I"), ("IE", "Y"), ("EE", "EA"), ("EY", "IE"), ("AI", "AY"), ("EI", "IE"), ("OU", "OO"), ("AU", "AW")),
    *(("MC", "MAC"), ("SEN", "SON"), ("MANN", "MAN"), ("ER", "OR"), ("EL", "LE"), ("ANNE", "ANN"), ("INE", "EEN")),
    *(("LL", "L"), ("NN", "N"), ("TT", "T"), ("SS", "S"), ("RR", "R"), ("MM", "M"), ("PP", "P"), ("FF", "F")),
    *(("DGE", "GE"), ("J", "G"), ("CZ", "CH")),
)
_SIMPLER = (
    *(("EAUX", "O"), ("EAU", "O"), ("OUGH", "OW"), ("AH", "A"), ("AE", "E"), ("OE", "O"), ("E", ""), ("H", "")),
    *(
        ("KN", "N"),
        ("WR", "R"),
        ("WH", "W"),
        ("GH", "G"),
        ("HN", "N"),
        ("MB", "M"),
        ("SZ", "S"),
        ("TZ", "Z"),
        ("DT", "T"),
    ),
)


def as_in(model: str, letters: str) -> str:
    """Upper-case letters in the case of what they replace."""
    return letters if model.isupper() else letters.lower()


def like(model: str, text: str) -> str:
    """Text in the case of a model: all upper, all lower or as names are written."""
    if model.isupper():
        return text.upper()
    if model.islower():
        return text.lower()
    return re.sub(r"[^\W\d_]+", lambda word: word[0][:1].upper() + word[0][1:].lower(), text)


def _letters(text: str) -> list[int]:
    return [place for place, character in enumerate(text) if character.isalpha()]


@register_value("keyboard", *NAMES, "CITY", "ADDRESS", "EMAIL")
def keyboard(value: str, stream: Stream) -> str | None:
    """One to three slips: a neighbouring key, two keys in the wrong order, a key left out or struck twice."""
    for _ in range(stream.pick(_LENGTHS)):
        places = _letters(value)
        if len(places) < 2:
            return None
        place = stream.pick(places)
        letter, way = value[place], stream.below(20)
        if way < 11:
            near = stream.pick(_NEAR.get(letter.upper(), _LETTERS))
            value = value[:place] + as_in(letter, near) + value[place + 1 :]
        elif way < 15:
            after = min(place + 1, len(value) - 1)
            place = after - 1
            value = value[:place] + value[after] + value[place] + value[after + 1 :]
        elif way < 18:
            value = value[:place] + value[place + 1 :]
        else:
            value = value[:place] + letter + value[place:]
    return value


@register_value("letters", *NAMES)
def letters(value: str, stream: Stream) -> str | None:
    """One, two or three letters replaced by any others or lost, as often each: what nobody could have read or heard."""
    places = _letters(value)
    changed = list(value)
    for _ in range(min(1 + stream.below(3), len(places) - 1)):
        place, way = places.pop(stream.below(len(places))), stream.below(10)
        if way < 2:
            changed[place] = ""
        else:
            near = _NEAR.get(value[place].upper(), _LETTERS) if way < 6 else _LETTERS
            changed[place] = as_in(value[place], stream.pick(near))
    return "".join(changed)


def _both(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(one for left, right in pairs for one in ((left, right), (right, left)))


_HEARD, _SEEN = (*_both(_SOUNDS), *_SIMPLER), _both(_MISREAD)


def _exchange(value: str, pairs: tuple[tuple[str, str], ...], stream: Stream) -> str | None:
    """One of the exchanges that the value allows, drawn alike among all of its places."""
    upper = value.upper()
    if len(upper) != len(value) or len(value) < 3:
        return None
    found = []
    for old, new in pairs:
        place = upper.find(old)
        while place >= 0:
            # ANN is in ANNE already: what is exchanged for something longer must not be that already.
            if not (len(new) > len(old) and new in upper[max(0, place - 1) : place + len(new)]):
                found.append((place, old, new))
            place = upper.find(old, place + 1)
    if not found:
        return None
    place, old, new = stream.pick(found)
    changed = value[:place] + as_in(value[place : place + len(old)], new) + value[place + len(old) :]
    return like(value, changed) if place == 0 else changed


@register_value("misread", *NAMES, "CITY", "ADDRESS")
def misread(value: str, stream: Stream) -> str | None:
    """One to three shapes misread, as from a scan."""
    changed: str | None = value
    for _ in range(stream.pick(_LENGTHS)):
        changed = _exchange(changed, _SEEN, stream) if changed else None
    return changed


@register_value("misheard", *NAMES, "CITY")
def misheard(value: str, stream: Stream) -> str | None:
    """Written as it sounds."""
    return _exchange(value, _HEARD, stream)
