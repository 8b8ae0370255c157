"""What section pods of a config may say: each provider its own settings, and nothing that does nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llm_classifier.pods.desk import Desk
from llm_classifier.pods.providers.runpod import RunPod
from resolver import settings
from resolver.errors import SettingsError, UsageError
from resolver.settings.pods import READ_BY, PodsSettings

RUNPOD: dict[str, Any] = {
    "provider": "runpod",
    "machines": ["NVIDIA L4"],
    "image": "registry.example/worker@sha256:" + "a" * 64,
    "bridge": "s3://bucket/jobs",
    "allow_bridges": ["s3://bucket"],
}
SSH: dict[str, Any] = {"provider": "ssh", "machines": ["gpu1"]}


def loaded(pods: dict[str, Any]) -> settings.Settings:
    content = {"run": {"dir": "run"}, "sources": [{"kind": "synthea", "path": "data"}], "pods": pods}
    return settings.parse(content, base=Path.cwd(), where="test")


@pytest.mark.parametrize("pods", [{}, SSH, RUNPOD], ids=["local", "ssh", "runpod"])
def test_a_provider_takes_its_own_settings(pods: dict[str, Any]) -> None:
    """The least that each provider needs is enough."""
    assert loaded(pods).pods.provider == pods.get("provider", "local")


VALUES: dict[str, Any] = {
    "machines": ["a"],
    "regions": ["EU-RO-1"],
    "cloud": "community",
    "image": RUNPOD["image"],
    "registry": "id",
    "disk_gb": 50,
    "cap": 1.0,
    "url": "https://api.example",
    "grace_minutes": 30.0,
    "settle_minutes": 2.0,
    "python": "/opt/bin/python",
    "ssh_config": "config",
}


def test_what_a_provider_does_not_read_is_refused() -> None:
    """An option that would do nothing is a fault, named with the provider."""
    assert set(VALUES) == set(READ_BY)
    for name, value in VALUES.items():
        for provider, least in {"local": {}, "ssh": SSH, "runpod": RUNPOD}.items():
            if provider in READ_BY[name]:
                assert getattr(loaded({**least, name: value}).pods, name) is not None
            else:
                with pytest.raises(SettingsError, match=f"{provider} does not read {name}"):
                    loaded({**least, name: value})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"machines": []}, "needs machines: GPU types"),
        ({"image": "registry.example/worker:latest"}, "pinned by its digest"),
        ({"image": "worker@sha256:abc"}, "pinned by its digest"),
        ({"image": None}, "pinned by its digest"),
        ({"url": "http://api.runpod.io"}, "https"),
        ({"url": "http://127.0.0.1.example.com"}, "https"),
        ({"bridge": None, "allow_bridges": []}, "does not see a folder"),
        ({"machines": ["-oProxyCommand=x"]}, "machines"),
        ({"cap": 0}, "cap"),
        ({"hours": 100}, "hours"),
    ],
)
def test_what_is_not_safe_is_refused(change: dict[str, Any], fault: str) -> None:
    """No image that may change, no key over an open line, no bridge that the pod can't see, no job without an end."""
    with pytest.raises(SettingsError, match=fault):
        loaded(RUNPOD | change)


def test_a_host_is_no_option_of_ssh() -> None:
    """What begins with a dash would be an option."""
    with pytest.raises(SettingsError, match="machines"):
        loaded(SSH | {"machines": ["-oProxyCommand=touch /tmp/x"]})


def test_terms_are_those_of_the_settings() -> None:
    """A job keeps to what its config says; how long a list may lag depends on the provider."""
    told = Desk.of_run(loaded(RUNPOD | {"hours": 3, "cap": 9, "grace_minutes": 30})).terms()

    assert (told.hours, told.cap, told.grace_minutes, told.settle_minutes) == (3, 9, 30, 5)
    assert Desk.of_run(loaded(SSH)).terms().settle_minutes == 1
    assert Desk.of_run(loaded({})).terms().settle_minutes == 0


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the variable is named; no setting takes a key."""
    pytest.importorskip("httpx", reason="needs the extra llm: make llm")
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)

    with pytest.raises(UsageError, match="RUNPOD_API_KEY"):
        Desk.of_run(loaded(RUNPOD)).provider()
    monkeypatch.setitem(os.environ, "RUNPOD_API_KEY", "rpa_x")
    assert isinstance(Desk.of_run(loaded(RUNPOD)).provider(), RunPod)
    assert not [name for name in PodsSettings.model_fields if "key" in name or "token" in name]
