"""What the settings open for a job: its bridge, its seal, and its own side. `home` is the folder of all jobs' files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llm_classifier import golden
from llm_classifier.pods import bridges
from llm_classifier.pods.bridges import Bridge
from llm_classifier.pods.carrying import MODEL, Carried
from llm_classifier.pods.errand import Leftovers, Scoring
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
    """The own side of a job that scores prompts with a model that lies here.

    A machine that reads a folder of ours sees the model as well; any other gets it over the bridge, unless the settings
    name a place on that machine.
    """
    golden.read(model)  # no worker does without; better known before one is paid for
    seals = Seals(home / "seals")
    with bridge(pods, home) as opened:
        seal = seals.of(key)
        where: Path | Carried = (pods.model or model).absolute()
        if pods.model is None and pods.bridge_kind != "file":
            name = f"{MODEL}{fingerprint}"
            where = Carried(model, HomeParcel(opened, name, seals.of(name)), seals.of(name), progress)
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
def leftovers(key: str, pods: PodsSettings, home: Path) -> Iterator[Leftovers]:
    """The own side of a job that is only to be put away."""
    seals = Seals(home / "seals")
    with bridge(pods, home) as opened:
        yield Leftovers(
            HomeParcel(opened, key, seals.of(key)), results((), key, home).folder, lambda: seals.destroy(key)
        )


def results(prompts: Sequence[str], key: str, home: Path) -> Results:
    return Results(prompts, home / "answers" / key)
