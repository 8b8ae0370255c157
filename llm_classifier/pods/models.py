"""Models from a rented machine: trained, or exported. Launch once, then collect, as for answers (asking.py)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from llm_classifier import artifact, golden, train
from llm_classifier import export as exports
from llm_classifier.artifact import Artifact
from llm_classifier.export import Exported
from llm_classifier.pods import asking, opening
from llm_classifier.pods.building import Task
from llm_classifier.pods.desk import Desk
from llm_classifier.pods.errand import Errand
from llm_classifier.pods.exporting import Exporting
from llm_classifier.pods.tasks import COUNTED
from llm_classifier.pods.training import Training
from llm_classifier.score import loading
from llm_classifier.settings.train import TrainSettings
from llm_classifier.train import tracking
from resolver import files
from resolver.errors import DamagedError, UsageError
from resolver.progress import Progress


def trained(settings: TrainSettings, desk: Desk, progress: Progress) -> Artifact:
    """The trained model, as training here would have left it in `settings.out`; PendingError where it is not there yet.

    MLflow is told from here, when it is home: a rented machine reaches no tracking server.
    """
    identity = train.identity(settings)
    task = Training(settings, identity)
    _made(task, settings.base, identity["base_digest"], desk, progress)
    record = files.read_json(
        settings.out / train.RECORD,
        missing=DamagedError(f"{settings.out / train.RECORD} is missing.", do="Train the model again."),
        do="Train the model again.",
    )
    tracking.replay(settings, settings.out / "run", train.flat(settings), record, progress)
    return artifact.check(settings.out)


def exported(model: Path, out: Path, desk: Desk, progress: Progress) -> Exported:
    """The exported model, as exporting here would have left it in `out`; PendingError where it is not there yet."""
    source = artifact.check(model)
    golden.read(model)  # no export does without; better known before a machine is paid for
    base = loading.base_of(model, source) if source.weights == "adapter" else None
    if base is not None and artifact.digest(base) != source.base_digest:
        raise DamagedError(
            f"The base in {source.base} is not the one that the adapter was trained on.", do="Make it again as it was."
        )
    _made(Exporting(model, source, base, out), base, source.base_digest, desk, progress)
    return exports.read(model, out)


def _made(task: Task, base: Path | None, digest: str, desk: Desk, progress: Progress) -> None:
    if not task.there() and task.out.exists() and any(task.out.iterdir()):
        raise UsageError(f"{task.out} is not empty.", do="Give a folder that does not exist yet, or remove it.")
    key = files.digest_of([task.kind, task.asked(), task.told()["base"], task.told()["out"]])

    def errand() -> AbstractContextManager[Errand]:
        return opening.building(task, key, base, digest[:16], desk.pods, desk.home, progress)

    asked = asking.Asked(key, task.kind, unit=COUNTED[task.kind], there=task.there)
    asking.result(asked, errand, desk, progress)
