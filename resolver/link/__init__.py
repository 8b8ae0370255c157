"""The link stage: proposes candidate pairs and scores them with Splink, trained on the records themselves.

    fields.py       the columns that are compared, and how frequent their values are
    comparisons.py  the comparisons and their levels
    training.py     m and u without labels
    rules.py        the catalogue of blocking rules         clinical.py   keys from clinical events
    planner.py      which rules, and from which score on    blocking.py   candidate pairs
    closure.py      pairs that a third record proposes      scoring.py    scores, and one score taken apart
    splinking.py    the door to Splink                      model.py      the trained model as a file
    incremental.py  adding to a published run               linking.py    the stage itself, top to bottom

Knows nothing of the stages before and after it but their tables.
"""

from __future__ import annotations

from resolver.link.linking import Reach, plan, run
from resolver.link.linking import score_pairs as score
from resolver.link.scoring import Contribution, PairScore

__all__ = ["Contribution", "PairScore", "Reach", "plan", "run", "score"]
