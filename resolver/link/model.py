"""The link model as a file: what was trained, on what, the blocking rules by number, and where the frequencies lie.

link_model.json holds no value of any record; the frequencies of names and defaults do, and lie beside it in
link_tf.parquet. A model is used again as it is: same weights, same frequencies, same rules and caps. Knows nothing of
how either was made.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resolver import files
from resolver.errors import DamagedError, UsageError
from resolver.link.comparisons import COMPARISONS, Weights, splink_settings
from resolver.link.planner import Planned
from resolver.link.rules import RULES, Rule

FORMAT = 2
FREQUENCIES_FILE = "link_tf.parquet"
_SOURCES = tuple({rule.source: None for rule in RULES})


@dataclass(frozen=True)
class LinkModel:
    kind: str  # trained, or prior
    records: int  # that it was made from
    probability: float  # that two random records are one person's
    weights: Mapping[tuple[str, str], Weights]
    comparisons: tuple[str, ...]
    left_out: tuple[str, ...]  # comparisons whose fields were empty
    rarest: Mapping[str, float]  # frequency of a name that was not counted, by column
    rules: tuple[Planned, ...]
    max_block: int
    clinical: bool  # whether clinical keys were there to plan with
    cut: float | None  # log-odds below which pairs are beyond the budget that was planned with
    floor: float  # log-odds below which the run with this model kept no pair
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return splink_settings(self.comparisons, self.weights, self.probability)

    def kept_from(self, floor: float) -> LinkModel:
        """The model for a run with this floor in its settings."""
        return replace(self, floor=floor if self.cut is None else max(floor, self.cut))

    @property
    def prior_logit(self) -> float:
        return math.log(self.probability / (1 - self.probability))

    @property
    def fingerprint(self) -> str:
        content = self._content()
        return files.digest_of(
            {key: content[key] for key in ("splink", "rules", "max_block", "rarest", "records", "cut_logit")}
        )[:16]

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "records": self.records,
            "prior_logit": self.prior_logit,
            "probability": self.probability,
            "comparisons": list(self.comparisons),
            "left_out": list(self.left_out),
            "rules": [
                {
                    "number": number,
                    "name": one.rule.name,
                    "family": one.rule.family,
                    "parts": list(one.rule.parts),
                    "source": one.rule.source,
                    "cap": one.cap,
                    "expected_candidates_per_record": round(one.adds_candidates, 4),
                    "expected_share_of_matches": round(one.adds_matches, 6),
                }
                for number, one in enumerate(self.rules, start=1)
            ],
            "max_block": self.max_block,
            "clinical": self.clinical,
            "cut_logit": self.cut,
            "floor_logit": self.floor,
            "frequencies": FREQUENCIES_FILE,
            "rarest": dict(self.rarest),
            "training": dict(self.training),
            "splink": self.settings,
        }

    def save(self, path: Path) -> None:
        files.write_json(path, self._content() | {"fingerprint": self.fingerprint})


def load(path: Path) -> LinkModel:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no link model {path}.", do="Correct link.model in the config.") from None
    except (OSError, ValueError):
        raise DamagedError(f"{path} is not a readable link model.", do="Train one: run without link.model.") from None
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamagedError(
            f"{path} is not a link model of this version (format {FORMAT}).", do="Train one: run without link.model."
        ) from None


def frequencies_beside(path: Path) -> Path:
    """Where a model's frequencies lie."""
    found = path.with_name(FREQUENCIES_FILE)
    if not found.exists():
        raise UsageError(f"{found} is missing: a link model and its frequencies belong together.", do="Copy both.")
    return found


def _read(content: Any) -> LinkModel:
    if content["format"] != FORMAT:
        raise ValueError
    weights = {
        (comparison["output_column_name"], level["label_for_charts"]): Weights(
            float(level["m_probability"]), float(level["u_probability"])
        )
        for comparison in content["splink"]["comparisons"]
        for level in comparison["comparison_levels"]
        if not level.get("is_null_level")
    }
    known = {(c.name, level.label) for c in COMPARISONS for level in c.evidence if c.name in content["comparisons"]}
    if set(weights) != known:
        raise ValueError
    planned = tuple(
        Planned(
            Rule(str(one["name"]), str(one["family"]), tuple(map(_safe, one["parts"])), _source(one["source"])),
            int(one["cap"]),
            float(one["expected_candidates_per_record"]),
            float(one["expected_share_of_matches"]),
        )
        for one in content["rules"]
    )
    return LinkModel(
        kind=str(content["kind"]),
        records=int(content["records"]),
        probability=float(content["probability"]),
        weights=weights,
        comparisons=tuple(content["comparisons"]),
        left_out=tuple(content["left_out"]),
        rarest={str(column): float(value) for column, value in content["rarest"].items()},
        rules=planned,
        max_block=int(content["max_block"]),
        clinical=bool(content["clinical"]),
        cut=None if content["cut_logit"] is None else float(content["cut_logit"]),
        floor=float(content["floor_logit"]),
        training=content["training"],
    )


def _safe(part: Any) -> str:
    # Parts become SQL: a model file may name columns, nothing more.
    if not re.fullmatch(r"[a-z0-9_]+", str(part)):
        raise ValueError
    return str(part)


def _source(source: Any) -> str:
    if source not in _SOURCES:
        raise ValueError
    return str(source)
