"""Answers to prompts from a rented machine: launch once, then collect.

Whoever asks gets the answers if they are there. If not, and only if launching is allowed, a job is begun; a job that is
under way is taken a few steps on. Either way the caller is told to come back (exit code 75).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from llm_classifier import artifact
from llm_classifier.measures import Floats
from llm_classifier.pods import bridges, sealed
from llm_classifier.pods.errand import Scoring
from llm_classifier.pods.jobs import Job, Jobs, Terms
from llm_classifier.pods.machine import Collected, Heartbeat, Machine
from llm_classifier.pods.names import PodName
from llm_classifier.pods.parcel import Parcel
from llm_classifier.pods.providers import Offer, Order, Provider, open_provider
from resolver import files
from resolver.errors import PendingError, RunError
from resolver.progress import Progress
from resolver.settings import Settings

PAUSE = 5.0  # seconds between two looks while waiting
STEPS = 12  # at most in one call that does not wait: from new to provisioning, or from done to released


@dataclass(frozen=True)
class Leave:
    """What the command allows: `resolver run` neither launches nor waits."""

    launch: bool = False
    wait: bool = False
    again: bool = False  # try a job that failed or was cancelled once more


_leave: ContextVar[Leave] = ContextVar("leave", default=Leave())  # noqa: B039  frozen


@contextmanager
def allowing(leave: Leave) -> Iterator[None]:
    token = _leave.set(leave)
    try:
        yield
    finally:
        _leave.reset(token)


def answers(prompts: Sequence[str], model: Path, settings: Settings, progress: Progress) -> Floats:
    """The logit of each prompt, from a finished job; PendingError where there is none yet."""
    leave, pods = _leave.get(), settings.pods
    told = artifact.check(model)
    key = files.digest_of(["score", told.fingerprint, pods.backend, [files.digest_of(one) for one in prompts]])
    jobs = Jobs(place_of_jobs(settings))
    try:
        job = jobs.get(key)
        if job is None and not leave.launch:
            raise PendingError(
                f"{len(prompts):,} prompts wait for a worker.",
                do="Launch it with: resolver infer CONFIG",
            )
        errand = _errand(prompts, key, told.fingerprint, model, settings)
        job = jobs.add(key, "score", terms(settings), time.time())
        if job.state in ("failed", "cancelled"):
            if not (leave.again and leave.launch):
                raise RunError(
                    f"Job {key[:12]} {'was cancelled' if job.state == 'cancelled' else 'failed: ' + job.why}.",
                    do="Try it again with: resolver infer CONFIG --again",
                )
            jobs.reopen(key, terms(settings), time.time())
        if job.state != "succeeded":
            machine = Machine(jobs, provider(settings), time.time)
            job = _follow(machine, key, errand, leave, progress)
        if job.state != "succeeded":
            raise RunError(f"Job {key[:12]} failed: {job.why}.", do="Try it again with: resolver infer CONFIG --again")
        return errand.answers()
    finally:
        jobs.close()


def _follow(machine: Machine, key: str, errand: Scoring, leave: Leave, progress: Progress) -> Job:
    """Step on while steps lead somewhere; with leave to wait, to the end."""
    job, steps = machine.step(key, errand), 1
    with progress.step("worker", None, "parts") as step:
        done = 0
        while not job.over:
            was, job = job, machine.step(key, errand)
            steps += 1
            heard = errand.heartbeat()
            if heard is not None and heard.done > done:
                step.advance(heard.done - done)
                done = heard.done
            if job.state != was.state and (leave.wait or steps < STEPS):
                continue
            if not leave.wait:
                raise PendingError(
                    f"Job {key[:12]} is {job.state} ({job.why}).",
                    do="Run the same command again later; see it with: resolver pods list CONFIG",
                )
            time.sleep(PAUSE)
    return job


def _errand(prompts: Sequence[str], key: str, fingerprint: str, model: Path, settings: Settings) -> Scoring:
    pods, home = settings.pods, place_of_jobs(settings).parent / "pods"
    bridge = bridges.reach(f"file://{(pods.bridge or home / 'bridge').absolute()}")
    seal = _seal(home / "seals" / key)
    return Scoring(
        Parcel(bridge, key, seal),
        seal,
        prompts,
        fingerprint,
        pods.backend,
        str((pods.model or model).absolute()),
        home / "answers" / key,
        pods.image or "",
    )


class _Nothing:
    """The side of a job of which nothing is wanted any more."""

    def prepare(self) -> None: ...

    def order(self, name: PodName, offer: Offer) -> Order:
        raise RunError("A cancelled job orders no machine.")

    def heartbeat(self) -> Heartbeat | None:
        return None

    def done(self) -> bool:
        return False

    def collect(self) -> Collected:
        return Collected("partial", "cancelled")


nothing = _Nothing()


def _seal(path: Path) -> bytes:
    """The job's own key: made once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = path.read_bytes()
        if len(found) == sealed.KEY:
            return found
        path.unlink()  # cut off by a kill, so nothing was ever sealed with it
        return _seal(path)
    with os.fdopen(handle, "wb") as file:
        file.write(sealed.new_key())
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


def provider(settings: Settings) -> Provider:
    return open_provider(settings.pods, place_of_jobs(settings).parent / "pods" / "machines")


def terms(settings: Settings) -> Terms:
    pods = settings.pods
    return Terms(
        hours=pods.hours,
        grace_minutes=pods.grace_minutes,
        boot_minutes=pods.boot_minutes,
        stall_minutes=pods.stall_minutes,
        settle_minutes=pods.settle_minutes if pods.provider == "runpod" else 0.0,  # a process is listed at once
        attempts=pods.attempts,
        cap=pods.cap,
    )


def place_of_jobs(settings: Settings) -> Path:
    return settings.pods.jobs or settings.index_path.with_name("pods.sqlite")
