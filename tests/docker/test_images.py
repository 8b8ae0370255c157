"""The images, as far as they can be held to something without Docker: their bases, their user, what they hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
IMAGES = ("cpu", "gpu", "train")
WORKER = '"-m", "llm_classifier.pods.worker"'
PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def _lines(image: str) -> list[str]:
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_comes_from_what_is_pinned_by_digest(image: str) -> None:
    """A tag can be moved to another image; a digest can't."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S*)$", "\n".join(_lines(image)), flags=re.MULTILINE))
    bases = [line.split()[1] for line in _lines(image) if line.startswith("FROM ")]

    assert bases
    for base in bases:
        assert PINNED.fullmatch(re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], base))


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_without_root(image: str) -> None:
    """The last user that a Dockerfile names is the one that the program runs as."""
    users = [line.split()[1] for line in _lines(image) if line.startswith("USER ")]

    assert users
    assert int(users[-1]) > 0


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_copies_is_there_and_let_in(image: str) -> None:
    """Each path that is copied out of the checkout exists, and the image's own list of what it may see names it."""
    let_in = (ROOT / "docker" / f"{image}.Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    copied = [
        path
        for line in _lines(image)
        if line.startswith("COPY ") and "--from" not in line
        for path in line.split()[1:-1]
    ]

    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in let_in


def test_what_a_wheel_is_made_of_is_in_each_image() -> None:
    """An image whose sources lack a package of the wheel would be built, and fail when it is called."""
    wheel = re.search(r"packages = \[(.+)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert wheel is not None
    for image in IMAGES:
        text = " ".join(_lines(image))
        for package in re.findall(r'"(\w+)"', wheel[1]):
            assert f"COPY {package} " in text


def test_workers_are_what_their_images_run() -> None:
    """The one that scores and the one that trains begin as the worker, and the workflow builds all images."""
    for image in ("gpu", "train"):
        assert WORKER in _lines(image)[-1] and _lines(image)[-1].startswith("ENTRYPOINT")
    workflow = (ROOT / ".github" / "workflows" / "images.yml").read_text(encoding="utf-8")
    for image in IMAGES:
        assert f"docker/{image}.Dockerfile" in workflow or f"image: {image}" in workflow


def test_the_trainer_is_made_of_what_the_service_is() -> None:
    """One base, by one digest, so that both are looked after at once."""
    base = [[line for line in _lines(image) if line.startswith("ARG PYTHON=")] for image in ("cpu", "train")]

    assert base[0] == base[1] and len(base[0]) == 1


def test_actions_of_the_workflows_are_pinned_by_commit() -> None:
    """What runs with the rights of the repository is named by what can't be moved."""
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    for path in workflows:
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
        for one in used:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one), f"{path.name}: {one}"
