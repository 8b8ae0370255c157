"""Behind `resolver label`: which pairs to ask a person about, and what the answers say of the whole run.

survey.py       the questions that a run leaves, in the order in which they are worth asking
posterior.py    precision and recall of the run, from the answers so far
sides.py        two records side by side, in lines that a person reads
answers.py      answers from a file

Answers are stored by resolver/mpi/labels.py, as verdicts of people in the index. The run itself is never changed.
"""
