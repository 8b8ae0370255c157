"""How good a model is, and for whom: on the test split of a pinned data set, with intervals, as a whole and per slice.

measuring.py   scores the split and makes the record of metrics that the registry's gate compares
"""

from llm_classifier.validate.measuring import measure

__all__ = ["measure"]
