"""The data set on disk: dataset.json, data/<split>.parquet, and a README that Hugging Face `datasets` reads.

The pin is the digest of the data: a metric holds for one pin. dataset.json is written last, so a folder without it is
not a data set. Knows nothing of where pairs come from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver import files
from resolver.errors import DamagedError, UsageError

if TYPE_CHECKING:
    import polars as pl

FILE = "dataset.json"
SPLITS = ("train", "calibration", "validation", "test")
ORIGINS = ("gray", "lookalike", "random", "easy")


@dataclass(frozen=True)
class Card:
    pin: str
    prompt_version: str
    tokens_per_side: int
    max_tokens: int
    tokenizer: str  # digest of the tokenizer that counted; "" for an estimate
    splits: dict[str, dict[str, Any]]  # digest, rows, pairs, persons, positives, by origin
    gray_prior: float  # share of true pairs in the gray zone, among pairs with evidence: what weights bring back
    priors: dict[str, float]  # the same for parts of it
    populations: list[dict[str, Any]]
    seed: int
    attrition: list[dict[str, Any]]
    made: dict[str, Any] = field(default_factory=dict)  # settings and versions


@dataclass(frozen=True)
class Dataset:
    folder: Path
    card: Card

    @property
    def pin(self) -> str:
        return self.card.pin

    def split(self, name: str) -> pl.DataFrame:
        import polars as pl

        return pl.read_parquet(file_of(self.folder, name))


def file_of(folder: Path, split: str) -> Path:
    if split not in SPLITS:
        raise UsageError(f"There is no split {split}; there are {', '.join(SPLITS)}.")
    return folder / "data" / f"{split}.parquet"


def pin_of(splits: dict[str, dict[str, Any]]) -> str:
    return files.digest_of({name: one["sha256"] for name, one in splits.items()})[:16]


def read(folder: Path) -> Dataset:
    """The data set, if its files are those that its card was written for."""
    missing = UsageError(
        f"{folder} holds no data set ({FILE} is missing).", do="Make one with: resolver llm dataset CONFIG"
    )
    content = files.read_json(folder / FILE, missing=missing, do="Make the data set again.")
    if not isinstance(content, dict) or set(content) != {one.name for one in dataclasses.fields(Card)}:
        raise DamagedError(
            f"{folder / FILE} was written by another version of this program.", do="Make the data set again."
        )
    card = Card(**content)
    for name, one in card.splits.items():
        path = file_of(folder, name)
        if not path.exists() or files.digest(path) != one["sha256"]:
            raise DamagedError(
                f"{path} is not the file that {FILE} was written for.", do="Make the data set again, or copy all of it."
            )
    return Dataset(folder, card)


def write(folder: Path, data: dict[str, pl.DataFrame], facts: dict[str, Any]) -> Dataset:
    """Data first, the card last. `facts`: the card's fields but pin and splits; in `splits`, counts by split."""
    (folder / FILE).unlink(missing_ok=True)
    splits = {}
    for name in SPLITS:
        path = file_of(folder, name)
        with files.whole(path) as scratch:
            data[name].write_parquet(scratch, compression="zstd", row_group_size=10_000)
        splits[name] = {"sha256": files.digest(path), **facts["splits"][name]}
    card = Card(**{**facts, "pin": pin_of(splits), "splits": splits})
    files.write_text(folder / "README.md", readme(card))
    files.write_json(folder / FILE, dataclasses.asdict(card))
    return Dataset(folder, card)


def readme(card: Card) -> str:
    """YAML that `datasets` reads, then the card in words."""
    lines = ["---", "pretty_name: Pairs of medical histories", "configs:", "- config_name: default"]
    lines += ["  data_files:", *(f"  - {{split: {name}, path: data/{name}.parquet}}" for name in SPLITS), "---", ""]
    names = ", ".join(one["name"] for one in card.populations)
    lines += [
        "# Pairs of medical histories: one person or two?",
        "",
        f"Pin `{card.pin}`, prompt version {card.prompt_version}, {card.tokens_per_side} tokens per side, at most "
        f"{card.max_tokens} per prompt. Populations: {names}.",
        "",
        "| split | rows | pairs | true | persons | " + " | ".join(ORIGINS) + " |",
        "|---|---|---|---|---|" + "---|" * len(ORIGINS),
        *(
            f"| {name} | {one['rows']} | {one['pairs']} | {one['true']} | {one['persons']} | "
            + " | ".join(str(one["origins"][origin]) for origin in ORIGINS)
            + " |"
            for name, one in card.splits.items()
        ),
        "",
        "Each pair is there twice, once in each order (`swapped`). Nobody is in two splits. `group` names the persons",
        "who are confused most with each other, and with whom the left one was kept together: draw groups anew for",
        f"intervals. In the gray zone itself {card.gray_prior:.2%} of the pairs are true; `weight` gives its pairs",
        "that mix back, and the others no weight. `label` 1: one person. `logit`: the linker's log-odds, missing where",
        "it never scored the pair. `sex`, `age_band`, `race` and `ethnicity` are for evaluation only.",
        "",
    ]
    return "\n".join(lines)
