"""One step of one job at a time. Every step can be repeated, and the program can be killed at any line of it.

    new -> prepared -> launching -> provisioning -> running -> collecting -> releasing -> succeeded
                          |  ^          |              |           |             |-> failed, cancelled
                          v  '- retry <-+--------------+-----------+-------------'
                   launch-unknown

What makes it safe:
- A pod is intended, under a name that nobody else has, before the provider is asked for it. Whatever happens then, its
  name tells whose it is and when it has to be gone.
- Whether a pod is there is asked of the provider at each step, by name. An answer that got lost, or was wrong, is set
  right by the next step.
- A job is over only when every pod ever intended for it was seen gone. Work is done again only after that, so that it
  is not paid for twice.
Knows nothing of what the work is, nor where machines and files are.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from llm_classifier.pods.jobs import OVER, Intent, Job, Jobs, State, Terms
from llm_classifier.pods.names import PodName, parse
from llm_classifier.pods.providers import Denied, Offer, Order, Pod, Provider, ProviderError, Refused
from resolver.errors import UsageError

OVERPRICE = 1.01  # a pod billed at more than this times the listed price is not kept


@dataclass(frozen=True)
class Heartbeat:
    """What the worker last said."""

    pod: str
    at: float  # by the worker's own clock: it tells one heartbeat from the next, and nothing else
    done: int
    total: int
    failed: str = ""  # why it gave up; "" while it has not
    unit: str = "parts"
    final: bool = False  # another pod would give up for the same reason


@dataclass(frozen=True)
class Collected:
    result: Literal["whole", "partial", "foreign"]
    why: str


class Work(Protocol):
    """The job's own side: what goes in, what comes out."""

    def prepare(self) -> None:
        """Bring the input to the bridge. Again is harmless."""

    def order(self, name: PodName, offer: Offer) -> Order: ...

    def heartbeat(self) -> Heartbeat | None: ...

    def done(self) -> bool:
        """Whether some pod of this job said that all is there."""

    def collect(self) -> Collected:
        """Take home what is whole."""

    def tidy(self) -> None:
        """Leave nothing of it at the bridge. Again is harmless."""


class Machine:
    def __init__(self, jobs: Jobs, provider: Provider, clock: Callable[[], float]) -> None:
        self.jobs = jobs
        self.provider = provider
        self.clock = clock

    def step(self, key: str, work: Work) -> Job:
        """Take a job one step on; the job as it stands then."""
        with self.jobs.held(key):
            job = self.jobs.get(key)
            assert job is not None, "steps are taken by jobs that were added"
            if job.over:
                return job
            self._same_provider(job)
            try:
                seen = self._observe(job)
                return self._act(job, work, seen)
            except Denied:
                raise
            except ProviderError as error:
                with self.jobs.change():
                    return self.jobs.move(job, job.state, f"{self.provider.name} can't be asked: {error}", self.clock())

    def _same_provider(self, job: Job) -> None:
        """A pod that this provider would not list is not gone for that, so nothing can be said of it here."""
        for one in self.jobs.pods(job.key):
            if one.asked is None or one.gone is not None:
                continue
            if one.provider != self.provider.name or not self.provider.shows(one.machine):
                raise UsageError(
                    f"Job {job.key[:12]} has a machine of {one.provider} ({one.machine}), which this config can't see.",
                    do="Put pods.provider and pods.machines back as they were until that machine is gone.",
                )

    def _observe(self, job: Job) -> Mapping[str, Pod]:
        """Hold what is recorded of the job's pods against what the provider lists, and end those that are too old."""
        intents = [one for one in self.jobs.pods(job.key) if one.asked is not None]
        if not intents:
            return {}
        listed = {pod.name: pod for pod in self.provider.pods() if pod.status != "gone"}
        now = self.clock()
        settle = job.terms.settle_minutes * 60
        found = []
        for intent in intents:
            pod = listed.get(intent.name)
            if pod is not None:
                price = max(intent.price, pod.price or 0.0)
                found.append(
                    replace(intent, id=pod.id, price=price, last_seen=now, missed=None, gone=None, facts=_facts(pod))
                )
            elif intent.gone is None:
                found.append(self._missed(intent, now, settle))
        with self.jobs.change():
            for intent in found:
                self.jobs.put(intent)
        for intent in found:
            if intent.gone is None and intent.id is not None and now >= intent.deadline:
                self.provider.end(intent.id)
        return listed

    def _missed(self, intent: Intent, now: float, settle: float) -> Intent:
        """A pod that is not listed: gone, or late."""
        assert intent.asked is not None
        since = now if intent.missed is None else intent.missed
        late = now - intent.asked < settle
        if intent.id is None:
            late = late or now - since < settle
        elif not late:
            # Two answers of the provider agree: it neither lists the pod nor knows its id.
            late = self.provider.describe(intent.id) is not None
        return replace(intent, missed=since, gone=None if late else now)

    def _act(self, job: Job, work: Work, seen: Mapping[str, Pod]) -> Job:
        match job.state:
            case "new" if job.cancelled:
                return self._move(job, "releasing", "cancelled", after="cancelled")
            case "new":
                work.prepare()
                return self._move(job, "prepared", "the input is at the bridge")
            case "prepared" | "retry":
                return self._intend(job)
            case "launching":
                return self._launch(job, work)
            case "launch-unknown":
                return self._find(job)
            case "provisioning" | "running":
                return self._watch(job, work, seen)
            case "collecting":
                return self._collect(job, work)
            case _:
                return self._release(job, work)

    def _intend(self, job: Job) -> Job:
        """Write down which pod comes next, before anybody is asked for it."""
        now, terms = self.clock(), job.terms
        pods = self.jobs.pods(job.key)
        if job.cancelled:
            return self._move(job, "releasing", "cancelled", after="cancelled")
        if any(one.gone is None for one in pods):
            return self._move(job, "releasing", "a pod that was gone is listed again", after="retry")
        if sum(one.asked is not None for one in pods) >= terms.attempts:
            return self._move(job, "releasing", f"{terms.attempts} pods did not finish it: {job.why}", after="failed")
        offers = self.provider.offers()
        tried = {(one.machine, one.region) for one in pods if _attempt(one) == job.attempt}
        offer = next((one for one in offers if (one.machine, one.region) not in tried), None)
        if offer is None:
            why = "no machine of those wanted is free now" if offers else "there is no machine of those wanted"
            return self._move(job, "retry", why, attempt=job.attempt + 1)
        reserved = offer.price * (terms.hours + terms.grace_minutes / 60)
        spent = sum(one.cost(now) for one in pods)
        if spent + reserved > terms.cap:
            why = f"another pod may cost {reserved:.2f} USD, {spent:.2f} are spent, and the cap is {terms.cap:.2f}"
            return self._move(job, "releasing", why, after="failed")
        deadline = int(now + terms.hours * 3600)
        name = PodName(job.key[:12], job.attempt, deadline, secrets.token_hex(4))
        intent = Intent(
            *(str(name), job.key, offer.machine, offer.region, now, deadline, offer.price, reserved),
            provider=self.provider.name,
        )
        with self.jobs.change():
            self.jobs.intend(name, intent)
            return self.jobs.move(job, "launching", f"{offer.machine} at {offer.price:.2f} USD an hour", now)

    def _launch(self, job: Job, work: Work) -> Job:
        intent = self.jobs.pods(job.key)[-1]
        if intent.asked is not None:
            return self._move(job, "launch-unknown", "stopped while the provider was being asked")
        name = parse(intent.name)
        assert name is not None
        if job.cancelled:
            return self._move(job, "releasing", "cancelled", after="cancelled")
        order = work.order(name, Offer(intent.machine, intent.region, intent.price))
        asked = replace(intent, asked=self.clock(), image=order.image)
        with self.jobs.change():
            self.jobs.put(asked)
        try:
            pod = self.provider.launch(order)
        except Refused as error:
            with self.jobs.change():
                self.jobs.put(replace(intent, gone=self.clock()))
                # What a person sets right is asked for anew; what is out of stock is passed over this time round.
                attempt = job.attempt + isinstance(error, Denied)
                why = f"{intent.machine}: {error.what}"
                refused = self.jobs.move(job, "retry", why, self.clock(), attempt=attempt)
            if isinstance(error, Denied):
                raise
            return refused
        except ProviderError as error:
            return self._move(job, "launch-unknown", error.what)
        now = self.clock()
        price = max(asked.price, pod.price or 0.0)
        with self.jobs.change():
            made = replace(asked, id=pod.id, last_seen=now, price=price, facts=_facts(pod))
            self.jobs.put(made)
            other = _other(made, pod, job.terms)
            if other:
                return self.jobs.move(job, "releasing", other, now, after="retry")
            return self.jobs.move(job, "provisioning", f"{intent.machine} is on its way", now)

    def _find(self, job: Job) -> Job:
        """After an answer that got lost: is there a pod of that name?"""
        intent = self.jobs.pods(job.key)[-1]
        if intent.id is not None and intent.gone is None:
            if job.cancelled:
                return self._move(job, "releasing", "cancelled", after="cancelled")
            return self._move(job, "provisioning", "the pod was made after all")
        if intent.gone is not None:
            return self._move(job, "retry", "the pod was not made", attempt=job.attempt + 1)
        return job

    def _watch(self, job: Job, work: Work, seen: Mapping[str, Pod]) -> Job:
        now, terms = self.clock(), job.terms
        intent = self.jobs.pods(job.key)[-1]
        if work.done():
            return self._move(job, "collecting", "the worker says that it is done")
        if job.cancelled:
            return self._move(job, "releasing", "cancelled", after="cancelled")
        pod = seen.get(intent.name)
        heard, silent = self._listen(intent, work)
        other = "" if pod is None else _other(intent, pod, terms)
        assert intent.asked is not None
        if other:
            wrong = other
        elif heard is not None and heard.failed:
            wrong = f"its worker gave up: {heard.failed}"
        elif intent.gone is not None or (pod is not None and pod.status == "exited"):
            wrong = "its pod ended before it was done"
        elif now >= intent.deadline:
            wrong = f"it was not done in {terms.hours:g} hours"
        elif heard is None and now - intent.asked > terms.boot_minutes * 60:
            wrong = f"its worker was not heard within {terms.boot_minutes:g} minutes"
        elif silent > terms.stall_minutes * 60:
            wrong = f"its worker fell silent for {terms.stall_minutes:g} minutes"
        elif heard is None:
            return job
        else:
            return self._move(job, "running", f"{heard.done} of {heard.total} {heard.unit} done")
        after: State = "failed" if heard is not None and heard.final else "retry"
        return self._move(job, "releasing", wrong, after=after)

    def _listen(self, intent: Intent, work: Work) -> tuple[Heartbeat | None, float]:
        """What this pod's worker last said, and for how long it has said nothing else: by our clock, not by its own."""
        said = work.heartbeat()
        if said is None or said.pod != intent.name:
            return None, 0.0
        now, mark = self.clock(), f"{said.at} {said.done} {said.total}"
        if mark != intent.said:
            with self.jobs.change():
                self.jobs.put(replace(intent, said=mark, heard=now))
            return said, 0.0
        return said, now - (intent.heard or now)

    def _collect(self, job: Job, work: Work) -> Job:
        found = work.collect()
        after: State = "succeeded" if found.result == "whole" else "retry"
        return self._move(job, "releasing", found.why, after=after)

    def _release(self, job: Job, work: Work) -> Job:
        """End every pod that may be there; over when all were seen gone, and nothing is left at the bridge."""
        now = self.clock()
        left = [one for one in self.jobs.pods(job.key) if one.gone is None]
        with self.jobs.change():
            for intent in left:
                if intent.asked is None:  # nobody was ever asked for it
                    self.jobs.put(replace(intent, gone=now))
        left = [one for one in left if one.asked is not None]
        for intent in left:
            if intent.id is not None:
                self.provider.end(intent.id)
        if left:
            return job
        after: State = "cancelled" if job.cancelled and job.after == "retry" else job.after
        if after in OVER:
            work.tidy()
        more = {"attempt": job.attempt + 1} if after == "retry" else {}
        return self._move(job, after, job.why, **more)

    def _move(self, job: Job, state: State, why: str, **more: object) -> Job:
        if state == job.state and why == job.why and not more:
            return job
        with self.jobs.change():
            return self.jobs.move(job, state, why, self.clock(), **more)


def _facts(pod: Pod) -> str:
    return json.dumps({"status": pod.status, **pod.facts}, sort_keys=True)


def _other(intent: Intent, pod: Pod, terms: Terms) -> str:
    """How a pod differs from the one that was ordered; "" where it does not."""
    ordered = intent.reserved / (terms.hours + terms.grace_minutes / 60)
    price = max(intent.price, pod.price or 0.0)
    if price > ordered * OVERPRICE:
        return f"the pod costs {price:.2f} USD an hour, not {ordered:.2f}"
    if intent.region and pod.region and pod.region != intent.region:
        return f"the pod is in {pod.region}, not in {intent.region}"
    return ""


def _attempt(intent: Intent) -> int:
    name = parse(intent.name)
    return 0 if name is None else name.attempt
