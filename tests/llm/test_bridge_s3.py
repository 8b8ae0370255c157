"""The S3 bridge, both ends, with the real clients against a store on loopback that fails as real ones do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import fake_s3
import pytest

from llm_classifier.pods.bridges import Ticket, patience
from llm_classifier.pods.bridges.urls import Urls
from resolver.errors import ResolverError, RunError, UsageError

pytest.importorskip("s3fs", reason="needs the extra s3")
pytest.importorskip("httpx", reason="needs the extra llm: make llm")

from llm_classifier.pods.bridges.s3 import S3

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": fake_s3.KEY,
    "AWS_SECRET_ACCESS_KEY": fake_s3.SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
CONTENT = bytes(range(256)) * 300


@pytest.fixture(scope="module")
def server() -> Iterator[fake_s3.FakeS3]:
    with fake_s3.serving() as fake:
        yield fake


def well(server: fake_s3.FakeS3) -> None:
    """Nothing is stored, and nothing goes wrong any more."""
    server.__dict__.update(fake_s3.FakeS3(url=server.url).__dict__)


@pytest.fixture
def fake(server: fake_s3.FakeS3, monkeypatch: pytest.MonkeyPatch) -> fake_s3.FakeS3:
    well(server)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return server


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def home(fake: fake_s3.FakeS3, waited: list[float]) -> Iterator[Callable[..., S3]]:
    """Opens a home end of its own."""
    with ExitStack() as stack:

        def opened(bucket: str = fake_s3.BUCKET, endpoint: str = fake.url) -> S3:
            s3 = S3(bucket, "some/where", endpoint, sleep=waited.append)
            stack.callback(s3.close)
            return s3

        yield opened


@pytest.fixture(scope="module")
def shared(server: fake_s3.FakeS3) -> Iterator[S3]:
    well(server)  # made before `fake`, and perhaps after a test that set the clock
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        s3 = S3(fake_s3.BUCKET, "some/where", server.url)
        s3.names("")  # the credentials are read now
    yield s3
    s3.close()


@pytest.fixture
def s3(fake: fake_s3.FakeS3, shared: S3, waited: list[float]) -> S3:
    shared._sleep = waited.append
    return shared


@pytest.fixture
def far(s3: S3, waited: list[float]) -> Iterator[Callable[..., Urls]]:
    """The far end of a ticket that lets read a and b, and write b."""
    opened_all: list[Urls] = []

    def opened(until: float = 3600.0) -> Urls:
        wanted = Ticket(
            "job/ticket", ("job/a", "job/b"), ("job/b",), time.time() + until, lambda content: content[::-1]
        )
        opened_all.append(Urls(s3.ticket(wanted)["BRIDGE"], lambda content: content[::-1], sleep=waited.append))
        return opened_all[-1]

    yield opened
    for one in opened_all:
        one.close()


def test_files_at_home(fake: fake_s3.FakeS3, s3: S3) -> None:
    """Put, got, listed over several pages, removed; nothing outside the prefix is seen or touched."""
    fake.files["other/job/a"] = b"not ours"
    fake.page = 2
    names = [f"job/in/{number} +&é.parquet" for number in range(5)]

    s3.put_all([(name, name.encode()) for name in names])

    assert sorted(fake.files) == ["other/job/a", *(f"some/where/{name}" for name in names)]
    assert s3.get(names[3]) == names[3].encode()
    assert s3.get("job/in/9") is None
    assert s3.names("job/") == names
    s3.remove("job/in/")
    assert list(fake.files) == ["other/job/a"]


def test_the_far_end_needs_no_credentials(
    fake: fake_s3.FakeS3, s3: S3, far: Callable[..., Urls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker reads and writes what its ticket holds and nothing else, with nothing in its environment."""
    s3.put("job/a", CONTENT)
    worker = far()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert worker.get("job/a") == CONTENT
    assert worker.get("job/b") is None
    worker.put("job/b", b"result")
    assert worker.get("job/b") == b"result"
    for forbidden in (lambda: worker.put("job/a", b""), lambda: worker.get("job/c")):
        with pytest.raises(RunError, match="does not hold"):
            forbidden()
    assert fake.files["some/where/job/a"] == CONTENT


def test_a_ticket_is_good_for_one_method_and_holds_no_secret(
    fake: fake_s3.FakeS3, s3: S3, far: Callable[..., Urls]
) -> None:
    """What the worker is told reads the sealed list; it can't write it, and the secret key is in neither."""
    ticket = far(600)._ticket

    assert 590 <= int(parse_qs(urlsplit(ticket).query)["X-Amz-Expires"][0]) <= 600
    with pytest.raises(ResolverError, match="not known there"):
        s3._transfer.put(ticket, b"mine")
    assert fake_s3.SECRET not in ticket
    assert fake_s3.SECRET.encode() not in fake.files["some/where/job/ticket"][::-1]


@pytest.mark.parametrize("fault", ["cut", "hang up", "503 SlowDown", "500 InternalError", "502 ", "400 RequestTimeout"])
def test_a_store_that_fails_now_and_then_is_asked_again(
    fake: fake_s3.FakeS3, s3: S3, far: Callable[..., Urls], waited: list[float], fault: str
) -> None:
    """Cut, dropped and refused for now: both ends end with the whole file, and never was a half one there."""
    s3.put("job/a", CONTENT)
    worker = far()
    assert worker.get("job/a")
    for call in (
        lambda: s3.put("job/b", CONTENT),
        lambda: worker.put("job/b", CONTENT),
        lambda: s3.get("job/a"),
        lambda: worker.get("job/a"),
        lambda: s3.names("job/"),
    ):
        fake.files.pop("some/where/job/b", None)
        fake.faults = [fault, fault]
        waited.clear()
        found = call()
        assert waited in ([1.0, 2.0], [1.0])  # aiohttp asks once more of its own where a connection is dropped
        assert found in (None, CONTENT) or found == ["job/a", "job/ticket"]
        assert fake.files.get("some/where/job/b", CONTENT) == CONTENT
    assert s3.get("job/b") is None


def test_patience_ends(fake: fake_s3.FakeS3, s3: S3, waited: list[float]) -> None:
    """A store that stays busy gets one line at last, and pauses grow up to a minute."""
    fake.faults = ["503 SlowDown"] * patience.TRIES

    with pytest.raises(RunError, match="503 SlowDown"):
        s3.put("job/a", b"")

    assert waited == [1, 2, 4, 8, 16, 32, 60]
    assert not fake.files


def test_a_store_that_is_not_there(home: Callable[..., S3], waited: list[float]) -> None:
    """A refused connection is asked again, then one line."""
    gone = home(endpoint="http://127.0.0.1:9")

    for call in (lambda: gone.names(""), lambda: gone.put("a", b"")):
        with pytest.raises(RunError, match="connection failed") as error:
            call()
        assert "\n" not in str(error.value)
    assert len(waited) == 2 * (patience.TRIES - 1)


CALLS: dict[str, Callable[[S3], object]] = {
    "GET": lambda s3: s3.get("job/a"),
    "PUT": lambda s3: s3.put("job/a", b"x"),
    "LIST": lambda s3: s3.names("job/"),
    "DELETE": lambda s3: s3.remove("job/"),
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("bucket", "no such bucket"),
        ("key", "not known there"),
        ("secret", "not known there"),
        ("none", "no credentials"),
        ("clock", "clock|not valid yet"),
        ("region", "another region"),
    ],
)
def test_what_stays_wrong_gets_its_own_line(
    fake: fake_s3.FakeS3,
    home: Callable[..., S3],
    waited: list[float],
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
    words: str,
) -> None:
    """Bucket, credentials, clock and region are told apart, at once, without what was signed."""
    fake.files["some/where/job/a"] = b""
    fake.ahead = -7200.0 if wrong == "clock" else 0.0
    if wrong in ("key", "none"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    if wrong == "secret":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    if wrong == "none":
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3 = home("elsewhere" if wrong == "bucket" else fake_s3.BUCKET)

    for kind, call in CALLS.items():
        if wrong == "region":
            fake.faults = ["400 AuthorizationHeaderMalformed"]
        if wrong == "secret" and kind in ("LIST", "DELETE"):  # botocore's signatures are not checked by the fake
            fake.faults = ["403 SignatureDoesNotMatch"]
        with pytest.raises(ResolverError, match=words) as error:
            call(s3)
        assert error.value.do
        assert "\n" not in str(error.value) and "X-Amz" not in str(error.value)
    assert not waited
    assert fake.files == {"some/where/job/a": b""}


def test_a_missing_right_is_named(fake: fake_s3.FakeS3, s3: S3) -> None:
    """Credentials that may not do one thing get the list of rights that they need."""
    for right, call in CALLS.items():
        fake.files["some/where/job/a"] = b""
        fake.rights = set(CALLS) - {right}
        with pytest.raises(UsageError, match=r"lack a right there.*s3:DeleteObject"):
            call(s3)


def test_a_right_to_list_is_missed_at_the_far_end_too(fake: fake_s3.FakeS3, far: Callable[..., Urls]) -> None:
    """Without it, S3 does not tell what is not there from what is forbidden; the line names the right."""
    worker = far()
    fake.rights.remove("LIST")

    with pytest.raises(UsageError, match="s3:ListBucket"):
        worker.get("job/b")


def test_an_expired_ticket_says_so(fake: fake_s3.FakeS3, s3: S3, far: Callable[..., Urls]) -> None:
    """Opened too late, or used too late, by the store's clock."""
    s3.put("job/a", b"")
    early, late = far(60), far(60)
    assert early.get("job/a") == b""
    fake.ahead = 120.0

    for call in (lambda: early.get("job/a"), lambda: early.put("job/b", b""), lambda: late.get("job/a")):
        with pytest.raises(RunError, match=r"expired.*pods\.hours"):
            call()


def test_a_ticket_of_a_job_that_is_over_says_so(s3: S3, far: Callable[..., Urls]) -> None:
    """Its list was removed with the job's files."""
    worker = far()
    s3.remove("job/")

    with pytest.raises(RunError, match="gone from the bridge"):
        worker.get("job/a")


def test_s3_signs_for_a_week_at_most(far: Callable[..., Urls]) -> None:
    """Longer is refused at home, where it can be helped."""
    with pytest.raises(UsageError, match="seven days"):
        far(8 * 24 * 3600)
