"""What a check says, and what all of them together say. Knows no check."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["go", "no-go", "not checked"]


@dataclass(frozen=True)
class Check:
    name: str
    outcome: Outcome
    says: str
    do: str = ""  # what would make it a go, or would let it be checked


def go(name: str, says: str) -> Check:
    return Check(name, "go", says)


def no_go(name: str, says: str, do: str) -> Check:
    return Check(name, "no-go", says, do)


def not_checked(name: str, says: str, do: str) -> Check:
    return Check(name, "not checked", says, do)


@dataclass(frozen=True)
class Report:
    model: str
    checks: tuple[Check, ...]

    @property
    def go(self) -> bool:
        return all(one.outcome != "no-go" for one in self.checks)

    def facts(self) -> dict[str, Any]:
        return {"model": self.model, "go": self.go, "checks": [dataclasses.asdict(one) for one in self.checks]}
