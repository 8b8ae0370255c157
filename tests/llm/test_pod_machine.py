"""The steps of a job under faults and kills, on a virtual clock."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llm_classifier.pods import reaper
from llm_classifier.pods.jobs import SCHEMA, Intent, Job, Jobs, Terms
from llm_classifier.pods.machine import Collected, Heartbeat, Machine
from llm_classifier.pods.names import PodName, parse
from llm_classifier.pods.providers import Denied, Offer, Order, Pod, ProviderError, Refused, Unclear
from resolver.errors import RunError, UsageError

MINUTE = 60.0
TICK = 5 * MINUTE  # how often cron calls the reaper
PARTS = 12  # minutes of work
TERMS = Terms(hours=1, grace_minutes=45, boot_minutes=20, stall_minutes=10, settle_minutes=5, attempts=3, cap=2.5)
KEY = "ab" * 32


OFFERS = (Offer("small", price=1.0), Offer("large", price=2.0))


class Killed(BaseException):
    """The program ends here, as by kill -9."""


@dataclass
class Machinery:
    """A pod as it really is, whatever anybody is told of it."""

    name: str
    price: float
    made: float
    boots: bool = True
    restarts: bool = False  # its container ends half-way
    hangs: bool = False  # its worker falls silent half-way and never ends the pod
    skew: float = 0.0  # of its clock
    visible: float = 0.0  # listed from then on
    lingers: float = 0.0  # listed for so long after its end
    lies: int = 0  # deletes that are answered with success and do nothing
    ended: float | None = None

    @property
    def deadline(self) -> float:
        name = parse(self.name)
        assert name is not None
        return float(name.deadline)


@dataclass
class Cloud:
    """A provider that fails in the ways that real ones do. Its pods do the work, minute by minute."""

    name: str = "cloud"
    now: float = 1_800_000_000.0
    made: dict[str, Machinery] = field(default_factory=dict)
    parts: set[int] = field(default_factory=set)
    said: Heartbeat | None = None
    finished: bool = False
    faults: list[str] = field(default_factory=list)  # of the pods to come, in turn
    deaf: int = 0  # further calls that get no answer
    blank: float = 0.0  # until then no pod is listed

    def offers(self) -> list[Offer]:
        return list(OFFERS)

    def shows(self, machine: str) -> bool:
        return True

    def launch(self, order: Order) -> Pod:
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "refused":
            raise Refused("no stock")
        if fault == "lost":
            raise Unclear("500")
        assert all(pod.name != order.name for pod in self.made.values()), "a name is used once"
        id = f"p{len(self.made)}"
        price = order.offer.price * (1.5 if "dear" in fault else 1.0)
        new = Machinery(order.name, price, self.now)
        new.boots = fault != "stuck"
        new.restarts = fault == "restarts"
        new.hangs = fault == "hangs"
        new.skew = {"behind": -7 * 3600.0, "ahead": 7 * 3600.0}.get(fault, 0.0)
        new.visible = self.now + (3 * MINUTE if fault in ("late", "made, 500", "made, 500, dear") else 0)
        new.lingers = 3 * MINUTE if fault == "lingers" else 0.0
        new.lies = 2 if fault == "lies" else 0
        self.made[id] = new
        if fault.startswith("made, 500"):
            raise Unclear("500")
        if fault == "killed":
            raise Killed
        return Pod(id, order.name, "starting", price)

    def pods(self) -> list[Pod]:
        self._hear()
        if self.now < self.blank:
            return []
        return [self._pod(id, pod) for id, pod in self.made.items() if self._known(pod)]

    def describe(self, id: str) -> Pod | None:
        self._hear()
        pod = self.made[id]
        return self._pod(id, pod) if self._known(pod) else None

    def end(self, id: str) -> None:
        self._hear()
        pod = self.made[id]
        if pod.lies > 0:
            pod.lies -= 1
        elif pod.ended is None:
            pod.ended = self.now

    def _known(self, pod: Machinery) -> bool:
        return self.now >= pod.visible and (pod.ended is None or self.now < pod.ended + pod.lingers)

    def _hear(self) -> None:
        if self.deaf > 0:
            self.deaf -= 1
            raise ProviderError("503")

    def _pod(self, id: str, pod: Machinery) -> Pod:
        up = self.now - pod.made > 2 * MINUTE and pod.boots
        return Pod(id, pod.name, "running" if up else "starting", pod.price)

    def minute(self) -> None:
        """What the machines do in a minute: one part each, then they end themselves."""
        self.now += MINUTE
        for pod in self.made.values():
            if pod.ended is not None or not pod.boots or self.now - pod.made <= 2 * MINUTE:
                continue
            missing = sorted(set(range(PARTS)) - self.parts)
            half = len(missing) <= PARTS // 2
            if pod.hangs and half:
                continue
            if self.finished or self.now >= pod.deadline or (pod.restarts and half):
                pod.ended = self.now
            elif missing:
                self.parts.add(missing[0])
                self.said = Heartbeat(pod.name, self.now + pod.skew, PARTS - len(missing) + 1, PARTS)
            else:
                self.finished = True

    def paid(self) -> float:
        return sum(pod.price * ((pod.ended or self.now) - pod.made) / 3600 for pod in self.made.values())


@dataclass
class Errand:
    """The work, as the machine sees it."""

    cloud: Cloud
    home: set[int] = field(default_factory=set)
    prepared: int = 0
    tidied: bool = False

    def prepare(self) -> None:
        self.prepared += 1

    def order(self, name: PodName, offer: Offer) -> Order:
        return Order(str(name), offer, "image")

    def heartbeat(self) -> Heartbeat | None:
        return self.cloud.said

    def done(self) -> bool:
        return self.cloud.finished

    def tidy(self) -> None:
        assert all(pod.ended is not None for pod in self.cloud.made.values()), "no worker writes after that"
        self.tidied = True

    def collect(self) -> Collected:
        self.home |= self.cloud.parts
        whole = len(self.home) == PARTS
        return Collected("whole" if whole else "partial", f"{len(self.home)} of {PARTS}")


class Fused(Jobs):
    """Records that end the program after so many changes, before or after the change is on disk."""

    fuse: int | None = None
    after: bool = False

    @contextmanager
    def change(self) -> Iterator[None]:
        now = self._burns()
        with super().change():
            yield
            if now and not self.after:
                raise Killed
        if now:
            raise Killed

    def _burns(self) -> bool:
        if self.fuse is None:
            return False
        self.fuse -= 1
        if self.fuse > 0:
            return False
        self.fuse = None
        return True


FAILING = ("stuck", "restarts", "hangs", "dear", "made, 500, dear")  # pods that do not finish the work
FAULTS = st.sampled_from(
    ["none", "refused", "lost", "made, 500", "late", "lies", "killed", "behind", "ahead", "lingers", *FAILING]
)
ACTIONS = st.one_of(
    st.tuples(st.just("follow"), st.integers(4, 12), st.integers(1, 6)),  # calls, minutes between two of them
    st.tuples(st.just("follow"), st.integers(4, 12), st.integers(1, 6)),
    st.tuples(st.just("away"), st.integers(1, 60), st.just(0)),  # minutes
    st.tuples(st.just("silence"), st.integers(1, 2), st.just(0)),  # calls without an answer
    st.tuples(st.just("blank"), st.integers(1, 8), st.just(0)),  # minutes in which the list is empty
    st.tuples(st.just("fuse"), st.integers(1, 4), st.integers(0, 1)),  # changes until a kill; before or after it
    st.tuples(st.just("cancel"), st.integers(0, 3), st.just(0)),  # only if it is 0
)


class Story:
    """A job, the cloud, and somebody who calls now and then."""

    def __init__(self, folder: Path, faults: list[str]) -> None:
        self.folder = folder
        self.cloud = Cloud(faults=list(faults))
        self.errand = Errand(self.cloud)
        self.open()
        self.jobs.add(KEY, "score", TERMS, self.cloud.now)

    def open(self) -> None:
        self.jobs = Fused(self.folder / "jobs.sqlite")
        self.machine = Machine(self.jobs, self.cloud, lambda: self.cloud.now)

    def survive(self, call: Callable[[], object]) -> None:
        """Killed in a call, the program is started again and reads its records."""
        try:
            call()
        except Killed:
            self.jobs.close()
            self.open()

    def act(self, what: str, number: int, other: int) -> None:
        if what == "follow":
            for _ in range(number):
                self.survive(lambda: self.machine.step(KEY, self.errand))
                self.check()
                self.passes(other)
        elif what == "away":
            self.passes(number)
        elif what == "silence":
            self.cloud.deaf = number
        elif what == "blank":
            self.cloud.blank = self.cloud.now + number * MINUTE
        elif what == "fuse":
            self.jobs.fuse, self.jobs.after = number, bool(other)
        elif number == 0:
            self.survive(lambda: self.jobs.cancel(KEY))

    def passes(self, minutes: int) -> None:
        """Time goes by, and cron calls the reaper, which has no records."""
        for _ in range(minutes):
            self.cloud.minute()
            if self.cloud.now % TICK < MINUTE:
                with suppress(ProviderError):
                    reaper.look(self.cloud, lambda: self.cloud.now, end=True)
            self.check()

    def check(self) -> None:
        """No pod outlives its time, none works beside another, and what is reserved covers what is paid."""
        alive = [pod for pod in self.cloud.made.values() if pod.ended is None]
        assert len(alive) <= 1, "work may be paid for twice"
        for pod in self.cloud.made.values():
            assert (pod.ended or self.cloud.now) <= pod.deadline + TERMS.grace_minutes * MINUTE
        reserved = sum(one.reserved for one in self.jobs.pods(KEY) if one.asked is not None)
        assert self.cloud.paid() <= min(reserved, TERMS.cap) + 1e-9
        job = self.job
        if job.over:
            assert not alive, "over, and a pod lives"
            assert self.errand.tidied, "over, and its files lie about"
            assert job.state != "succeeded" or self.errand.home == set(range(PARTS))

    @property
    def job(self) -> Job:
        job = self.jobs.get(KEY)
        assert job is not None
        return job

    def end(self) -> Job:
        """All is well from now on, and somebody calls every minute."""
        self.cloud.deaf, self.cloud.blank, self.jobs.fuse = 0, 0.0, None
        for _ in range(500):
            if self.job.over:
                return self.job
            self.act("follow", 1, 1)
        raise AssertionError(f"not over: {self.job}")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(faults=["lies"], actions=[("follow", 4, 1), ("cancel", 0, 0), ("follow", 2, 1)])
@given(faults=st.lists(FAULTS, min_size=4, max_size=4), actions=st.lists(ACTIONS, min_size=2, max_size=8))
def test_whatever_happens_no_pod_is_forgotten(faults: list[str], actions: list[tuple[str, int, int]]) -> None:
    """Under any schedule of faults, kills and absence, pods end in time, alone, and within what was reserved."""
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder), faults)
        for action in actions:
            story.act(*action)
        story.end()
        story.jobs.close()


@settings(max_examples=40, deadline=None)
@given(faults=st.lists(FAULTS, min_size=3, max_size=3))
def test_a_further_pod_needs_a_cause(faults: list[str]) -> None:
    """A job that is only followed gets another pod when one failed, was refused or got lost, and else none."""
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder), faults)
        job = story.end()
        failing = [fault in FAILING for fault in faults]
        made = [fault not in ("refused", "lost") for fault in faults]
        needed = next((n for n in range(3) if made[n] and not failing[n]), 3)
        assert len(story.cloud.made) <= sum(made[: needed + 1]) + (needed == 3)
        assert job.state == "succeeded" or needed == 3 or "cap" in job.why
        story.jobs.close()


def test_a_pod_that_costs_more_than_listed_is_not_kept(tmp_path: Path) -> None:
    """The price that is really billed is held against the list before any work is done."""
    story = Story(tmp_path, ["dear"])

    for _ in range(4):  # prepared, intended, launched, let go
        story.survive(lambda: story.machine.step(KEY, story.errand))
        story.cloud.minute()

    assert story.cloud.made["p0"].ended is not None
    assert not story.cloud.parts
    assert "1.50 USD an hour, not 1.00" in story.job.why
    story.jobs.close()


def test_a_pod_that_never_boots_is_let_go_after_its_boot_minutes(tmp_path: Path) -> None:
    """Nobody waits for the deadline while a machine that does not come up is billed."""
    story = Story(tmp_path, ["stuck"])

    job = story.end()

    stuck = story.cloud.made["p0"]
    assert stuck.ended is not None
    assert stuck.ended - stuck.made <= (TERMS.boot_minutes + 3) * MINUTE
    assert job.state == "succeeded"
    assert len(story.cloud.made) == 2
    story.jobs.close()


def test_a_worker_whose_clock_is_wrong_is_not_taken_for_silent(tmp_path: Path) -> None:
    """Silence is counted from when this side saw the last heartbeat: hours of difference change nothing."""
    for fault in ("behind", "ahead"):
        (tmp_path / fault).mkdir()
        story = Story(tmp_path / fault, [fault])

        for _ in range(8):  # more often than the worker says something
            story.act("follow", 3, 0)
            story.passes(1)
        assert story.end().state == "succeeded"
        assert len(story.cloud.made) == 1
        story.jobs.close()


def test_a_worker_that_falls_silent_is_let_go_after_its_stall_minutes(tmp_path: Path) -> None:
    """A pod that lives on and says nothing is ended, and another does the rest: parts that are done are kept."""
    story = Story(tmp_path, ["hangs"])

    job = story.end()

    hung = story.cloud.made["p0"]
    assert hung.ended is not None
    silent_since = hung.made + (2 + PARTS // 2) * MINUTE
    assert hung.ended - silent_since <= (TERMS.stall_minutes + 3) * MINUTE
    assert job.state == "succeeded"
    assert len(story.cloud.made) == 2
    story.jobs.close()


def test_a_pod_elsewhere_is_not_kept(tmp_path: Path) -> None:
    """Where the settings name regions, a pod that the provider put elsewhere is ended before it works."""
    story = Story(tmp_path, [])
    story.cloud.offers = lambda: [Offer("small", "EU-RO-1", 1.0)]  # type: ignore[method-assign]
    pod = story.cloud._pod
    story.cloud._pod = lambda id, made: replace(pod(id, made), region="US-TX-3")  # type: ignore[method-assign]

    for _ in range(8):
        story.survive(lambda: story.machine.step(KEY, story.errand))
        story.cloud.now += 1

    assert story.cloud.made["p0"].ended is not None
    assert "in US-TX-3, not in EU-RO-1" in " ".join(line for _, line in story.jobs.log(KEY))
    story.jobs.close()


def test_another_provider_cannot_say_that_a_pod_is_gone(tmp_path: Path) -> None:
    """A config that changed its provider meanwhile is refused while a machine of the former one may live."""
    story = Story(tmp_path, [])
    for _ in range(4):
        story.machine.step(KEY, story.errand)
    story.cloud.name = "elsewhere"

    with pytest.raises(UsageError, match="a machine of cloud"):
        story.machine.step(KEY, story.errand)
    story.jobs.close()


def test_what_only_a_person_can_set_right_is_an_error(tmp_path: Path) -> None:
    """A rejected key ends the call with the reason; once it is set right the job goes on, and nothing was reserved."""
    story = Story(tmp_path, [])
    launch = story.cloud.launch

    def denied(order: Order) -> Pod:
        raise Denied("no balance")

    story.cloud.launch = denied  # type: ignore[method-assign]
    story.machine.step(KEY, story.errand)
    story.machine.step(KEY, story.errand)
    with pytest.raises(Denied, match="no balance"):
        story.machine.step(KEY, story.errand)
    assert [one.asked for one in story.jobs.pods(KEY)] == [None]
    story.cloud.launch = launch  # type: ignore[method-assign]

    assert story.end().state == "succeeded"
    story.jobs.close()


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Columns that came later are added; what stands in the record stays."""
    path = tmp_path / "jobs.sqlite"
    with closing(sqlite3.connect(path)) as con:
        con.executescript(SCHEMA)
        con.execute("INSERT INTO jobs VALUES ('k', 'score', 'failed', 'why', 1, 'failed', 0, 0, 0, '{}')")
        con.execute(
            "INSERT INTO pods (name, job, machine, region, intended, deadline, price, reserved)"
            " VALUES ('a', 'k', 'small', '', 0, 1, 1.0, 2.0)"
        )
        con.commit()

    jobs = Jobs(path)

    assert [(one.name, one.provider, one.heard) for one in jobs.pods()] == [("a", "", None)]
    jobs.close()


def test_what_was_spent_counts_against_the_cap(tmp_path: Path) -> None:
    """A pod that nobody looked after until its deadline cost an hour: what is left is too little for another."""
    story = Story(tmp_path, ["hangs"])
    story.act("follow", 4, 1)
    story.act("away", 80, 0)

    job = story.end()

    assert job.state == "failed"
    assert "1.75 USD, 1." in job.why and "the cap is 2.50" in job.why
    assert len(story.cloud.made) == 1
    story.jobs.close()


def test_a_late_pod_is_ended_though_its_bridge_is_away(tmp_path: Path) -> None:
    """What is late is ended before anything else is looked at: no failure of the rest keeps it alive."""
    story = Story(tmp_path, ["stuck"])
    story.act("follow", 4, 0)
    story.cloud.now += TERMS.hours * 3600 + 1

    def away() -> bool:
        raise RunError("the bridge is away")

    story.errand.done = away  # type: ignore[method-assign]
    with pytest.raises(RunError):
        story.machine.step(KEY, story.errand)

    assert story.cloud.made["p0"].ended is not None
    story.jobs.close()


def test_pods_of_jobs_that_are_over_are_ended_and_those_of_others_are_not(tmp_path: Path) -> None:
    """The reaper ends what its own records say nobody waits for; a pod in other people's records lives on."""
    story = Story(tmp_path, ["killed"])
    story.act("follow", 4, 0)  # the pod is made, and nobody knows its id
    ours = next(iter(story.cloud.made.values()))
    other = str(replace(parse(ours.name), nonce="0" * 8))  # type: ignore[type-var]
    story.cloud.made["other"] = Machinery(other, 1.0, story.cloud.now)
    with story.jobs.change():
        story.jobs.move(story.job, "failed", "given up", story.cloud.now)

    told = reaper.look(story.cloud, lambda: story.cloud.now, story.jobs, end=True)

    assert {one.pod.name: (one.stray, one.ended, one.late) for one in told} == {
        ours.name: (True, True, False),
        other: (False, False, False),
    }
    assert ours.ended is not None and story.cloud.made["other"].ended is None
    story.jobs.close()


def test_the_cost_of_a_pod_is_never_less_than_what_is_billed(tmp_path: Path) -> None:
    """Counted from the order, at the highest price that was seen, until the pod is known to be gone."""
    asked = Intent("a", "k", "small", "", 0.0, 3600.0, 1.0, 2.0)

    assert asked.cost(1e6) == 0.0  # never ordered
    assert replace(asked, asked=0.0).cost(1800.0) == 0.5
    assert replace(asked, asked=0.0, price=2.0, last_seen=1800.0).cost(3600.0) == 2.0
    assert replace(asked, asked=0.0, last_seen=1800.0, gone=1900.0).cost(1e6) == pytest.approx(1900 / 3600)
    assert replace(asked, asked=0.0, gone=1900.0).cost(1e6) == 0.0  # it was never there


def test_a_pod_that_is_only_unlisted_is_not_gone(tmp_path: Path) -> None:
    """The list lacks it for longer than lists may lag, but its id is known: no second pod works beside it."""
    story = Story(tmp_path, [])
    story.act("follow", 6, 1)
    story.cloud.blank = story.cloud.now + 9 * MINUTE
    story.act("follow", 8, 1)

    assert [one.gone for one in story.jobs.pods(KEY)] == [None]
    assert story.end().state == "succeeded"
    assert len(story.cloud.made) == 1
    story.jobs.close()


def test_a_pod_that_comes_back_is_ended_before_another_is_made(tmp_path: Path) -> None:
    """Taken for gone and listed again, it is let go first: two never work side by side."""
    story = Story(tmp_path, [])
    story.act("follow", 4, 1)
    (intent,) = story.jobs.pods(KEY)
    with story.jobs.change():
        story.jobs.put(replace(intent, gone=story.cloud.now))
        story.jobs.move(story.job, "retry", "taken for gone", story.cloud.now)

    job = story.machine.step(KEY, story.errand)
    assert (job.state, job.why) == ("releasing", "a pod that was gone is listed again")
    story.act("follow", 8, 1)

    first = story.cloud.made["p0"]
    assert first.ended is not None
    assert all(one.made >= first.ended for id, one in story.cloud.made.items() if id != "p0")
    story.jobs.close()


def test_a_pod_whose_price_rises_is_let_go_and_counted_at_the_higher_price(tmp_path: Path) -> None:
    """What is billed is looked at as long as a pod lives, not at its making alone."""
    story = Story(tmp_path, [])
    story.act("follow", 4, 1)
    story.cloud.made["p0"].price = 1.5

    assert story.machine.step(KEY, story.errand).state == "releasing"

    assert [one.price for one in story.jobs.pods(KEY)] == [1.5]
    story.jobs.close()


def test_the_reaper_ends_at_the_deadline(tmp_path: Path) -> None:
    """By the name alone: not a second before, and nothing of others."""
    story = Story(tmp_path, ["stuck"])
    story.act("follow", 4, 0)
    (pod,) = story.cloud.made.values()

    for now, late in ((pod.deadline - 1, False), (pod.deadline, True)):
        (found,) = reaper.look(story.cloud, lambda now=now: now, end=True)  # type: ignore[misc]
        assert (found.late, found.ended) == (late, late)
        assert (pod.ended is not None) == late
    story.jobs.close()


def test_a_job_that_failed_is_tried_again_when_asked_for(tmp_path: Path) -> None:
    """As many further pods as the terms allow, after the parts that are done; what the first ones cost still counts."""
    story = Story(tmp_path, ["restarts"] * 3)
    assert story.end().state == "failed"
    story.cloud.parts = {0}
    spent = sum(one.cost(story.cloud.now) for one in story.jobs.pods(KEY))

    story.jobs.reopen(KEY, TERMS, story.cloud.now)

    assert story.end().state == "succeeded"
    assert len(story.cloud.made) == 4
    assert sum(one.cost(story.cloud.now) for one in story.jobs.pods(KEY)) > spent > 0
    story.jobs.close()


def test_machines_and_regions_are_tried_in_their_order(tmp_path: Path) -> None:
    """What is refused is passed over in this round; refusals cost nothing and do not count as attempts."""
    story = Story(tmp_path, ["refused"] * 4)
    offers = [Offer(machine, region, 1.0) for machine in ("a", "b") for region in ("X", "Y")]
    story.cloud.offers = lambda: offers  # type: ignore[method-assign]

    assert story.end().state == "succeeded"

    tried = [(one.machine, one.region) for one in story.jobs.pods(KEY)]
    assert tried == [("a", "X"), ("a", "Y"), ("b", "X"), ("b", "Y"), ("a", "X")]
    assert [one.asked is None for one in story.jobs.pods(KEY)] == [True] * 4 + [False]
    story.jobs.close()
