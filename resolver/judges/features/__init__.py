"""What the embedded judges read of a pair, as numbers. One file per family of evidence.

A feature has a name, and a direction where sense demands one: more of it can only speak for (+1) or against (-1) a
match.
Fields that one side lacks give no number, never a zero.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    name: str
    says: str  # in words, for explain
    direction: int = 0
