"""The client of RunPod's API against a server on loopback that fails as the real one does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fake_runpod
import pytest

from llm_classifier.pods.names import PodName
from llm_classifier.pods.providers import Denied, Offer, Order, ProviderError, Refused, Unclear
from llm_classifier.pods.providers.runpod import RunPod
from resolver.errors import UsageError

pytest.importorskip("httpx", reason="needs the extra llm: make llm")

NAME = str(PodName("ab" * 6, 1, 1_800_000_000, "0" * 8))
L4 = Offer("NVIDIA L4", "", 0.4)


@pytest.fixture
def fake() -> Iterator[Any]:
    with fake_runpod.serving() as server:
        yield server


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def runpod(fake: Any, waited: list[float]) -> RunPod:
    machines = ("NVIDIA B200", "NVIDIA H100 PCIe", "NVIDIA L4")
    return RunPod(
        fake_runpod.KEY, machines=machines, regions=("EU-RO-1", ""), disk_gb=73, url=fake.url, sleep=waited.append
    )


def test_offers_keep_the_order_of_the_settings(runpod: RunPod) -> None:
    """Machines in the order wanted, each in the regions as wanted, with their disk; what is not offered is left out."""
    found = [(one.machine, one.region, round(one.price, 2)) for one in runpod.offers()]

    assert found == [
        ("NVIDIA H100 PCIe", "EU-RO-1", 2.41),
        ("NVIDIA H100 PCIe", "", 2.41),
        ("NVIDIA L4", "EU-RO-1", 0.41),
        ("NVIDIA L4", "", 0.41),
    ]


def test_a_pod_from_order_to_end(fake: Any, runpod: RunPod) -> None:
    """Ordered, listed, running, ended, gone; ended again without harm."""
    pod = runpod.launch(Order(NAME, Offer("NVIDIA L4", "EU-RO-1", 0.4), "image@sha256:0", {"A": "b"}))

    assert fake.bodies[-1]["dataCenterIds"] == ["EU-RO-1"]
    assert fake.bodies[-1]["env"] == {"A": "b"}
    assert fake.bodies[-1]["disk"] == 73
    assert fake.bodies[-1]["cloud"] == "SECURE"
    assert (pod.name, pod.status, pod.price) == (NAME, "starting", 0.4)
    fake.boot(pod.id)
    assert [one.status for one in runpod.pods()] == ["running"]
    fake.exit(pod.id)
    assert runpod.describe(pod.id).status == "exited"  # type: ignore[union-attr]
    runpod.end(pod.id)
    assert runpod.describe(pod.id) is None
    assert runpod.pods() == []
    runpod.end(pod.id)


@pytest.mark.parametrize("create", ["made, then 500", "500", "hang up", "made, then hang up"])
def test_a_lost_answer_is_unclear(fake: Any, runpod: RunPod, create: str) -> None:
    """Whether a pod was made is not known when the answer is 500 or none, and it is not asked for again."""
    fake.create = create

    with pytest.raises(Unclear):
        runpod.launch(Order(NAME, L4, "image"))

    assert len(fake.bodies) == 1
    assert [pod.name for pod in runpod.pods()] == ([NAME] if create.startswith("made") else [])


def test_an_answer_that_makes_no_sense_is_no_refusal(fake: Any, runpod: RunPod) -> None:
    """201 without JSON: a pod may be there."""
    fake.create = "not json"

    with pytest.raises(ProviderError) as caught:
        runpod.launch(Order(NAME, L4, "image"))

    assert not isinstance(caught.value, Refused)


def test_no_stock_is_a_refusal(fake: Any, runpod: RunPod) -> None:
    """A 400 says that no pod was made."""
    fake.create = "no stock"

    with pytest.raises(Refused, match="400 Bad Request"):
        runpod.launch(Order(NAME, L4, "image"))


def test_a_busy_provider_is_asked_again(fake: Any, runpod: RunPod, waited: list[float]) -> None:
    """429 and 5xx are waited out where a call can be repeated, and become one line where they last."""
    fake.busy, fake.away = 1, 1
    assert runpod.pods() == []
    assert len(waited) == 2

    fake.away = 99
    with pytest.raises(ProviderError, match="503"):
        runpod.pods()


def test_only_our_pods_are_listed(fake: Any, runpod: RunPod) -> None:
    """Pods that somebody else made in the same account are never seen, so never ended."""
    fake.pods["x"] = {"id": "x", "name": "my-training-pod", "status": "RUNNING", "cost": 1.0}
    fake.pods["y"] = {"id": "y", "name": "resolver-notes", "status": "RUNNING", "cost": 1.0}

    assert runpod.pods() == []


def test_a_list_of_another_form_is_no_empty_list(fake: Any, runpod: RunPod) -> None:
    """An answer that is not understood must not say that a pod is gone."""
    fake.pods = {}
    fake.answer = lambda *arguments: (200, [])

    with pytest.raises(ProviderError, match="holds no pods"):
        runpod.pods()


def test_a_wrong_key_is_named_and_not_shown(fake: Any) -> None:
    """One line that says which variable to look at, without its value."""
    wrong = RunPod("rpa_other_secret", machines=("NVIDIA L4",), url=fake.url)

    with pytest.raises(ProviderError, match="RUNPOD_API_KEY") as caught:
        wrong.pods()

    assert "rpa_" not in str(caught.value)
    with pytest.raises(UsageError, match="RUNPOD_API_KEY"):
        RunPod("", machines=("NVIDIA L4",), url=fake.url)


def test_ids_are_escaped(fake: Any, runpod: RunPod) -> None:
    """An id with a slash stays one id."""
    runpod.end("../templates/t1")

    assert fake.requests[-1] == ("DELETE", "/v2/pods/..%2Ftemplates%2Ft1")


def test_an_order_is_given_again_after_429_alone(fake: Any, runpod: RunPod, waited: list[float]) -> None:
    """429 says for sure that nothing was made; where it lasts, the order is refused for now."""
    fake.busy = 2
    assert runpod.launch(Order(NAME, L4, "image")).name == NAME
    assert len(waited) == 2 and len(fake.bodies) == 1

    fake.busy = 99
    with pytest.raises(Refused, match="429"):
        runpod.launch(Order(NAME, L4, "image"))
    assert len(fake.bodies) == 1


@pytest.mark.parametrize(("status", "words"), [(401, "RUNPOD_API_KEY"), (402, "balance"), (422, "order")])
def test_what_a_person_must_set_right_is_said(fake: Any, runpod: RunPod, status: int, words: str) -> None:
    """Key, balance, and an order that is not understood: asking again, or for another machine, brings nothing."""
    fake.answer = lambda *arguments: (status, {"title": "No", "status": status})

    with pytest.raises(Denied, match=words):
        runpod.launch(Order(NAME, L4, "image"))


def test_a_pool_that_is_closed_to_the_account_is_passed_over(fake: Any, runpod: RunPod) -> None:
    """403 refuses this machine, not the others."""
    fake.answer = lambda *arguments: (403, {"title": "Forbidden", "status": 403})

    with pytest.raises(Refused) as caught:
        runpod.launch(Order(NAME, L4, "image"))

    assert not isinstance(caught.value, Denied)


def test_a_pod_without_a_name_spoils_the_list(fake: Any, runpod: RunPod) -> None:
    """It may be one of ours, so the list does not say which are gone."""
    fake.pods["x"] = {"id": "x", "status": "RUNNING"}

    with pytest.raises(ProviderError, match="without id or name"):
        runpod.pods()


WORDS = {
    "PROVISIONING": "starting",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "exited",
    "ERROR": "exited",
}


@pytest.mark.parametrize(("word", "status"), {**WORDS, "SOMETHING NEW": "running"}.items())
def test_words_for_the_state_of_a_pod(fake: Any, runpod: RunPod, word: str, status: str) -> None:
    """A word that nobody knows is taken for a pod that costs money."""
    pod = runpod.launch(Order(NAME, L4, "image"))
    fake.pods[pod.id]["status"] = word

    assert [one.status for one in runpod.pods()] == [status]


def test_a_pod_that_is_terminated_is_gone(fake: Any, runpod: RunPod) -> None:
    """It may be told of a little longer, but nothing of it is left to end or to pay."""
    pod = runpod.launch(Order(NAME, L4, "image"))
    fake.pods[pod.id]["status"] = "TERMINATED"

    assert runpod.describe(pod.id) is None
    assert [one.status for one in runpod.pods()] == ["gone"]


def test_what_is_kept_of_a_pod_is_not_its_environment(fake: Any, runpod: RunPod) -> None:
    """Image, GPU and place are facts worth keeping; the provider also shows the job's seal, which is not."""
    fake.center = "EU-RO-1"

    pod = runpod.launch(Order(NAME, L4, "image@sha256:0", {"RESOLVER_JOB_SEAL": "secret"}))

    assert {**pod.facts, "created": ""} == {
        "image": "image@sha256:0",
        "gpu": "NVIDIA L4",
        "cloud": "SECURE",
        "data_center": "EU-RO-1",
        "created": "",
    }
    assert pod.region == "EU-RO-1"
    assert "secret" not in repr(pod)
