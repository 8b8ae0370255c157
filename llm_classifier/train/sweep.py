"""Lists in the `train` section make a sweep: every combination of their values is a run of its own.

Runs come in the order of the lists, the last list fastest, and have numbers, so that a job needs no more than one.
Knows nothing of what a run does.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_classifier.settings.train import TrainSettings, combinations
from resolver import files
from resolver.errors import SettingsError
from resolver.settings import reading

MOST = 1000  # runs; more is a slip of the pen


@dataclass(frozen=True)
class Run:
    number: int
    name: str  # of its folder in the folder of the sweep; "" where there is no list
    settings: TrainSettings


def runs(path: Path, overrides: Sequence[str] = ()) -> list[Run]:
    """What a config asks to be trained."""
    section = _content(path, overrides).get("train")
    if not isinstance(section, dict):
        raise SettingsError(str(path), ["train: there is no such section"])
    axes = [key for key, value in section.items() if isinstance(value, list)]
    empty = [key for key in axes if not section[key]]
    if empty:
        raise SettingsError(str(path), [f"train.{key}: an empty list is no choice" for key in empty])
    found = combinations(section)
    if len(found) > MOST:
        raise SettingsError(str(path), [f"train: the lists make {len(found):,} runs; {MOST:,} are the most"])
    if "out" in axes:
        raise SettingsError(str(path), ["train.out: the runs of a sweep share one folder; give one"])
    result = []
    for number, one in enumerate(found):
        settings = reading.parse(TrainSettings, one, where=f"{path}, train", base=path.parent)
        name = "-".join([f"{number:03}", *(f"{key}={_word(one[key])}" for key in axes)]) if axes else ""
        settings = settings.model_copy(update={"out": settings.out / name}) if name else settings
        if name and settings.tracking is None:  # one data base for the sweep, beside its folder
            settings = settings.model_copy(update={"tracking": f"sqlite:///{settings.out.parent.parent / 'mlflow.db'}"})
        result.append(Run(number, name, settings))
    return result


def first(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The section `train` as it stands, with absolute paths and the first value of every list."""
    section = combinations(_content(path, overrides)["train"])[0]
    settings = runs(path, overrides)[0].settings
    kept = {key: getattr(settings, key) for key in section}
    return {key: str(one) if isinstance(one, Path) else one for key, one in kept.items()}


def _content(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    content = reading.content(path, do="Start from configs/llm.yaml.")
    for override in overrides:
        reading.put(content, override)
    return content


def _word(value: Any) -> str:
    """A value as part of a folder's name."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(letter if letter.isalnum() or letter in "._+" else "_" for letter in Path(text).name)


def command(path: Path, overrides: Sequence[str], job: str) -> str:
    """The line that trains one run of the sweep. `job` may be a variable of the shell."""
    words = ["resolver", "llm", "train", str(path.absolute())]
    words += [word for override in overrides for word in ("--set", override)]
    return f"{shlex.join(words)} --job {job}"


def slurm(path: Path, overrides: Sequence[str], many: int, folder: Path) -> str:
    """A Slurm array script: a job per run, each on one GPU; what was finished is not done again."""
    return f"""#!/bin/bash
# {many} runs of {path.name}. Submit with: sbatch THIS_FILE. After a kill, submit it again: runs go on where they were.
#SBATCH --job-name=resolver-llm
#SBATCH --array=0-{many - 1}
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output={folder / "slurm-%A-%a.log"}
set -euo pipefail
{command(path, overrides, '"$SLURM_ARRAY_TASK_ID"')}
"""


def table(found: Sequence[Run], record: Path) -> list[dict[str, Any]]:
    """Of each run that is finished: what was chosen and what came of it on the validation split, the best first."""
    rows = []
    for run in found:
        try:
            told = json.loads((run.settings.out / record).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        validation = told["model"]["metrics"]["validation"]
        figures = {name: validation[name]["value"] for name in ("auprc", "auroc", "log_loss")}
        rows.append({"run": run.name, **figures, "seconds": told["seconds"]["all"], "out": str(run.settings.out)})
    return sorted(rows, key=lambda row: (-row["auprc"], row["run"]))


def keep(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path = folder / "sweep.json"
    files.write_json(path, list(rows))
    return path
