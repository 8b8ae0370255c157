"""The try-out of docker/compose.yaml, as far as it can be held to something without Docker."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from llm_classifier import settings as llm_settings
from resolver import settings

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def test_images_of_others_are_pinned_and_folders_are_there() -> None:
    """What is pulled can't be moved; what is mounted or built lies beside the file."""
    for service in COMPOSE["services"].values():
        if "image" in service:
            assert re.search(r"@sha256:[0-9a-f]{64}$", service["image"])
        else:
            assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DOCKER / source).is_dir()


def test_nothing_of_the_try_out_leaves_the_machine() -> None:
    """Each service is on the one network, and that is cut off from the outside."""
    assert COMPOSE["networks"] == {"inside": {"internal": True}}
    assert all(service["networks"] == ["inside"] for service in COMPOSE["services"].values())


def test_the_configs_of_the_try_out_load() -> None:
    """Their settings exist, each reads what the one before has made, and the store is the one that is started."""
    linked = settings.load(DOCKER / "try" / "linked.yaml")
    model = llm_settings.load(DOCKER / "try" / "model.yaml")
    judged = settings.load(DOCKER / "try" / "infer.yaml")

    assert linked.evaluate.truth is not None
    assert model.dataset is not None
    assert model.train is not None
    assert model.train.dataset == model.dataset.out
    script = (DOCKER / "try" / "try.sh").read_text(encoding="utf-8")
    assert f"export {model.train.out} --out {judged.llm.model}" in script
    assert (judged.llm.backend, judged.pods.bridge_endpoint) == ("pods", "http://minio:9000")
    assert "minio" in COMPOSE["services"]


def test_the_try_out_calls_what_its_folder_holds() -> None:
    """Every config that the script names is there, and each is used."""
    script = (DOCKER / "try" / "try.sh").read_text(encoding="utf-8")

    held = {one.name for one in (DOCKER / "try").glob("*.yaml")}
    assert set(re.findall(r"\b(\w+\.yaml)", script)) == held
