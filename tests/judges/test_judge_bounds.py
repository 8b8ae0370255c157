"""Which pairs the embedded judges are asked about."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resolver.judges import Evidence, embedded
from resolver.judges.learned import Learned
from resolver.progress import Progress
from resolver.settings import parse


def test_of_many_pairs_the_hopeless_are_left_to_splink(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demographic judge is asked about every pair, but of a large input's only from a bound on."""
    Learned("none", "for a test").save(tmp_path / "learned.json")
    settings = parse(
        {"run": {"dir": str(tmp_path)}, "sources": [{"kind": "synthea", "path": "x"}]}, base=tmp_path, where="test"
    )
    evidence = Evidence(
        settings,
        world.records,
        world.events,
        tmp_path / "learned.json",
        tmp_path / "population.parquet",
        tmp_path,
        Progress(),
        pairs=world.pairs,
    )

    assert embedded.DemographicJudge(evidence).asks == (-np.inf, np.inf)
    monkeypatch.setattr(embedded, "MANY", 1)
    large = dataclasses.replace(evidence, shared={})
    assert embedded.DemographicJudge(large).asks == (embedded.LOWEST_OF_MANY, np.inf)
