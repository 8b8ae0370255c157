"""What a rented machine makes: launch once, then collect. Answers to prompts here; models in models.py.

Whoever asks gets the result if it is there. If not, and only if launching is allowed, a job is begun; a job that is
under way is taken a few steps on. Either way the caller is told to come back (exit code 75).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_classifier import artifact
from llm_classifier.measures import Floats
from llm_classifier.pods import opening
from llm_classifier.pods.desk import Desk
from llm_classifier.pods.errand import Errand
from llm_classifier.pods.jobs import Job, Jobs
from llm_classifier.pods.machine import Machine
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


@dataclass(frozen=True)
class Answers:
    logits: Floats  # of each prompt, in order
    facts: dict[str, Any]  # of the job: where it was done and what it cost


_leave: ContextVar[Leave] = ContextVar("leave", default=Leave())  # noqa: B039  frozen


@contextmanager
def allowing(leave: Leave) -> Iterator[None]:
    token = _leave.set(leave)
    try:
        yield
    finally:
        _leave.reset(token)


def answers(prompts: Sequence[str], model: Path, settings: Settings, progress: Progress) -> Answers:
    """The logit of each prompt, from a finished job; PendingError where there is none yet."""
    desk, fingerprint = Desk.of_run(settings), artifact.check(model).fingerprint
    key = files.digest_of(["score", fingerprint, desk.pods.backend, [files.digest_of(one) for one in prompts]])

    def errand() -> AbstractContextManager[Errand]:
        return opening.scoring(prompts, key, fingerprint, model, desk.pods, desk.home, progress)

    told = result(Asked(key, "score", f"{len(prompts):,} prompts wait for a worker."), errand, desk, progress)
    return Answers(opening.results(prompts, key, desk.home).answers(), told)


@dataclass(frozen=True)
class Asked:
    """One job, as whoever asks for it knows it."""

    key: str  # hash of all that the result depends on
    kind: str
    waiting: str = "A worker is needed."  # what to say where nothing may be launched
    unit: str = "parts"
    there: Callable[[], bool] | None = None  # whether the result is where it belongs, if it may be taken away again


def result(
    asked: Asked, errand: Callable[[], AbstractContextManager[Errand]], desk: Desk, progress: Progress
) -> dict[str, Any]:
    """What a job took, once its result is here; PendingError until then."""
    leave, key, there = _leave.get(), asked.key, asked.there is not None and asked.there()
    again = f"Try it again with: {desk.command} --again"
    jobs = desk.jobs()
    try:
        job = jobs.get(key)
        if there and (job is None or job.over):
            return facts(jobs, key)
        if job is None and not leave.launch:
            raise PendingError(asked.waiting, do=f"Launch it with: {desk.command}")
        job = jobs.add(key, asked.kind, desk.terms(), time.time())
        lost = job.state == "succeeded" and asked.there is not None
        if lost or job.state in ("failed", "cancelled"):
            if not (leave.again and leave.launch):
                how = "failed: " + job.why if job.state == "failed" else "was cancelled"
                raise RunError(f"Job {key[:12]} {'came home, and is not there now' if lost else how}.", do=again)
            jobs.reopen(key, desk.terms(), time.time())
            job = replace(job, state="retry")
        if job.state != "succeeded":
            machine = Machine(jobs, desk.provider(), time.time)
            with errand() as own:
                job = _follow(machine, asked, own, leave, progress)
        if job.state != "succeeded":
            raise RunError(f"Job {key[:12]} failed: {job.why}.", do=again)
        told = facts(jobs, key)
        if told["spent_usd"]:
            progress.say(f"language model: job {key[:12]} cost {told['spent_usd']:.2f} USD")
        return told
    finally:
        jobs.close()


def _follow(machine: Machine, asked: Asked, errand: Errand, leave: Leave, progress: Progress) -> Job:
    """Step on while steps lead somewhere; with leave to wait, to the end."""
    key = asked.key
    job, steps = machine.step(key, errand), 1
    with progress.step("worker", None, asked.unit) as step:
        done = 0
        while not job.over:
            was, job = job, machine.step(key, errand)
            steps += 1
            heard = errand.heartbeat()
            if heard is not None and heard.total:
                step.total(heard.total)
                step.advance(max(0, heard.done - done))
                done = max(done, heard.done)
            if job.state != was.state and (leave.wait or steps < STEPS):
                continue
            if not leave.wait:
                raise PendingError(
                    f"Job {key[:12]} is {job.state} ({job.why}){money(machine.jobs, key)}.",
                    do="Run the same command again later; see it with: resolver pods list CONFIG",
                )
            time.sleep(PAUSE)
    return job


def facts(jobs: Jobs, key: str) -> dict[str, Any]:
    """What a job took so far."""
    now = time.time()
    pods = [one for one in jobs.pods(key) if one.asked is not None]
    return {
        "job": key[:12],
        "spent_usd": round(sum(one.cost(now) for one in pods), 4),
        "reserved_usd": round(sum(one.reserved for one in pods if one.gone is None), 4),
        "pods": [
            {"provider": one.provider, "machine": one.machine, "image": one.image, **json.loads(one.facts)}
            for one in pods
        ],
    }


def money(jobs: Jobs, key: str) -> str:
    """What a job has cost, and what is kept for the machine that it has now; "" where machines cost nothing."""
    told = facts(jobs, key)
    if not told["spent_usd"] and not told["reserved_usd"]:
        return ""
    return f", {told['spent_usd']:.2f} USD spent, {told['reserved_usd']:.2f} USD reserved"
