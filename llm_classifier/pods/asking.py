"""Answers to prompts from a rented machine: launch once, then collect.

Whoever asks gets the answers if they are there. If not, and only if launching is allowed, a job is begun; a job that is
under way is taken a few steps on. Either way the caller is told to come back (exit code 75).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_classifier import artifact
from llm_classifier.measures import Floats
from llm_classifier.pods import opening
from llm_classifier.pods.errand import Scoring
from llm_classifier.pods.jobs import Job, Jobs, Terms
from llm_classifier.pods.machine import Machine
from llm_classifier.pods.providers import Provider, open_provider
from resolver import files
from resolver.errors import PendingError, RunError
from resolver.progress import Progress
from resolver.settings import Settings

PAUSE = 5.0  # seconds between two looks while waiting
SETTLE = {"local": 0.0, "ssh": 1.0, "runpod": 5.0}  # minutes; a process of this machine is listed at once
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
    leave, pods = _leave.get(), settings.pods
    made = artifact.check(model)
    key = files.digest_of(["score", made.fingerprint, pods.backend, [files.digest_of(one) for one in prompts]])
    jobs = Jobs(place_of_jobs(settings))
    try:
        job = jobs.get(key)
        if job is None and not leave.launch:
            raise PendingError(
                f"{len(prompts):,} prompts wait for a worker.",
                do="Launch it with: resolver infer CONFIG",
            )
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
            fingerprint = made.fingerprint
            with opening.scoring(prompts, key, fingerprint, model, pods, home_of_pods(settings), progress) as errand:
                job = _follow(machine, key, errand, leave, progress)
        if job.state != "succeeded":
            raise RunError(f"Job {key[:12]} failed: {job.why}.", do="Try it again with: resolver infer CONFIG --again")
        told = facts(jobs, key)
        if told["spent_usd"]:
            progress.say(f"language model: job {key[:12]} cost {told['spent_usd']:.2f} USD")
        return Answers(opening.results(prompts, key, home_of_pods(settings)).answers(), told)
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


def provider(settings: Settings) -> Provider:
    return open_provider(settings.pods, home_of_pods(settings) / "machines")


def terms(settings: Settings) -> Terms:
    pods = settings.pods
    return Terms(
        hours=pods.hours,
        grace_minutes=pods.grace_minutes,
        boot_minutes=pods.boot_minutes,
        stall_minutes=pods.stall_minutes,
        settle_minutes=SETTLE[pods.provider] if pods.settle_minutes is None else pods.settle_minutes,
        attempts=pods.attempts,
        cap=pods.cap,
    )


def place_of_jobs(settings: Settings) -> Path:
    return settings.pods.jobs or settings.index_path.with_name("pods.sqlite")


def home_of_pods(settings: Settings) -> Path:
    """Where the files of all jobs are kept."""
    return place_of_jobs(settings).parent / "pods"
