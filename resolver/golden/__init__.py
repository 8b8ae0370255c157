"""Golden records: the best value of each field of each person, with its sources and how sure it is.

stage.py       reads, calls the rest in order, writes: the file to read first
fields.py      what is known beforehand about each field
names.py       first and last names that stand in each other's place
ballot.py      who says what; likeness.py: in which way two values differ
population.py  how likely a value is; trust.py: how often each record is wrong; ages.py: what events say of a birth
vote.py        the posterior; recency.py: how fast values go out of date
address.py     the rest of the address, once the street is chosen
choose.py      the rules of the config, confidence and sources
"""

from __future__ import annotations

from resolver.stage import Facts, StageContext


def run(context: StageContext) -> Facts:
    from resolver.golden import stage

    return stage.run(context)
