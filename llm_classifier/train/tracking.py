"""Parameters and metrics of a run to MLflow. Where that is is a setting; a secret comes from the environment alone.

The full record of a run is its own JSON file; what MLflow gets is for looking at many runs together. It never gets a
prompt. A tracking server that goes away must not end hours of training: the run goes on, and says so once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_classifier.needs import need
from resolver.errors import RunError
from resolver.progress import Progress

if TYPE_CHECKING:
    from llm_classifier.settings.train import TrainSettings

KEPT = "mlflow.txt"  # the id of the run, so that a resumed one goes on in it


class Tracking:
    """Says nothing to anybody. The parent of the one that does."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        pass

    def end(self, *, finished: bool) -> None:
        pass


class Mlflow(Tracking):
    def __init__(self, client: Any, run: str, progress: Progress) -> None:
        self.client, self.run, self.progress, self.lost = client, run, progress, False

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._try("log_metric", self.run, name, float(value), step=step)

    def end(self, *, finished: bool) -> None:
        self._try("set_terminated", self.run, "FINISHED" if finished else "FAILED")

    def _try(self, what: str, *arguments: Any, **more: Any) -> None:
        if self.lost:
            return
        try:
            getattr(self.client, what)(*arguments, **more)
        except Exception:  # noqa: BLE001 - of whatever kind: training goes on
            self.lost = True
            self.progress.say("MLflow does not answer any more: training goes on without it.")


def begin(settings: TrainSettings, folder: Path, parameters: Mapping[str, Any], progress: Progress) -> Tracking:
    """A run in MLflow, or the one that was begun before a kill; `folder` remembers which."""
    if settings.tracking == "none":
        return Tracking()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # this program opens no connection that nobody asked for
    need("mlflow")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # now: its import sets a level of its own
    where = settings.tracking or f"sqlite:///{settings.out.parent / 'mlflow.db'}"
    kept = folder / KEPT
    try:
        client = MlflowClient(tracking_uri=where)
        if kept.is_file():
            run = client.get_run(kept.read_text(encoding="utf-8").strip()).info.run_id
            client.update_run(run, status="RUNNING")
            return Mlflow(client, run, progress)
        known = client.get_experiment_by_name(settings.experiment)
        files_at = None if settings.tracking else (settings.out.parent / "mlflow").as_uri()
        experiment = known.experiment_id if known else client.create_experiment(settings.experiment, files_at)
        run = client.create_run(experiment, run_name=settings.out.name).info.run_id
        for name, value in parameters.items():
            client.log_param(run, name, value)
    except (MlflowException, OSError) as error:
        raise RunError(
            f"MLflow can't be reached at {where} ({type(error).__name__}).",
            do="Check train.tracking and MLFLOW_TRACKING_USERNAME, or set train.tracking to none.",
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(run, encoding="utf-8")
    return Mlflow(client, run, progress)


def replay(
    settings: TrainSettings, folder: Path, parameters: Mapping[str, Any], record: Mapping[str, Any], progress: Progress
) -> None:
    """Tell of a training that was done elsewhere, from its record, once; `folder` remembers that."""
    if settings.tracking == "none" or (folder / KEPT).exists():
        return
    told = begin(settings, folder, parameters, progress)
    for entry in record["history"]:
        told.metrics({name: one for name, one in entry.items() if isinstance(one, (int, float))}, entry["step"])
    told.end(finished=True)
