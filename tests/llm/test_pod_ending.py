"""A pod's end from inside, with the key that RunPod puts there, against a RunPod that lies, is early, or is away."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import HTTPServer

import fake_runpod
import pytest
from loopback import Quiet, listening

from llm_classifier.pods import ending


@pytest.fixture
def fake() -> Iterator[fake_runpod.FakeRunPod]:
    with fake_runpod.serving() as server:
        for id in ("mine", "other"):
            server.pods[id] = {"id": id, "name": id, "status": "RUNNING", "cost": 1.0, "env": {}}
            server.lives[id] = fake_runpod.Life(id, 0.0)
        yield server


def inside(fake: fake_runpod.FakeRunPod, id: str = "mine", key: str = "mine") -> dict[str, str]:
    """What stands in the environment of a pod."""
    return {"RUNPOD_POD_ID": id, "RUNPOD_API_KEY": fake_runpod.own_key(key), "RESOLVER_JOB_API": fake.url}


@pytest.mark.parametrize("fault", ["none", "lies", "early", "busy", "away"])
def test_a_pod_is_asked_to_end_until_it_is_gone(fake: fake_runpod.FakeRunPod, fault: str) -> None:
    """Whatever the provider answers at first, it is asked again; nothing but this pod is touched."""
    fake.deletes_ignored = 2 if fault == "lies" else 0
    fake.busy = 2 if fault == "busy" else 0
    fake.away = 2 if fault == "away" else 0
    waited: list[float] = []
    if fault == "early":  # the first two answers know no pod, though it is there
        answer, early = fake.answer, [404, 404]
        fake.answer = lambda *told: (early.pop(), {}) if early else answer(*told)  # type: ignore[method-assign]

    ending.end_own_pod(inside(fake), waited.append)

    assert set(fake.pods) == {"other"}
    assert fake.lives["mine"].ended_by == "pod"
    assert waited == sorted(waited) and max(waited, default=0) <= ending.LONGEST
    assert {path for _, path in fake.requests} == {"/v2/pods/mine"}


def test_where_nothing_can_be_ended_it_is_tried_on_and_on(fake: fake_runpod.FakeRunPod) -> None:
    """A key that is rejected is tried again, ever more slowly: the process must not end, or the container restarts."""

    class EnoughError(Exception):
        pass

    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 12:
            raise EnoughError

    with pytest.raises(EnoughError):
        ending.end_own_pod(inside(fake, key="other"), sleep)

    assert set(fake.pods) == {"mine", "other"}
    assert waited[:3] == [2.0, 4.0, 8.0] and waited[-1] == ending.LONGEST


@pytest.mark.parametrize("lacking", ["RUNPOD_POD_ID", "RUNPOD_API_KEY"])
def test_on_machines_that_are_not_rented_nothing_happens(fake: fake_runpod.FakeRunPod, lacking: str) -> None:
    """Without a pod's id and key there is nothing to end, and nobody is asked."""
    environment = inside(fake)
    del environment[lacking]

    ending.end_own_pod(environment)

    assert not fake.requests


def test_the_key_goes_to_no_other_address(fake: fake_runpod.FakeRunPod) -> None:
    """A redirect is not followed."""
    tried: list[int] = []

    class EnoughError(Exception):
        pass

    class Elsewhere(Quiet):
        def do_DELETE(self) -> None:
            tried.append(1)
            self.send_response(307)
            self.send_header("location", f"{fake.url}/v2/pods/mine")
            self.end_headers()

    def sleep(seconds: float) -> None:
        raise EnoughError

    with listening(HTTPServer(("127.0.0.1", 0), Elsewhere)) as url, pytest.raises(EnoughError):
        ending.end_own_pod(inside(fake) | {"RESOLVER_JOB_API": url}, sleep)

    assert tried and not fake.requests
