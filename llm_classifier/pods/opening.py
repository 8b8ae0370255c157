"""What the settings open for a job: its bridge, its seal, and its own side. `home` is the folder of all jobs' files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llm_classifier import golden
from llm_classifier.pods import bridges
from llm_classifier.pods.bridges import Bridge
from llm_classifier.pods.building import Building, Task
from llm_classifier.pods.carrying import MODEL, Carried
from llm_classifier.pods.errand import Leftovers, Scoring
from llm_classifier.pods.jobs import Job
from llm_classifier.pods.parcel import HomeParcel
from llm_classifier.pods.results import Results
from llm_classifier.pods.seals import Seals
from resolver.progress import Progress
from resolver.settings.pods import PodsSettings


@contextmanager
def bridge(pods: PodsSettings, home: Path) -> Iterator[Bridge]:
    opened = bridges.home(pods.bridge or home / "bridge", pods.bridge_endpoint)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def scoring(
    prompts: Sequence[str], key: str, fingerprint: str, model: Path, pods: PodsSettings, home: Path, progress: Progress
) -> Iterator[Scoring]:
    """The own side of a job that scores prompts with a model that lies here."""
    golden.read(model)  # no worker does without; better known before one is paid for
    seals = Seals(home / "seals")
    with bridge(pods, home) as opened:
        seal = seals.of(key)
        where = _where(model, fingerprint, opened, pods, seals, progress)
        yield Scoring(
            HomeParcel(opened, key, seal),
            seal,
            results(prompts, key, home),
            fingerprint,
            pods.backend,
            where,
            lambda: seals.destroy(key),
            pods.image or "",
        )


@contextmanager
def building(
    task: Task, key: str, base: Path | None, digest: str, pods: PodsSettings, home: Path, progress: Progress
) -> Iterator[Building]:
    """The own side of a job that makes a model on a base that lies here; `digest` is the base's."""
    seals = Seals(home / "seals")
    with bridge(pods, home) as opened:
        seal = seals.of(key)
        where = None if base is None else _where(base, digest, opened, pods, seals, progress, answers=False)
        yield Building(
            HomeParcel(opened, key, seal),
            seal,
            task,
            where,
            lambda: seals.destroy(key),
            pods.image or "",
            home / "bench" / key,
            progress,
        )


def _where(
    model: Path,
    name: str,
    opened: Bridge,
    pods: PodsSettings,
    seals: Seals,
    progress: Progress,
    *,
    answers: bool = True,
) -> Path | Carried:
    """A machine that reads a folder of ours sees the model as well; any other gets it over the bridge, unless the
    settings name a place on that machine."""
    if pods.model is not None or pods.bridge_kind == "file":
        return (pods.model or model).absolute()
    seal = seals.of(f"{MODEL}{name}")
    return Carried(model, HomeParcel(opened, f"{MODEL}{name}", seal), seal, progress, answers)


@contextmanager
def leftovers(job: Job, pods: PodsSettings, home: Path) -> Iterator[Leftovers]:
    """The own side of a job that is only to be put away."""
    seals, key = Seals(home / "seals"), job.key
    with bridge(pods, home) as opened:
        folder = results((), key, home).folder if job.kind == "score" else None
        yield Leftovers(HomeParcel(opened, key, seals.of(key)), folder, lambda: seals.destroy(key))


def results(prompts: Sequence[str], key: str, home: Path) -> Results:
    return Results(prompts, home / "answers" / key)
