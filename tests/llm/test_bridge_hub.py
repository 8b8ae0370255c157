"""The hub bridge, both ends, with the real client against a hub on loopback: private, pinned, patient, put away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import fake_hub
import pytest

from llm_classifier.pods import scoring, sealed
from llm_classifier.pods import worker as worker_module
from llm_classifier.pods.bridges import Ticket, far
from llm_classifier.pods.bridges.hub import Hub
from llm_classifier.pods.errand import Scoring
from llm_classifier.pods.names import PodName
from llm_classifier.pods.parcel import HomeParcel
from llm_classifier.pods.providers import Offer
from llm_classifier.pods.results import Results
from llm_classifier.pods.worker import Worker
from resolver.errors import ResolverError, RunError, UsageError

pytestmark = [
    pytest.mark.llm,
    # huggingface_hub sends large files to its HTTP client in a way that this calls old
    pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning"),
]

USER, POD = "hf_planted_of_the_user", "hf_planted_of_the_pod"
ADDRESS = f"hf://datasets/{fake_hub.REPOSITORY}"
BRANCH = "resolver-job"


@pytest.fixture(scope="module")
def server() -> Iterator[fake_hub.Hub]:
    with fake_hub.serving() as hub:
        yield hub


@pytest.fixture
def hub(server: fake_hub.Hub, monkeypatch: pytest.MonkeyPatch) -> fake_hub.Hub:
    import huggingface_hub.constants

    server.clear()
    server.tokens = {USER: "write", POD: "fineGrained"}
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("RESOLVER_POD_HF_TOKEN", POD)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # as whoever loads a model here sets it
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # its storage is not on loopback
    return server


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def home(hub: fake_hub.Hub, waited: list[float]) -> Hub:
    return Hub(ADDRESS, USER, sleep=waited.append)


def worker(home: Hub, waited: list[float]) -> Hub:
    told = home.ticket(Ticket("job/ticket", (), (), time.time() + 60, bytes))
    opened = far(told, bytes)
    assert isinstance(opened, Hub)
    opened._sleep = waited.append
    return opened


def test_the_input_is_one_commit_on_a_branch_of_its_own(hub: fake_hub.Hub, home: Hub) -> None:
    """All files at once, on top of what was seen; large and small ones are read back; the main branch stays."""
    files = [("job/in/large.parquet", b"\x00part"), ("job/in/spec.json", b"{}")]

    home.put_all(files)

    (commit,) = hub.commits
    assert (commit["branch"], commit["parent"]) == (BRANCH, fake_hub.HEAD)
    assert list(hub.large.values()) == [b"\x00part"]
    assert [home.get(name) for name, _ in files] == [content for _, content in files]
    assert home.get("job/out/none") is None
    assert home.get("other/in/none") is None
    assert home.names("job/") == [name for name, _ in files]
    assert home.names("jo") == home.names("") == home.names("job/")
    assert home.names("job/out/") == home.names("other/") == []
    assert hub.heads["main"] == fake_hub.HEAD


def test_the_worker_reads_the_commit_that_it_was_told(hub: fake_hub.Hub, home: Hub, waited: list[float]) -> None:
    """Its input stays what it was when the ticket was made; everything else is as new as can be."""
    home.put_all([("job/in/a", b"asked"), ("job/heartbeat", b"1")])
    reader = worker(home, waited)
    home.put_all([("job/in/a", b"altered"), ("job/heartbeat", b"2")])

    assert reader.get("job/in/a") == b"asked"
    assert reader.get("job/heartbeat") == b"2"
    reader.put_all([("job/out/a", b"result"), ("job/heartbeat", b"3")])
    assert home.get("job/out/a") == b"result"
    assert len(hub.commits) == 3
    assert hub.commits[-1]["parent"] == hub.commits[-2]["oid"]


@pytest.mark.parametrize("there", [True, False])
def test_a_public_repository_is_refused(hub: fake_hub.Hub, home: Hub, there: bool) -> None:
    """Nothing is uploaded, whether it was there or an organisation's rules made it public."""
    hub.there, hub.private = there, False

    with pytest.raises(UsageError, match=r"is public.*pods\.bridge"):
        home.put("job/in/a", b"")
    assert not hub.commits


def test_a_missing_repository_is_made_private(hub: fake_hub.Hub, home: Hub) -> None:
    """Once, before the first commit."""
    hub.there = False
    home.put("job/in/a", b"a")

    assert [one.get("private") or one.get("visibility") == "private" for one in hub.created] == [True]
    assert home.get("job/in/a") == b"a"


def test_somebody_else_commits_meanwhile(hub: fake_hub.Hub, home: Hub, waited: list[float]) -> None:
    """A branch that has moved is read again; what was to be committed then stands on what the other did."""
    home.put("job/in/a", b"a")
    hub.faults, hub.only = ["moved", "moved"], "/commit/"

    home.put("job/in/b", b"b")

    assert waited == [1.0, 2.0]
    assert home.get("job/in/a") == b"a" and home.get("job/in/b") == b"b"
    assert hub.tree(BRANCH)["elsewhere"] == b"x"  # type: ignore[index]


@pytest.mark.parametrize(("fault", "pauses"), [("429", [7.0, 7.0]), ("503", [1.0, 2.0]), ("hang up", [1.0, 2.0])])
def test_a_hub_that_is_busy_is_asked_again(
    hub: fake_hub.Hub, home: Hub, waited: list[float], fault: str, pauses: list[float]
) -> None:
    """After the pause that it asks for; both ends, reading and writing."""
    home.put("job/in/a", b"a")
    far_end = worker(home, waited)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("/commit/", lambda: far_end.put("job/out/a", b"b")),
        ("/resolve/", lambda: far_end.get("job/in/a")),
        ("/commit/", lambda: home.put("job/in/c", b"c")),
    ]
    for only, call in calls:
        hub.faults, hub.only = [fault, fault], only
        waited.clear()
        assert call() in (None, b"a")
        assert waited[:2] == pauses  # the home end may meet the commit of the other on top
    assert home.names("job/") == ["job/in/a", "job/in/c", "job/out/a"]


@pytest.mark.parametrize("token", [None, USER, "classic", "elsewhere", "unknown"])
def test_a_worker_gets_a_token_for_this_repository_alone(
    hub: fake_hub.Hub, home: Hub, waited: list[float], monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    """None at all, the user's own, one that opens everything or more, and one that nobody knows are refused."""
    home.put("job/in/a", b"a")
    hub.tokens |= {"classic": "write"}
    if token is None:
        monkeypatch.delenv("RESOLVER_POD_HF_TOKEN")
    elif token == "elsewhere":
        hub.scope.append("clinic/all-else")
    else:
        monkeypatch.setenv("RESOLVER_POD_HF_TOKEN", token)

    with pytest.raises(ResolverError, match="RESOLVER_POD_HF_TOKEN") as error:
        worker(home, waited)
    assert "planted" not in str(error.value) and "\n" not in str(error.value)


def test_a_token_that_the_hub_refuses_gets_one_line(hub: fake_hub.Hub) -> None:
    """At once, with the name of the variable and without its value."""
    with pytest.raises(RunError, match="Check HF_TOKEN") as error:
        Hub(ADDRESS, "hf_planted_wrong").put("job/in/a", b"")
    assert "planted" not in str(error.value) and "\n" not in str(error.value)


def test_nothing_is_left(hub: fake_hub.Hub, home: Hub, waited: list[float]) -> None:
    """A file goes in a commit; a whole job goes with its branch and its large files, and no other job's."""
    home.put_all([("job/in/a", b"a"), ("job/in/large.parquet", b"\x00mine"), ("job/done", b"")])
    home.put_all([("other/in/large.parquet", b"\x00other")])
    reader = worker(home, waited)
    home.remove("job/done")
    home.remove("job/never")
    assert home.names("job/") == ["job/in/a", "job/in/large.parquet"]

    for _ in range(2):
        home.remove("job/")

    assert sorted(hub.heads) == ["main", "resolver-other"]
    assert list(hub.large.values()) == [b"\x00other"]
    assert home.names("") == ["other/in/large.parquet"]
    with pytest.raises(RunError, match="job is over"):
        reader.put("job/out/a", b"late")


def test_a_whole_job_over_the_hub(
    hub: fake_hub.Hub, home: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Input, a worker with its own token, answers home, nothing left: in three commits."""

    class Backend:
        def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
            yield from ((place, float(len(prompt))) for place, prompt in enumerate(prompts))

        def close(self) -> None: ...

    monkeypatch.setattr(scoring, "PART", 2)
    monkeypatch.setattr(
        worker_module, "_open", lambda spec, folder, image: (Backend(), scoring.making("f" * 16, image))
    )
    job, seal = "ab" * 32, sealed.new_key()
    results = Results(["a", "bb", "ccc"], tmp_path / "home")
    errand = Scoring(
        HomeParcel(home, job, seal), seal, results, "f" * 16, "vllm", Path("/model"), lambda: None, "image"
    )
    errand.prepare()
    name = PodName(job[:12], 1, int(time.time()) + 600, "0" * 8)

    told = errand.order(name, Offer("here")).environment
    assert USER not in "".join(told.values())
    monkeypatch.delenv("HF_ENDPOINT")  # a pod's environment has what the order says
    assert Worker(told).run() == 0

    assert errand.done() and errand.collect().result == "whole"
    assert results.answers().tolist() == [1.0, 2.0, 3.0]
    assert len(hub.commits) == 3  # the input, that it began, and all the rest
    errand.tidy()
    assert list(hub.heads) == ["main"]
