"""The fusion encoder: a small transformer that reads two histories as coded events, not as text. Judge `encoder`.

tokens.py      events become tokens: a thing that is known of a record, with its times and values
network.py     one encoder per kind of evidence, a fusion over the kinds, a head on two records' vectors
corpus.py      labelled runs with their pairs, and who is in which split
batches.py     which records and pairs make a training step
fitting.py     the training loop: losses, schedule, early stopping
combining.py   from a score and what was known before it to log-odds
measuring.py   how well scores tell true pairs, with intervals over persons
training.py    `resolver llm encoder train`: all of it together
proving.py     `resolver llm encoder ablate`: that every kind is wired
model.py       what a trained encoder is on disk
judge.py       the judge

Each record is encoded once, to one vector; a pair costs a few multiplications.
"""
