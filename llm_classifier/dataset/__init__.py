"""Data sets of labelled pairs: from finished runs with a truth to prompts, split by person.

    candidates.py   the pairs of one run, with label and origin
    people.py       who is in which split, so that nobody is in two
    draw.py         how many of which, and with which weights
    canaries.py     strings that are planted to see later whether a model learned them by heart
    make.py         all of it in order; what is left out, and why
    card.py         the data set on disk: its card, its pin, how it is read
    lean.py         what of it travels to where a model is trained
    hub.py          the copy on a private hub

Knows nothing of models.
"""

from llm_classifier.dataset.card import SPLITS, Dataset, read

__all__ = ["SPLITS", "Dataset", "read"]
