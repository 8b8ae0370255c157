"""Enterprise ids: P, seven digits of a counter, and a check digit, such as P0000001Y.

The 31 digits leave out I, L, O, S and U, which people misread. The check digit makes the weighted sum of all digits a
multiple of the prime 31, so that one wrong character, or any two swapped, are always noticed. Ids of one width sort in
the order in which they were issued: the smaller id is the elder person. Knows nothing of persons or the index.
"""

from __future__ import annotations

DIGITS = "0123456789ABCDEFGHJKMNPQRTVWXYZ"
BASE = len(DIGITS)
WIDTH = 7
HIGHEST = BASE**WIDTH - 1
_WEIGHTS = tuple(range(WIDTH + 1, 1, -1))  # the check digit has weight 1
_MISREAD = str.maketrans("ILOSU", "1105V")


def encode(number: int) -> str:
    """The id of the person with this number."""
    if not 0 < number <= HIGHEST:
        raise ValueError(f"person numbers go from 1 to {HIGHEST:,}")
    digits = [number // BASE**place % BASE for place in range(WIDTH - 1, -1, -1)]
    check = -sum(weight * digit for weight, digit in zip(_WEIGHTS, digits, strict=True)) % BASE
    return "P" + "".join(DIGITS[digit] for digit in [*digits, check])


def read(text: str) -> str | None:
    """An id as a person types it (any case, spaces, hyphens, misread letters) in its one form; None if it is no id."""
    plain = "".join(text.split()).replace("-", "").upper()
    if len(plain) != WIDTH + 2 or plain[0] != "P":
        return None
    body = plain[1:].translate(_MISREAD)
    if any(character not in DIGITS for character in body):
        return None
    values = [DIGITS.index(character) for character in body]
    if sum(weight * value for weight, value in zip((*_WEIGHTS, 1), values, strict=True)) % BASE:
        return None
    return "P" + body


def looks_like(text: str) -> bool:
    """Whether the text has the shape of an id, right or wrong: for a message about a mistyped one."""
    plain = "".join(text.split()).replace("-", "").upper()
    return len(plain) == WIDTH + 2 and plain[0] == "P" and all(c.isdigit() or "A" <= c <= "Z" for c in plain)


def sql(number: str) -> str:
    """SQL for the id of a BIGINT expression."""
    places = [f"({number} // {BASE**place} % {BASE})" for place in range(WIDTH - 1, -1, -1)]
    weighted = " + ".join(f"{weight} * {place}" for weight, place in zip(_WEIGHTS, places, strict=True))
    check = f"(({BASE} - ({weighted}) % {BASE}) % {BASE})"
    return "('P' || " + " || ".join(f"substr('{DIGITS}', ({value} + 1)::BIGINT, 1)" for value in [*places, check]) + ")"
