"""Why two records are, or are not, one person, from the files of a finished run.

    opened.py      a finished run: finds records and persons, reads the few rows that are concerned
    waterfall.py   a pair's log-odds, from the prior to the sum, taken apart judge by judge
    histories.py   two clinical histories side by side, in words
    clustering.py  what clustering made of a pair, and why
    persons.py     a person: its pairs, its weakest bridge, its nearest neighbours
    words.py       what features are about, and how values are written
    svg.py         a waterfall as a picture

Nothing here is written down but the picture that is asked for. What is shown holds patient text; errors do not.
"""

from __future__ import annotations

from resolver.explain.opened import Opened
from resolver.explain.persons import Person, person
from resolver.explain.waterfall import Explanation, Group, Line, Part, pair

__all__ = ["Explanation", "Group", "Line", "Opened", "Part", "Person", "pair", "person"]
