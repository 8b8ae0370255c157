"""What comes back is held against what was asked: whatever is done to it on the way is caught or harmless, and what is
whole is neither lost nor done again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from llm_classifier.pods import parcel as parcels
from llm_classifier.pods import scoring, sealed, worker
from llm_classifier.pods.bridges import Files, Ticket
from llm_classifier.pods.errand import Leftovers, Scoring
from llm_classifier.pods.names import PodName
from llm_classifier.pods.parcel import DONE, SPEC, HomeParcel
from llm_classifier.pods.providers import Offer
from llm_classifier.pods.results import Results
from llm_classifier.pods.seals import Seals
from llm_classifier.pods.worker import Worker
from resolver.errors import DamagedError, ResolverError

pytest.importorskip("cryptography", reason="needs the extra llm: make llm")

PROMPTS = [f"history {number}" for number in range(7)]
PARTS = ["00000.parquet", "00001.parquet", "00002.parquet", "00003.parquet"]
MODEL, IMAGE = "f" * 16, "worker@sha256:" + "0" * 64
JOB, OTHER = "ab" * 32, "cd" * 32
SEAL = bytes(32)


@dataclass
class Memory:
    """A bridge that is looked into and tampered with."""

    files: dict[str, bytes] = field(default_factory=dict)
    pause: float = 0.0
    puts: list[list[str]] = field(default_factory=list)
    asked: list[Ticket] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> None:
        self.put_all([(name, content)])

    def put_all(self, files: Files) -> None:
        told = dict(files)
        self.files |= told
        self.puts.append([name.partition("/")[2] for name in told])

    def get(self, name: str) -> bytes | None:
        return self.files.get(name)

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.files if name.startswith(prefix))

    def remove(self, prefix: str) -> None:
        self.files = {name: content for name, content in self.files.items() if not name.startswith(prefix)}

    def ticket(self, wanted: Ticket) -> Mapping[str, str]:
        self.asked.append(wanted)
        return {"BRIDGE": "memory://"}

    def close(self) -> None: ...


@dataclass
class Backend:
    """Answers with a number that follows from the prompt, and counts what it was asked."""

    shift: float = 0.0
    bad: float | None = None
    asked: list[str] = field(default_factory=list)

    def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
        self.asked += prompts
        for place, prompt in enumerate(prompts):
            yield place, (float(prompt.split()[1]) + self.shift) if self.bad is None else self.bad

    def close(self) -> None: ...


def truth(shift: float = 0.0) -> list[float]:
    return [number + shift for number in range(len(PROMPTS))]


@pytest.fixture(scope="module", autouse=True)
def _small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "PART", 2)
        yield


def errand(bridge: Memory, home: Path, job: str = JOB, prompts: Sequence[str] = PROMPTS) -> Scoring:
    return Scoring(
        HomeParcel(bridge, job, SEAL),
        SEAL,
        Results(prompts, home),
        MODEL,
        "transformers",
        Path("/model"),
        lambda: None,
        IMAGE,
    )


def work(own: Scoring, bridge: Memory, attempt: int = 1, backend: Backend | None = None, **made: str) -> Backend:
    """A worker's whole life, in this process."""
    answers = Backend() if backend is None else backend
    name = PodName(own.parcel.job[:12], attempt, int(time.time()) + 600, f"{attempt:08x}")
    order = own.order(name, Offer("here"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcels, "far", lambda told, unseal: bridge)
        patch.setattr(worker, "_open", lambda spec, folder, image: (answers, scoring.making(MODEL, image) | made))
        Worker(order.environment).run()
    return answers


class Worlds(dict[str, dict[str, bytes]]):
    def __repr__(self) -> str:
        return ", ".join(self)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    """The bridge after each of some jobs: this one, an earlier try of it, another job, and one with another model."""
    home = tmp_path_factory.mktemp("done")
    worlds = Worlds()
    for name, job, shift, made in [
        ("ours", JOB, 0.0, {}),
        ("earlier", JOB, 0.25, {}),
        ("another", OTHER, 0.5, {}),
        ("foreign", JOB, 0.75, {"model": "e" * 16}),
    ]:
        bridge = Memory()
        own = errand(bridge, home / name, job)
        own.prepare()
        work(own, bridge, backend=Backend(shift), **made)
        worlds[name] = {key.partition("/")[2]: content for key, content in bridge.files.items()}
    return worlds


NAMES = st.sampled_from([*(f"out/{name}" for name in PARTS), DONE, SPEC, "in/00001.parquet", "heartbeat"])
HARMS = st.one_of(
    st.tuples(st.just("drop"), NAMES, NAMES),
    st.tuples(st.just("cut"), NAMES, st.integers(0, 200)),
    st.tuples(st.just("alter"), NAMES, st.integers(0, 10_000)),
    st.tuples(st.just("swap"), NAMES, NAMES),
    st.tuples(st.just("copy"), NAMES, NAMES),
    st.tuples(st.sampled_from(["earlier", "another", "foreign"]), NAMES, NAMES),
)


def harm(files: dict[str, bytes], worlds: Worlds, what: str, name: str, other: Any) -> None:
    content = files.get(name, b"")
    if what == "drop":
        files.pop(name, None)
    elif what == "cut":
        files[name] = content[:other]
    elif what == "alter" and content:
        place = other % len(content)
        files[name] = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    elif what == "swap":
        files[name], files[other] = files.get(other, b""), content
    elif what == "copy":
        files[other] = content
    elif what in worlds and name in worlds[what]:
        files[name] = worlds[what][name]


@hypothesis(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(harms=st.lists(HARMS, min_size=1, max_size=5))
@example(harms=[("earlier", "done", "done")])
@example(harms=[("earlier", "out/00000.parquet", "")])
@example(harms=[("drop", SPEC, SPEC), ("drop", DONE, DONE)])
@example(harms=[("foreign", DONE, DONE), ("foreign", "out/00002.parquet", "")])
@example(harms=[("earlier", f"out/{name}", "") for name in PARTS] + [("earlier", DONE, "")])
def test_any_harm_is_caught_or_harmless(
    done: Worlds, tmp_path_factory: pytest.TempPathFactory, harms: list[tuple[str, str, Any]]
) -> None:
    """What comes home was made for these prompts by what was asked; what nobody touched comes home; another worker
    does what is missing and nothing else; at last all is there."""
    ours = done["ours"]
    files = dict(ours)
    for one in harms:
        harm(files, done, *one)
    bridge = Memory({f"{JOB}/{name}": content for name, content in files.items()})
    own = errand(bridge, tmp_path_factory.mktemp("home"))

    found = own.collect()

    missing = own.results.missing()
    assert (found.result == "whole") == (not missing)
    authentic = {
        name: {sealed.unseal(SEAL, JOB, f"out/{name}", done[world][f"out/{name}"]) for world in ("ours", "earlier")}
        for name in PARTS
    }
    mine = {name: {sealed.unseal(SEAL, JOB, f"out/{name}", ours[f"out/{name}"])} for name in PARTS}
    kept = [name for name in PARTS if name not in missing]
    assert all((own.results.folder / name).read_bytes() in authentic[name] for name in kept)
    told = files.get(DONE)
    if told == ours[DONE] and files.get(SPEC) == ours[SPEC]:
        assert all((own.results.folder / name).read_bytes() not in authentic[name] - mine[name] for name in kept)
    digests_hold = told in (ours[DONE], None) or told not in [world[DONE] for world in done.values()]
    for name in PARTS:
        if files.get(f"out/{name}") == ours[f"out/{name}"] and digests_hold:
            assert name in kept, "whole, and lost"
    if missing:
        assert not own.done()
        assert found.why and "history" not in found.why
        backend = work(own, bridge, attempt=2)
        starts = [2 * int(name[:5]) for name in missing]
        assert set(backend.asked) <= {prompt for start in starts for prompt in PROMPTS[start : start + 2]}
        assert own.collect().result == "whole"
    offs = np.asarray(own.results.answers()) - truth()
    assert set(offs.tolist()) <= {0.0, 0.25}
    assert not own.results.missing()


@pytest.mark.parametrize("key", ["model", "prompt", "package", "image"])
def test_what_another_made_is_foreign(tmp_path: Path, key: str) -> None:
    """And named: nothing of it comes home, and the next worker does it all again."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge, **{key: "another"})
    assert own.done()

    found = own.collect()

    assert found.result == "foreign" and f"of {key} another" in found.why
    assert own.results.missing() == PARTS
    assert len(work(own, bridge, attempt=2).asked) == len(PROMPTS)
    assert own.collect().result == "whole"
    assert own.results.answers().tolist() == truth()


RIGHT = pl.DataFrame({"place": [2, 3], "digest": [scoring._digest(one) for one in PROMPTS[2:4]], "logit": [2.0, 3.0]})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (RIGHT.reverse(), "other places"),
        (RIGHT.with_columns(place=pl.Series([0, 1])), "other places"),
        (RIGHT.with_columns(pl.col("digest").reverse()), "other prompts"),
        (RIGHT.head(1), "1 answers to 2 prompts"),
        (pl.concat([RIGHT, RIGHT]), "4 answers to 2 prompts"),
        (RIGHT.with_columns(logit=pl.Series([None, 1.0])), "no numbers"),
        (RIGHT.drop("digest"), "another form"),
        (RIGHT.with_columns(pl.col("logit").cast(pl.String)), "another form"),
        (None, "can't be read"),
    ],
)
def test_a_result_answers_what_was_asked(wrong: pl.DataFrame | None, words: str) -> None:
    """Even one that our own worker sealed: these prompts, in these places, once each, in numbers."""
    assert scoring.check("x", PROMPTS[2:4], 2, scoring._bytes(RIGHT)).tolist() == [2.0, 3.0]

    with pytest.raises(DamagedError, match=words):
        scoring.check("x", PROMPTS[2:4], 2, b"PAR1" if wrong is None else scoring._bytes(wrong))


def test_a_worker_goes_on_where_another_stopped(tmp_path: Path) -> None:
    """What that one did as this one would is taken over; what was altered since, or made by another, is done again."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge)
    harm(bridge.files, Worlds(), "alter", f"{JOB}/out/{PARTS[0]}", 40)
    other = scoring.work(own.results.packed(PARTS[1]), Backend(0.5), scoring.making("e" * 16, IMAGE))
    own.parcel.put(f"out/{PARTS[1]}", other)

    backend = work(own, bridge, attempt=2)

    assert backend.asked == PROMPTS[:4]
    assert own.collect().result == "whole"
    assert own.results.answers().tolist() == truth()


def test_a_result_that_answers_something_else_is_taken_away(tmp_path: Path) -> None:
    """So that no further worker takes it over as done."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge)
    other = scoring.work(own.results.packed(PARTS[0]), Backend(), scoring.making(MODEL, IMAGE))
    own.parcel.put(f"out/{PARTS[1]}", other)
    bridge.remove(f"{JOB}/{DONE}")

    found = own.collect()

    assert found.result == "partial" and "answers other places" in found.why
    assert work(own, bridge, attempt=2).asked == PROMPTS[2:4]
    assert own.collect().result == "whole"


def test_an_input_that_is_not_the_one_packed_is_not_worked_on(tmp_path: Path) -> None:
    """The worker gives up with the name of the part, and the next attempt gets it anew."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    own.prepare()
    own.parcel.put(f"in/{PARTS[1]}", scoring.pack(PROMPTS[:2], 0))

    work(own, bridge)

    heard = own.heartbeat()
    assert heard is not None and heard.failed == f"the part {PARTS[1]} is not what the job says"
    assert work(own, bridge, attempt=2).asked == PROMPTS[2:]
    assert own.collect().result == "whole"


@pytest.mark.parametrize(("bad", "whole"), [(float("inf"), False), (float("nan"), True)])
def test_answers_are_numbers_or_missing(tmp_path: Path, bad: float, whole: bool) -> None:
    """An infinite logit is refused; a prompt that could not be scored is told as missing."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge, backend=Backend(bad=bad))

    assert (own.collect().result == "whole") is whole
    if whole:
        assert np.isnan(own.results.answers()).all()


def test_a_worker_that_is_not_the_one_asked_for_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up before it loads anything, with one line of what differs."""
    from llm_classifier import artifact

    class Told:
        fingerprint = "e" * 16

    monkeypatch.setattr(artifact, "check", lambda folder: Told)
    with pytest.raises(ResolverError, match=f"of model {'e' * 16}, not of {MODEL}"):
        worker._open({"asked": scoring.making(MODEL, IMAGE), "backend": "x"}, tmp_path, IMAGE)
    with pytest.raises(ResolverError, match="of image other"):
        worker._open({"asked": scoring.making("e" * 16, IMAGE), "backend": "x"}, tmp_path, "other")


def test_a_store_that_is_written_to_seldom_gets_all_in_one_go(tmp_path: Path) -> None:
    """Results wait until it wants to be written to; the last ones go with the word that all is done."""
    bridge = Memory(pause=3600.0)
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge)

    assert bridge.puts[-1] == [*(f"out/{name}" for name in PARTS), "heartbeat", "done"]
    assert len(bridge.puts) == 3  # input, started, and that
    assert own.collect().result == "whole"


def test_results_that_wait_are_sent_when_the_worker_fails(tmp_path: Path) -> None:
    """Work that was paid for is not lost with the worker."""

    class Breaks(Backend):
        def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
            if len(self.asked) >= 4:
                raise RuntimeError(prompts[0])
            return super().logits(prompts)

    bridge = Memory(pause=3600.0)
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge, backend=Breaks())

    heard = own.heartbeat()
    assert heard is not None and heard.failed == "RuntimeError" and heard.done == 2
    own.tidy()
    assert own.results.missing() == PARTS[2:]


def test_only_what_is_missing_travels_again(tmp_path: Path) -> None:
    """Of a job that is taken up again, parts that are home are neither sent nor done."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    own.prepare()
    work(own, bridge)
    bridge.remove(f"{JOB}/out/{PARTS[1]}")
    own.tidy()
    assert not bridge.files

    backend = work(own, bridge)

    assert backend.asked == PROMPTS[2:4]
    assert own.collect().result == "whole"
    assert own.results.answers().tolist() == truth()


def test_a_job_that_is_over_leaves_nothing_that_can_be_read(tmp_path: Path) -> None:
    """Neither files nor the key to copies of them; of a job that is put away unasked, what came back is kept."""
    seals = Seals(tmp_path / "seals")
    bridge = Memory({f"{OTHER}/in/a": b"of another job"})
    seal = seals.of(JOB)
    assert seals.of(JOB) == seal and (tmp_path / "seals" / JOB).stat().st_mode & 0o077 == 0
    parcel = HomeParcel(bridge, JOB, seal)
    own = Scoring(
        *(parcel, seal, Results(PROMPTS, tmp_path / "home"), MODEL, "vllm", Path("/model")),
        lambda: seals.destroy(JOB),
        IMAGE,
    )
    own.prepare()
    work(own, bridge)
    harm(bridge.files, Worlds(), "alter", f"{JOB}/out/{PARTS[0]}", 40)

    for _ in range(2):
        Leftovers(parcel, tmp_path / "home", lambda: seals.destroy(JOB)).tidy()

    assert list(bridge.files) == [f"{OTHER}/in/a"]
    assert not (tmp_path / "seals" / JOB).exists()
    assert own.results.missing() == PARTS[:1]


def test_a_ticket_holds_what_the_worker_needs_and_no_more(tmp_path: Path) -> None:
    """It reads the input and what others did, writes results and its own word, and is good past the deadline."""
    bridge = Memory()
    own = errand(bridge, tmp_path)
    work(own, bridge)
    (wanted,) = bridge.asked

    started = wanted.writes[-3].removeprefix(f"{JOB}/")
    assert started.startswith("started/resolver-")
    out = [f"{JOB}/out/{name}" for name in PARTS]
    assert wanted.writes == (*out, f"{JOB}/{started}", f"{JOB}/heartbeat", f"{JOB}/done")
    assert set(wanted.reads) == {f"{JOB}/{SPEC}", *(f"{JOB}/in/{name}" for name in PARTS), *out, f"{JOB}/{started}"}
    assert 600 < wanted.until - time.time() < 2 * 3600
    assert json.loads(own.parcel.get(SPEC) or b"")["asked"]["image"] == IMAGE
