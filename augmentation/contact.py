"""Telephone, e-mail and insurance member number, made from the person and shared in a household.

These are the persons' own values; that a record has an older or a wrong one is an error (see errors/contacts.py).
Telephone numbers have the form of real ones and are drawn at random. Knows nothing of records or facilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from augmentation.errors.contacts import PROVIDERS, member_number, phone_number
from augmentation.errors.names import without_accents
from augmentation.settings import ContactSettings
from augmentation.streams import Stream, Words, key, mix, uniform

Column = list[str | None]


def contact(
    persons: dict[str, Column], keys: Words, household: Words, shared: npt.NDArray[np.bool_], settings: ContactSettings
) -> dict[str, Column]:
    """PHONE, EMAIL and MEMBER_ID for each person.

    `household` is a key per person that those of one household have in common; `shared` says who does not live alone.
    """

    def drawn(what: str, share: float) -> npt.NDArray[np.bool_]:
        return uniform(keys, key("has", what)) < share

    def states(what: str, share: float) -> tuple[list[int], list[bool]]:
        """Where a person's draws start, from the household where it is the household's number; and whether it is."""
        common = shared & (uniform(keys, key("shares", what)) < share)
        return mix(np.where(common, household, keys), key(what)).tolist(), common.tolist()

    phones = [
        phone_number(area, Stream(state)) if has else None
        for area, state, has in zip(
            _areas(persons["ZIP"], keys),
            states("phone", settings.shared_phone)[0],
            drawn("phone", settings.phone).tolist(),
            strict=True,
        )
    ]
    emails = [
        _email(first, last, birth, Stream(state), common) if has else None
        for first, last, birth, state, common, has in zip(
            *(persons["FIRST"], persons["LAST"], persons["BIRTHDATE"]),
            *states("email", settings.shared_email),
            drawn("email", settings.email).tolist(),
            strict=True,
        )
    ]
    members = [
        (member_number(Stream(state)) + (f"-{1 + own % 6:02d}" if common else "")) if has else None
        for state, common, own, has in zip(
            *states("member", settings.shared_member_id),
            mix(keys, key("dependant")).tolist(),
            drawn("member", settings.member_id).tolist(),
            strict=True,
        )
    ]
    return {"PHONE": phones, "EMAIL": emails, "MEMBER_ID": members}


def _areas(zips: Sequence[str | None], keys: Words) -> list[str]:
    """An area code per person: each three-digit ZIP area has one, and one person in eight brought another along."""
    codes = {area: f"{201 + key('area', area) % 789:03d}" for area in {(code or "")[:3] for code in zips}}
    elsewhere = (uniform(keys, key("area from elsewhere")) < 1 / 8).tolist()
    numbers = (201 + mix(keys, key("other area")) % np.uint64(789)).tolist()
    return [
        f"{number:03d}" if moved else codes[(code or "")[:3]]
        for code, moved, number in zip(zips, elsewhere, numbers, strict=True)
    ]


def _email(first: str | None, last: str | None, birth: str | None, stream: Stream, common: bool) -> str:
    first, last = _plain(first), _plain(last)
    provider = stream.pick(PROVIDERS)
    if common:
        return f"{last or 'the'}family{stream.below(1000)}@{provider}"
    year = (birth or "1980")[2:4]
    number = stream.pick(("", year, str(stream.below(1000))))
    form = stream.below(4)
    if form == 0:
        return f"{first}.{last}{number}@{provider}"
    if form == 1:
        return f"{first}{last}{number}@{provider}"
    if form == 2:
        return f"{first[:1]}{last}{number}@{provider}"
    return f"{last}.{first}{number}@{provider}"


def _plain(name: str | None) -> str:
    """A name as it can stand in an e-mail address."""
    return "".join(letter for letter in without_accents(name or "").lower() if letter.isascii() and letter.isalpha())
