"""Segmentation: one population becomes the records of several facilities, each with local patient ids, and the truth.

`segment` is the step; `integrity` checks what it wrote. Knows nothing of errors in the records.
"""

from augmentation.segment.step import segment

__all__ = ["segment"]
