"""The places that Synthea can make people of, by their full names.

Synthea itself fails on a wrong name only after it has loaded everything, and does not say which names it knows.
"""

from __future__ import annotations

import difflib

from resolver.errors import UsageError

STATES: dict[str, str] = {
    "AL": "Alabama",
    "AK": "Alaska",
    "AZ": "Arizona",
    "AR": "Arkansas",
    "CA": "California",
    "CO": "Colorado",
    "CT": "Connecticut",
    "DE": "Delaware",
    "DC": "District of Columbia",
    "FL": "Florida",
    "GA": "Georgia",
    "HI": "Hawaii",
    "ID": "Idaho",
    "IL": "Illinois",
    "IN": "Indiana",
    "IA": "Iowa",
    "KS": "Kansas",
    "KY": "Kentucky",
    "LA": "Louisiana",
    "ME": "Maine",
    "MD": "Maryland",
    "MA": "Massachusetts",
    "MI": "Michigan",
    "MN": "Minnesota",
    "MS": "Mississippi",
    "MO": "Missouri",
    "MT": "Montana",
    "NE": "Nebraska",
    "NV": "Nevada",
    "NH": "New Hampshire",
    "NJ": "New Jersey",
    "NM": "New Mexico",
    "NY": "New York",
    "NC": "North Carolina",
    "ND": "North Dakota",
    "OH": "Ohio",
    "OK": "Oklahoma",
    "OR": "Oregon",
    "PA": "Pennsylvania",
    "RI": "Rhode Island",
    "SC": "South Carolina",
    "SD": "South Dakota",
    "TN": "Tennessee",
    "TX": "Texas",
    "UT": "Utah",
    "VT": "Vermont",
    "VA": "Virginia",
    "WA": "Washington",
    "WV": "West Virginia",
    "WI": "Wisconsin",
    "WY": "Wyoming",
}


def require(name: str) -> str:
    """The state's name as Synthea spells it; an error with the nearest one if there is none of that name."""
    wanted = " ".join(name.split()).casefold()
    by_name = {state.casefold(): state for state in STATES.values()}
    if wanted in by_name:
        return by_name[wanted]
    if wanted.upper() in STATES:
        return STATES[wanted.upper()]
    near = difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.5)
    hint = f"Did you mean {by_name[near[0]]}?" if near else "Write a US state's full name, such as Massachusetts."
    raise UsageError(f"Synthea knows no state {name}.", do=hint)
