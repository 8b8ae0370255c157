"""Launch, then collect, end to end: real processes and a real worker, here and in pods of a RunPod on loopback that
fails as the real one does; kill -9 in every state of a job."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import calls
import fake_runpod
import fake_s3
import loopback_ssh
import numpy as np
import polars as pl
import processes
import pytest
from warm import Process, Warm

from llm_classifier.pods.names import parse

pytestmark = pytest.mark.llm
pytest.importorskip("s3fs", reason="needs the extra s3")

IMAGE = "registry.example/worker@sha256:" + "a" * 64
PLANTED = {
    "RUNPOD_API_KEY": fake_runpod.KEY,
    "AWS_ACCESS_KEY_ID": fake_s3.KEY,
    "AWS_SECRET_ACCESS_KEY": fake_s3.SECRET,
    "HF_TOKEN": "hf_planted_token_of_the_user",
    "RESOLVER_POD_HF_TOKEN": "hf_planted_token_for_pods",
}
SECRETS = [PLANTED[name].encode() for name in PLANTED if name != "AWS_ACCESS_KEY_ID"]
HISTORY = "a history that nobody else reads"


@pytest.fixture(scope="session")
def model(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with golden logits of its own."""
    from llm_classifier import golden, prompt
    from llm_classifier.score import open_backend

    folder = tmp_path_factory.mktemp("infer") / "model"
    shutil.copytree(tiny_classifier, folder)
    prompts = [prompt.pair(f"conditions: asthma since {year}", "conditions: asthma") for year in range(1990, 1994)]
    backend = open_backend(folder)
    golden.write(folder, prompts, np.array([logit for _, logit in sorted(backend.logits(prompts))]))
    backend.close()
    return folder


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    made = Warm(calls.WARM)
    yield made
    made.close()


@dataclass
class Bench:
    """A run on this machine, a bridge and a RunPod whose pods run the worker."""

    folder: Path
    model: Path
    warm: Warm
    runpod: fake_runpod.FakeRunPod
    s3: fake_s3.FakeS3
    worker: str = "calls:worker"
    current: Process | None = None
    said: list[str] = field(default_factory=list)

    def start(self, environment: Mapping[str, str]) -> Process:
        """A container."""
        found = {"PATH": os.environ["PATH"], "TEST_FLAG": str(self.flag), **environment}
        return self.warm.start(self.worker, [], found, self.folder / "containers.log")

    @property
    def flag(self) -> Path:
        return self.folder / "flag"

    def config(self, **pods: object) -> Path:
        """The bundled sample, Splink alone, and the language model in a pod for 40 of its gray pairs."""
        from resolver import sample

        rented = {
            "provider": "runpod",
            "machines": ["NVIDIA L4"],
            "image": IMAGE,
            "url": self.runpod.url,
            "bridge": f"s3://{fake_s3.BUCKET}/jobs",
            "bridge_endpoint": self.s3.url,
            "allow_bridges": [f"s3://{fake_s3.BUCKET}"],
            "settle_minutes": 0.01,
        }
        section = {**(rented if "provider" not in pods else {}), "backend": "transformers", **pods}
        more = f"""
        learn: {{way: none}}
        adjudicate: {{judges: [llm]}}
        decide: {{match_probability: 0.9999, non_match_probability: 0.0001}}
        llm: {{model: {json.dumps(str(self.model))}, backend: pods, max_pairs: 40}}
        pods: {json.dumps(section)}
        """
        path = self.folder / "infer.yaml"
        bed = self.folder / "bed"
        bed.mkdir(exist_ok=True)
        for part in ("facility_1", "facility_2", "truth"):
            with suppress(FileExistsError):
                (bed / part).symlink_to(sample.FOLDER / part)
        path.write_text(sample.config(self.folder / "run", bed) + textwrap.dedent(more), encoding="utf-8")
        return path

    def begin(self, function: str, *arguments: object) -> Process:
        log = self.folder / f"call-{len(self.said)}"
        self.said.append("")
        home = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "AWS_EC2_METADATA_DISABLED": "true"}
        self.current = self.warm.start(function, arguments, home | PLANTED, log)
        return self.current

    def call(self, function: str, *arguments: object) -> tuple[int, str]:
        """Exit code and output of a process of its own."""
        process = self.begin(function, *arguments)
        code = process.wait()
        self.said[-1] = process.log.read_text()
        return code, self.said[-1]

    def ask(self, config: Path, *dying: str) -> tuple[int, str]:
        prompts = self.folder / "prompts.json"
        if not prompts.exists():
            prompts.write_text(json.dumps([f"{HISTORY} {number}" for number in range(25)]))
        return self.call("calls:ask", config, self.model, prompts, *dying)

    def until(self, true: Callable[[], bool], seconds: float = 240.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.said[-1:]
            time.sleep(0.05)

    def over(self) -> bool:
        return all(life.ended is not None for life in self.runpod.lives.values())

    def collected(self, config: Path) -> dict[str, Any]:
        """Ask until the answers are there."""
        for _ in range(200):
            code, said = self.ask(config)
            if code == 0:
                return dict(json.loads(said.splitlines()[-1]))
            assert code == 75, said
            time.sleep(0.1)
        raise AssertionError(said)


@pytest.fixture
def bench(warm: Warm, model: Path, tmp_path: Path) -> Iterator[Bench]:
    def start(environment: Mapping[str, str]) -> Process:
        return made.start(environment)

    with fake_s3.serving() as s3, fake_runpod.serving(start) as runpod:
        made = Bench(tmp_path, model, warm, runpod, s3)
        yield made
        if made.current is not None:
            made.current.kill()


@contextmanager
def here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Asks in this process, and waits."""
    from llm_classifier.pods import asking, results
    from llm_classifier.pods.providers import runpod
    from resolver import settings
    from resolver.progress import Progress

    for name, value in {**PLANTED, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(asking, "PAUSE", 0.1)
    monkeypatch.setattr(runpod, "WAIT", 0.01)
    monkeypatch.setattr(results.scoring, "PART", 10)

    def ask(config: Path, progress: Progress | None = None, **leave: bool) -> Any:
        prompts = [f"{HISTORY} {number}" for number in range(25)]
        with asking.allowing(asking.Leave(launch=True, **leave)):
            return asking.answers(prompts, bench.model, settings.load(config), progress or Progress())

    yield ask


def test_launch_then_collect(bench: Bench) -> None:
    """run says what waits; infer launches a pod and says come back; run meets it and resumes when it is done."""
    config = bench.config()

    code, said = bench.call("calls:cli", "run", config)
    assert code == 75 and "resolver infer" in said
    assert not bench.runpod.bodies

    code, said = bench.call("calls:cli", "infer", config)
    assert code == 75 and "0.00 USD spent, 0.95 USD reserved" in said
    bench.until(bench.over)
    for _ in range(100):
        code, said = bench.call("calls:cli", "run", config, "--json")
        if code != 75:
            break
    assert code == 0, said

    verdicts = pl.read_parquet(bench.folder / "run" / "verdicts.parquet")
    assert 0 < len(verdicts.filter(pl.col("status") == "ok")) <= 40
    (life,) = bench.runpod.lives.values()
    assert (life.starts, life.ended_by) == (1, "pod")
    manifest = (bench.folder / "run" / "manifest.json").read_text()
    assert IMAGE in manifest and '"reserved_usd": 0' in manifest
    code, said = bench.call("calls:cli", "infer", config, "--json")
    assert code == 0, said
    assert len(bench.runpod.bodies) == 1
    assert all("/model-" in name for name in bench.s3.files)  # which stay for the next job


STATES = ("prepared", "launching", "launch-unknown", "provisioning", "running", "releasing", "retry")


def test_killed_in_each_state(bench: Bench) -> None:
    """Killed before and after each change of its state, and while a pod is made, a job ends with all answers, on the
    pods that its faults cost and no more."""
    config = bench.config()
    bench.worker = "calls:dying_worker"  # the first pod's, half-way
    bench.runpod.create = "made, then 500"

    def killed(*dying: str) -> None:
        bench.until(lambda: bench.ask(config, *dying)[0] == -signal.SIGKILL)
        assert sum(life.ended is None for life in bench.runpod.lives.values()) <= 1

    for state in STATES:
        if state == "releasing":
            bench.flag.touch()
        killed(state, "before")
        killed(state, "after")
    bench.worker, bench.runpod.create = "calls:worker", "ok"
    bench.runpod.made = lambda: bench.current.kill()  # type: ignore[union-attr]
    killed()
    for state in ("collecting", "succeeded"):
        killed(state, "before")
        killed(state, "after")
    told = bench.collected(config)

    assert len(told["logits"]) == 25
    first, second = bench.runpod.lives.values()
    assert first.starts == 2, "a container that was started again ends at once"
    assert (first.ended_by, second.ended_by) == ("pod", "pod")
    assert bench.runpod.paid() <= told["facts"]["spent_usd"] + 0.001 < 0.02
    assert [pod["image"] for pod in told["facts"]["pods"]] == [IMAGE, IMAGE]
    assert all("/model-" in name for name in bench.s3.files)  # which stay for the next job


def test_faults_of_the_provider_cost_time_and_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """404 early, 429, 503 and deletes that do nothing: one pod, all answers, its own end, with progress meanwhile."""
    from resolver.progress import Progress

    seen: dict[str, list[int]] = {}

    class Watched(Progress):
        @contextmanager
        def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Any]:
            counts = seen.setdefault(label, [])

            class Step:
                def total(self, count: int) -> None:
                    counts.append(-count)

                def advance(self, count: int) -> None:
                    counts.append(count)

            yield Step()

    bench.runpod.unknown, bench.runpod.busy, bench.runpod.deletes_ignored = 3, 2, 1
    with here(bench, monkeypatch) as ask:
        told = ask(bench.config(), Watched(), wait=True)

    assert len(told.logits) == 25
    assert sum(count for count in seen["worker"] if count > 0) == 3 and -3 in seen["worker"]
    (life,) = bench.runpod.lives.values()
    assert life.starts == 1
    assert not bench.runpod.pods


def test_pods_that_never_boot_are_let_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are billed, so each is ended after its boot minutes; the job fails after as many as the settings allow."""
    from resolver.errors import RunError

    bench.runpod.boots = False
    with here(bench, monkeypatch) as ask, pytest.raises(RunError, match="2 pods did not finish it"):
        ask(bench.config(boot_minutes=0.01, attempts=2), wait=True)

    assert len(bench.runpod.lives) == 2 and bench.over()


@pytest.mark.parametrize("why", ["deadline", "no bridge", "cut off"])
def test_a_worker_ends_its_own_pod(bench: Bench, why: str) -> None:
    """At its deadline, where it can't begin, and when it fails, a pod deletes itself with its own key: nobody calls."""
    config = bench.config(hours=0.003 if why == "deadline" else 1)
    bench.worker = "calls:dying_worker" if why == "deadline" else "calls:worker"
    bench.runpod.boots = False
    assert bench.ask(config)[0] == 75
    (pod,) = bench.runpod.pods.values()
    if why == "no bridge":
        pod["env"] = {name: value for name, value in pod["env"].items() if name != "RESOLVER_JOB_BRIDGE"}
    if why == "cut off":
        bench.s3.files = {name: content[:50] for name, content in bench.s3.files.items()}
    bench.runpod.boots = True

    bench.until(bench.over)

    (life,) = bench.runpod.lives.values()
    assert (life.starts, life.ended_by) == (1, "pod")
    if why == "deadline":
        assert life.ended is not None and life.ended - life.made < 0.003 * 3600 + 20


def test_the_cap_is_kept_before_anything_is_ordered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the price until deadline and grace is more than the cap, no pod is made, and the figures are told."""
    from resolver.errors import RunError

    with here(bench, monkeypatch) as ask, pytest.raises(RunError, match=r"0\.95 USD.*the cap is 0\.50"):
        ask(bench.config(cap=0.5), wait=True)

    assert not bench.runpod.bodies


def test_two_calls_at_once_launch_one_pod(bench: Bench) -> None:
    """The second is told who is at it, or that the job is under way."""
    config = bench.config()
    bench.runpod.boots = False
    prompts = bench.folder / "prompts.json"
    prompts.write_text(json.dumps([HISTORY]))

    both = [bench.begin("calls:ask", config, bench.model, prompts) for _ in range(2)]
    codes = [one.wait() for one in both]

    assert set(codes) <= {75, 1} and 75 in codes
    assert "in use by process" in "".join(one.log.read_text() for one in both) or codes == [75, 75]
    assert len(bench.runpod.bodies) == 1


def test_cancel_ends_the_pod(bench: Bench) -> None:
    """A job is cancelled while its pod boots: pod and files at the bridge are gone, and the run says how to go on."""
    config = bench.config()
    bench.runpod.boots = False
    assert bench.ask(config)[0] == 75

    code, said = bench.call("calls:cli", "pods", "list", config, "--json")
    (row,) = json.loads(said)
    assert (row["machine"], row["status"]) == ("NVIDIA L4", "starting")
    assert row["job_state"].startswith("provisioning") and row["cost"] >= 0 and row["age_minutes"] >= 0
    bench.until(lambda: "no machine of theirs is left" in bench.call("calls:cli", "infer", config, "--cancel")[1])

    assert bench.over()
    assert all("/model-" in name for name in bench.s3.files)  # which stay for the next job
    code, said = bench.ask(config)
    assert code == 1 and "--again" in said


def test_reap_needs_no_record(bench: Bench) -> None:
    """With the record of jobs lost, pods are still listed with their age and cost, and ended once they are late."""
    config = bench.config(hours=0.004)
    bench.runpod.boots = False
    assert bench.ask(config)[0] == 75
    (life,) = bench.runpod.lives.values()
    name = parse(life.name)
    assert name is not None
    for file in (bench.folder / "run").glob("pods.sqlite*"):
        file.unlink()

    code, said = bench.call("calls:cli", "pods", "list", config)
    assert code == 0 and "NVIDIA L4, starting, 0 min old" in said and "USD so far" in said
    assert "provisioning" not in said
    alone = bench.folder / "pods.yaml"
    alone.write_text(json.dumps({"pods": json.loads(config.read_text().rsplit("pods: ", 1)[1])}))
    time.sleep(max(0.0, name.deadline - time.time()))
    code, said = bench.call("calls:cli", "pods", "reap", alone)

    assert code == 0 and "past its deadline" in said and "its end was asked for" in said
    assert bench.over()


def test_on_this_machine(bench: Bench) -> None:
    """The same without any provider: the worker is a process that nobody has to wait for, and that can be cancelled."""
    config = bench.config(provider="local")
    arguments = [sys.executable, "-m", "resolver", "infer", config, "--cancel"]
    mine = f"RESOLVER_JOB_BRIDGE=file://{bench.folder}".encode()

    assert bench.ask(config)[0] == 75
    assert len(processes.told(mine)) == 1
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "cancelled" in done.stdout, done.stderr
    assert not processes.told(mine)


def test_on_a_machine_over_ssh(bench: Bench, tmp_path: Path) -> None:
    """A worker that ssh started does the job with nobody connected, and is collected from a later call."""
    if loopback_ssh.missing():
        pytest.skip(loopback_ssh.missing())
    with loopback_ssh.serving(tmp_path / "ssh") as there:
        told = {"machines": ["gpu1"], "python": str(there.python), "ssh_config": str(there.config)}
        shared = {"bridge": str(tmp_path / "shared"), "settle_minutes": 0.0}
        config = bench.config(provider="ssh", backend="transformers", **told, **shared)

        assert bench.ask(config)[0] == 75
        mine = f"RESOLVER_JOB_BRIDGE=file://{tmp_path}".encode()
        bench.until(lambda: not processes.told(mine))
        found = bench.collected(config)

    assert len(found["logits"]) == 25
    assert [pod["machine"] for pod in found["facts"]["pods"]] == ["gpu1"]


def test_secrets_stay_where_they_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted keys are in no log, manifest, record, process list or pod; the pod gets the job's own seal and what opens
    its own files, and neither is written down anywhere else. No prompt leaves this machine unsealed."""
    arguments: list[bytes] = []
    config = bench.config()
    bench.runpod.made = lambda: arguments.extend(processes.arguments())
    assert bench.ask(config)[0] == 75
    (environment,) = [body["env"] for body in bench.runpod.bodies]
    kept = b"".join(bench.s3.files.values())
    told = bench.collected(config)
    arguments += processes.arguments()

    assert set(environment) >= {"RESOLVER_JOB_SEAL", "RESOLVER_JOB_BRIDGE"}
    assert all(name.startswith("RESOLVER_JOB_") for name in environment)
    of_pod = json.dumps(environment).encode()
    written = b"".join(file.read_bytes() for file in bench.folder.rglob("*") if file.is_file() and file != config)
    for secret in SECRETS:
        for place in (of_pod, kept, written, *arguments, json.dumps(told).encode()):
            assert secret not in place
    for secret in (environment["RESOLVER_JOB_SEAL"], environment["RESOLVER_JOB_BRIDGE"], "rpa_planted_secret_of"):
        for place in (kept, written, *arguments):
            assert secret.encode() not in place
    assert kept and HISTORY.encode() not in kept


def test_the_worker_of_this_machine_gets_no_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker here is told its own job and nothing else of the environment of whoever launched it."""
    config = bench.config(provider="local")

    assert bench.ask(config)[0] == 75

    (worker,) = processes.told(f"RESOLVER_JOB_BRIDGE=file://{bench.folder}".encode())
    environment, line = (worker / "environ").read_bytes(), (worker / "cmdline").read_bytes()
    assert not any(secret in environment for secret in SECRETS)
    assert b"RESOLVER_JOB_SEAL" not in line
    os.kill(int(worker.name), signal.SIGKILL)
