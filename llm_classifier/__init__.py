"""The language-model judge: prompts, data sets, training, promotion, scoring. Heavy dependencies live here only.

The way of a model, one folder or file each:

    dataset -> base -> train -> calibrate -> validate -> export -> verify -> promote -> deploy -> score (judge `llm`)

What a finished model is, and what stands beside its weights, says artifact.py. `prompt` turns a record's history into
text, for training and for scoring alike. `encoder` is a small model of its own, a further judge that needs no text.
`pods` is how a model answers apart from the run: launched by one call, collected by a later one.
"""
