"""How good a model is, for whom, what its answers hang on, and what is odd: on the test split of a pinned data set.

measuring.py     scores the split and makes the record of metrics that the registry's gate compares
variants.py      the same prompts with something taken out, put elsewhere or turned round
sensitivity.py   how the answers move then; for one pair, what each section adds
findings.py      what is odd, in words, each with what to try next
page.py          all of it as one HTML page
"""

from llm_classifier.validate.measuring import measure

__all__ = ["measure"]
