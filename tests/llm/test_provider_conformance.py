"""What every provider keeps to, held against all: processes here, processes over ssh, pods of RunPod (a fake)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_runpod
import loopback_ssh
import processes
import pytest

from llm_classifier.pods import host
from llm_classifier.pods.names import PodName
from llm_classifier.pods.providers import Offer, Order, Provider, ProviderError, Refused, Unclear, local
from llm_classifier.pods.providers.local import Local
from llm_classifier.pods.providers.runpod import RunPod
from llm_classifier.pods.providers.ssh import Ssh

SECRET = "5ec2e7" * 8


@dataclass
class Bench:
    """A provider, and what can be done to it from outside."""

    provider: Provider
    machine: str
    alive: Callable[[str], bool]  # is a pod of this name really there
    full: Callable[[], None]  # an order is refused from now on
    foreign: Callable[[], Callable[[], bool]]  # somebody else's pod is there too; gives whether it still is
    lost: Callable[[], None] | None = None  # the next order is carried out, its answer lost
    deaf: Callable[[], None] | None = None  # it can't be reached from now on

    def order(self, number: int = 0) -> Order:
        name = PodName("ab" * 6, 1, int(time.time()) + 3600, f"{number:08x}")
        told = {"RESOLVER_JOB_POD": str(name), "RESOLVER_JOB_SEAL": SECRET}
        return Order(str(name), Offer(self.machine, "", 1.0), "image@sha256:0", told)

    def gone(self, name: str) -> bool:
        for _ in range(100):
            if not self.alive(name) and name not in [pod.name for pod in self.provider.pods()]:
                return True
            time.sleep(0.02)
        return False


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback_ssh.Loopback]:
    if loopback_ssh.missing():
        pytest.skip(loopback_ssh.missing())
    with loopback_ssh.serving(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture(params=["local", "ssh", "runpod"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    match request.param:
        case "local":
            monkeypatch.setattr(local, "WORKER", loopback_ssh.SLEEPS)
            making = _local(tmp_path, monkeypatch)
        case "ssh":
            making = _ssh(request.getfixturevalue("sshd"), tmp_path)
        case _:
            pytest.importorskip("httpx", reason="needs the extra llm: make llm")
            making = _runpod()
    with making as made:
        yield made


@contextmanager
def _local(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    provider = Local(folder / "machines")

    def full() -> None:
        (folder / "machines" / str(bench.order().name)).mkdir(parents=True)

    def foreign() -> Callable[[], bool]:
        pid = os.posix_spawn(loopback_ssh.SLEEPS[0], loopback_ssh.SLEEPS, {}, setsid=True)
        (folder / "machines" / "notes").mkdir(parents=True, exist_ok=True)
        (folder / "machines" / "notes" / "process.json").write_text(f'{{"number": {pid}, "began": "{_began(pid)}"}}')
        return lambda: _ends(pid)

    bench = Bench(provider, "this machine", _process, full, foreign)
    yield bench
    for pod in provider.pods():
        provider.end(pod.id)


@contextmanager
def _ssh(server: loopback_ssh.Loopback, folder: Path) -> Iterator[Bench]:
    provider = Ssh(("gpu1",), python=str(server.idle), config=server.config)
    machines, start = server.home / host.FOLDER, provider._start

    def full() -> None:
        (machines / str(bench.order().name)).mkdir(parents=True)

    def foreign() -> Callable[[], bool]:
        pid = os.posix_spawn(loopback_ssh.SLEEPS[0], loopback_ssh.SLEEPS, {}, setsid=True)
        (machines / "notes").mkdir(parents=True, exist_ok=True)
        (machines / "notes" / "process.json").write_text(f'{{"number": {pid}, "began": "{_began(pid)}"}}')
        return lambda: _ends(pid)

    def lost() -> None:
        # All is done over there, then the connection breaks.
        script = folder / "cut"
        script.write_text('#!/bin/sh\nssh "$@" >/dev/null\nexit 255\n')
        script.chmod(0o700)
        provider._start = (str(script), *start[1:])
        bench.lost = lambda: setattr(provider, "_start", start)

    def deaf() -> None:
        provider._hosts = ("nobody",)

    bench = Bench(provider, "gpu1", _process, full, foreign, lost, deaf)
    yield bench
    provider._hosts, provider._start = ("gpu1",), start
    for pod in provider.pods():
        provider.end(pod.id)


@contextmanager
def _runpod() -> Iterator[Bench]:
    with fake_runpod.serving() as fake:
        provider = RunPod(fake_runpod.KEY, machines=("NVIDIA L4",), url=fake.url, sleep=lambda seconds: None)

        def foreign() -> Callable[[], bool]:
            fake.pods["x"] = {"id": "x", "name": "my-training-pod", "status": "RUNNING", "cost": 1.0}
            return lambda: "x" in fake.pods

        yield Bench(
            provider,
            "NVIDIA L4",
            lambda name: any(pod["name"] == name for pod in fake.pods.values()),
            lambda: setattr(fake, "create", "no stock"),
            foreign,
            lambda: setattr(fake, "create", "made, then hang up"),
            lambda: setattr(fake, "away", 1000),
        )


def _process(name: str) -> bool:
    """Whether a process here was told this name."""
    told = f"RESOLVER_JOB_POD={name}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if told in place.read_bytes().split(b"\0"):
                return True
    return False


def _began(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _ends(pid: int) -> bool:
    """Whether the process was there to be ended."""
    alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return alive


def test_offers_name_machine_and_price(bench: Bench) -> None:
    """What the settings want is offered under its own name, at a price that is a number and not below nothing."""
    offers = bench.provider.offers()

    assert [one.machine for one in offers] == [bench.machine]
    assert all(0 <= one.price < 100 for one in offers)
    assert bench.provider.shows(bench.machine)


def test_a_pod_from_launch_to_end(bench: Bench) -> None:
    """Launched, it is listed and described under its name, alive; ended, it is gone from both and in truth."""
    order = bench.order()

    pod = bench.provider.launch(order)

    assert pod.name == order.name and pod.status in ("starting", "running")
    assert bench.alive(order.name)
    listed = [one for one in bench.provider.pods() if one.name == order.name]
    assert [one.id for one in listed] == [pod.id]
    described = bench.provider.describe(pod.id)
    assert described is not None and (described.id, described.name) == (pod.id, order.name)
    assert described.status in ("starting", "running")
    assert described.price is None or described.price >= 0
    bench.provider.end(pod.id)
    assert bench.gone(order.name)
    assert bench.provider.describe(pod.id) is None
    bench.provider.end(pod.id)  # twice is fine


def test_an_order_that_is_refused_leaves_nothing(bench: Bench) -> None:
    """Refused means that surely no pod is there."""
    bench.full()
    order = bench.order()

    with pytest.raises(Refused):
        bench.provider.launch(order)

    assert not bench.alive(order.name)
    assert order.name not in [pod.name for pod in bench.provider.pods()]


def test_what_is_not_known_is_ended_without_harm(bench: Bench) -> None:
    """The end of a pod that never was is no error, and no pod's description either."""
    id = f"{bench.machine}/{bench.order(7).name}" if bench.provider.name == "ssh" else bench.order(7).name

    bench.provider.end(id)

    assert bench.provider.describe(id) is None


def test_a_lost_answer_is_unclear_and_the_pod_is_found(bench: Bench) -> None:
    """Where the answer to an order is lost, that is said, and the pod is listed under its name."""
    if bench.lost is None:
        pytest.skip("a system call's answer is not lost")
    order = bench.order()
    bench.lost()

    with pytest.raises(Unclear):
        bench.provider.launch(order)

    bench.lost()  # heals ssh; the fake fails for orders alone
    (found,) = [pod for pod in bench.provider.pods() if pod.name == order.name]
    bench.provider.end(found.id)
    assert bench.gone(order.name)


def test_a_provider_that_is_away_lists_nothing_as_gone(bench: Bench) -> None:
    """Where it can't be asked, every question is an error: no answer must look like an empty list."""
    if bench.deaf is None:
        pytest.skip("this machine can always be asked")
    pod = bench.provider.launch(bench.order())
    bench.deaf()

    for call in (bench.provider.pods, bench.provider.offers):
        with pytest.raises(ProviderError):
            call()
    id = pod.id.replace("gpu1", "nobody")
    for asked in (bench.provider.describe, bench.provider.end):
        with pytest.raises(ProviderError):
            asked(id)


def test_pods_of_others_are_not_seen(bench: Bench) -> None:
    """What somebody else runs there is not listed, and lives on when ours end."""
    others = bench.foreign()
    pod = bench.provider.launch(bench.order())

    assert [one.name for one in bench.provider.pods()] == [pod.name]
    bench.provider.end(pod.id)

    assert bench.gone(pod.name)
    assert others()


def test_nothing_secret_in_any_argument_list(bench: Bench) -> None:
    """The environment of an order is in no process's arguments, there or here, while it is launched and after."""
    seen: list[bytes] = []
    order = bench.order()

    class Watched(dict[str, str]):
        """Looks at all processes whenever the environment is read."""

        def items(self) -> Any:
            seen.extend(processes.arguments())
            return super().items()

    bench.provider.launch(Order(order.name, order.offer, order.image, Watched(order.environment)))
    seen.extend(processes.arguments())

    assert seen and not any(SECRET.encode() in one for one in seen)
    assert SECRET not in repr(order)


def test_a_host_whose_key_nobody_confirmed_is_not_talked_to(sshd: loopback_ssh.Loopback) -> None:
    """Host keys are checked, whatever the user's configuration of ssh says, and the error names the host."""
    stranger = Ssh(("stranger",), python=str(sshd.idle), config=sshd.config)

    with pytest.raises(ProviderError, match=r"stranger.*[Hh]ost key"):
        stranger.pods()


def test_a_host_without_the_package_is_named(sshd: loopback_ssh.Loopback, tmp_path: Path) -> None:
    """What is missing over there is said in one line."""
    bare = Ssh(("gpu1",), python="/nowhere/python", config=sshd.config)

    with pytest.raises(ProviderError, match=r"gpu1 could not do what it was asked .*/nowhere/python"):
        bare.pods()


def test_names_from_outside_stay_in_their_folder(tmp_path: Path) -> None:
    """What is asked of a host is held against the form of our names: no path gets in."""
    machines = Local(tmp_path)

    for do in ("launch", "describe", "end"):
        assert "refused" in host.answer({"do": do, "name": "../../etc", "environment": {}}, machines)
    assert list(tmp_path.iterdir()) == []
