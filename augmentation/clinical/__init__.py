"""Clinical noise: the event tables of the facilities, rewritten as real hospitals would have kept them.

`add_noise` is the step. `kinds` lists the kinds of noise; `measurements`, `vocabulary` and the tables beside them say
what is realistic. Knows nothing of demographics.
"""

from augmentation.clinical.step import add_noise

__all__ = ["add_noise"]
