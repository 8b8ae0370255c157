"""What is the same for all bridges: which may be used, what a job leaves there, and folders that travel in pieces."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from llm_classifier import artifact, golden
from llm_classifier.pods import bridges, cleaning, folders, opening, sealed
from llm_classifier.pods.bridges.folder import Folder
from llm_classifier.pods.carrying import Carried, unpacked
from llm_classifier.pods.jobs import Jobs, Terms
from llm_classifier.pods.names import PodName
from llm_classifier.pods.parcel import HomeParcel
from llm_classifier.pods.seals import Seals
from resolver.errors import DamagedError, SettingsError, UsageError
from resolver.progress import Progress
from resolver.settings import reading
from resolver.settings.pods import PodsSettings

pytest.importorskip("cryptography", reason="needs the extra llm: make llm")

POD = {"provider": "runpod", "machines": ["NVIDIA L4"], "image": "worker@sha256:" + "0" * 64}


def pods(**values: object) -> PodsSettings:
    return reading.parse(PodsSettings, values, where="test", base=Path("/config"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bridge": "s3://clinic/x"}, "add it to allow_bridges"),
        ({"bridge": "s3://clinic/x", "allow_bridges": ["s3://clin"]}, "add it to allow_bridges"),
        ({"bridge": "hf://datasets/a/b", "allow_bridges": ["s3://clinic"]}, "add it to allow_bridges"),
        ({"bridge": "gs://clinic/x"}, "a folder, s3://BUCKET/PREFIX or hf://datasets/OWNER/NAME"),
        ({"bridge": "hf://models/a/b"}, "a folder, s3://BUCKET/PREFIX or hf://datasets/OWNER/NAME"),
        ({"bridge_endpoint": "https://minio"}, "bridge_endpoint is read for"),
        ({"bridge": "s3://clinic", "allow_bridges": ["s3://clinic"], "bridge_endpoint": "minio:9000"}, "endpoint"),
        ({"bridge": "hf://datasets/a/b", "allow_bridges": ["hf://datasets/a/b"], "stall_minutes": 2}, "set stall_min"),
        (POD, "does not see a folder of this machine; set bridge to"),
        ({**POD, "bridge": "/folder"}, "does not see a folder of this machine; set bridge to"),
    ],
)
def test_a_bridge_that_may_not_be_used_is_refused_when_settings_are_read(values: dict[str, object], words: str) -> None:
    """With what to do about it, before anything leaves this machine."""
    with pytest.raises(SettingsError, match=words):
        pods(**values)


def test_bridges_that_may_be_used() -> None:
    """A folder always, relative to the config; others by name, or by how that begins."""
    assert pods().bridge is None
    assert pods(bridge="shared").bridge == Path("/config/shared")
    for allowed in ("s3://clinic", "s3://clinic/", "s3://clinic/x", "s3://clinic/x/y"):
        assert pods(**POD, bridge="s3://clinic/x/y", allow_bridges=[allowed]).bridge == "s3://clinic/x/y"
    assert pods(bridge="hf://datasets/a/b", allow_bridges=["hf://datasets/a/b"]).bridge_kind == "hf"


def test_an_address_that_is_none(tmp_path: Path) -> None:
    """The line does not repeat what follows a question mark: it may be a signature."""
    with pytest.raises(UsageError, match="gs://x is no address") as error:
        bridges.far({"BRIDGE": "gs://x?secret"}, bytes)
    assert "secret" not in str(error.value)


def test_a_folder_as_a_bridge(tmp_path: Path) -> None:
    """Half-written files are not seen; what is above the folder is never touched."""
    (tmp_path / "beside").write_bytes(b"not ours")
    folder = Folder(tmp_path / "bridge")
    assert folder.names("") == []
    folder.put_all([("job/in/a", b"a"), ("job/b", b"b"), ("joke", b"c")])
    (tmp_path / "bridge" / "job" / ".b.tmp").write_bytes(b"half")

    assert folder.names("jo") == ["job/b", "job/in/a", "joke"] == folder.names("")
    assert folder.names("job/i") == ["job/in/a"]
    assert folder.get("job/none") is folder.get("job/b/c") is None
    folder.remove("job/b")
    folder.remove("job/")
    assert folder.names("") == ["joke"]
    assert not (tmp_path / "bridge" / "job").exists()
    assert (tmp_path / "beside").exists()


class Counted(Folder):
    """Counts what is written, and ends the program after so many writes."""

    def __init__(self, root: Path, fuse: int = 10**9) -> None:
        super().__init__(root)
        self.written: list[str] = []
        self.fuse = fuse

    def put(self, name: str, content: bytes) -> None:
        if len(self.written) == self.fuse:
            raise KeyboardInterrupt
        self.written.append(name)
        super().put(name, content)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "CHUNK", 64)
    monkeypatch.setattr(folders, "TOGETHER", 3)


FILES = st.dictionaries(
    st.sampled_from(["config.json", "model.safetensors", "golden.parquet", "deep/er/file"]),
    st.integers(0, 400).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    max_size=4,
)


@hypothesis(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=FILES, fuse=st.integers(0, 30), cut=st.integers(0, 500))
def test_a_folder_travels_whole_whatever_stops_it(
    tmp_path_factory: pytest.TempPathFactory, small: None, content: dict[str, bytes], fuse: int, cut: int
) -> None:
    """Stopped while it is packed, and while it is unpacked: the other end is the same, and nothing went twice."""
    root = tmp_path_factory.mktemp("travel")
    here, there, seal = root / "here", root / "there", sealed.new_key()
    here.mkdir()
    for name, data in content.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    paths = [here / name for name in content]
    first = Counted(root / "bridge", fuse)
    second = Counted(root / "bridge")
    try:
        folders.pack(HomeParcel(first, "model-x", seal), here, paths, lambda size: None)
    except KeyboardInterrupt:
        assert len(first.written) == fuse
    parcel = HomeParcel(second, "model-x", seal)
    index = folders.pack(parcel, here, paths, lambda size: None)
    assert len({*first.written, *second.written}) == len(first.written) + len(second.written)
    assert sorted(folders.names(parcel, index)) == parcel.names()
    there.mkdir()
    for name, data in list(content.items())[:1]:  # cut off while it was written
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).with_name(f".{Path(name).name}.tmp").write_bytes(data[:cut])

    moved: list[int] = []
    folders.unpack(parcel, index, there, moved.append)

    assert {
        path.relative_to(there).as_posix(): path.read_bytes() for path in there.rglob("*") if path.is_file()
    } == content
    assert sum(moved) <= sum(map(len, content.values()))
    moved.clear()
    folders.unpack(parcel, index, there, moved.append)
    assert not moved


@pytest.mark.parametrize("harm", ["alter", "cut", "swap", "drop", "other seal", "scratch"])
def test_a_folder_that_was_harmed_on_the_way_is_refused(tmp_path: Path, small: None, harm: str) -> None:
    """Nobody without the seal can change a byte; what lay about at the other end is not taken for a part."""
    here, seal = tmp_path / "model", sealed.new_key()
    here.mkdir()
    (here / "weights").write_bytes(os.urandom(300))
    bridge = Folder(tmp_path / "bridge")
    parcel = HomeParcel(bridge, "model-x", seal)
    index = folders.pack(parcel, here, [here / "weights"], lambda size: None)
    one, two, *_ = (tmp_path / "bridge" / "model-x" / "chunk").iterdir()
    content = one.read_bytes()
    there = tmp_path / "there"
    there.mkdir()
    match harm:
        case "alter":
            one.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            one.write_bytes(content[:20])
        case "swap":
            one.write_bytes(two.read_bytes())
        case "drop":
            one.unlink()
        case "other seal":
            parcel = HomeParcel(bridge, "model-x", sealed.new_key())
        case "scratch":
            (there / ".weights.tmp").write_bytes(b"x" * 128)

    with pytest.raises(DamagedError):
        folders.unpack(parcel, index, there, lambda size: None)

    assert not (there / "weights").exists()
    if harm == "scratch":  # and the next attempt begins anew
        folders.unpack(parcel, index, there, lambda size: None)
        assert (there / "weights").read_bytes() == (here / "weights").read_bytes()


def test_a_model_travels(tmp_path: Path, paper_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there whole as long as the worker needs it, without pickles; what a killed worker left is taken away."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    now = int(time.time())
    dead, alive = (tmp_path / str(PodName("ab" * 6, 1, now + more, "0" * 8)) for more in (-7200, -60))
    (dead / "weights").mkdir(parents=True)
    alive.mkdir()
    model, seal = paper_model("model"), sealed.new_key()
    parcel = HomeParcel(Folder(tmp_path / "bridge"), "model-x", seal)
    carried = Carried(model, parcel, seal, Progress())
    told = carried.pack()
    reader = HomeParcel(Folder(tmp_path / "bridge"), "job", sealed.new_key())

    with unpacked(told, reader, "a-pod", lambda size: None) as folder:
        assert artifact.check(folder) == artifact.check(model)
        golden.read(folder)
        names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in model.iterdir()} - {"training_args.bin"}
    assert not folder.exists() and not dead.exists() and alive.exists()
    assert carried.reads(told) == [f"model-x/{name}" for name in folders.names(parcel, told["index"])]
    assert carried.pack() == told


def test_a_model_that_a_worker_could_not_use_is_refused_at_home(
    tmp_path: Path, paper_model: Callable[..., Path]
) -> None:
    """An adapter does not travel alone, and without golden logits no worker begins."""
    adapter = Carried(
        paper_model("adapter", weights="adapter"),
        HomeParcel(Folder(tmp_path), "model-x", sealed.new_key()),
        sealed.new_key(),
        Progress(),
    )
    with pytest.raises(UsageError, match="resolver llm export"):
        adapter.pack()
    bare = paper_model("bare")
    (bare / artifact.GOLDEN).unlink()
    with (
        pytest.raises(UsageError, match="no golden logits"),
        opening.scoring(["a"], "ab" * 32, "f" * 16, bare, pods(), tmp_path / "home", Progress()),
    ):
        raise AssertionError("opened")
    assert not (tmp_path / "home").exists()


def test_a_bridge_is_cleaned(tmp_path: Path) -> None:
    """Models and what is left of jobs that are over, with their seals; what others left only when told so."""
    home, over, other = tmp_path / "home", "ab" * 32, "cd" * 32
    folder, seals = Folder(home / "bridge"), Seals(home / "seals")
    folder.put_all([("model-x/index/a", b""), (f"{over}/in/a", b""), (f"{other}/in/a", b"")])
    seals.of("model-x")
    jobs = Jobs(tmp_path / "jobs.sqlite")
    jobs.add(over, "score", Terms(), 0.0)
    with pytest.raises(UsageError, match="under way"):
        cleaning.clean(jobs, pods(), home)
    with jobs.change():
        jobs.move(jobs.all()[0], "succeeded", "", 0.0)

    assert cleaning.clean(jobs, pods(), home) == [over, "model-x"]
    assert folder.names("") == [f"{other}/in/a"]
    assert not list((home / "seals").iterdir())
    assert cleaning.clean(jobs, pods(), home, everything=True) == [other]
    assert cleaning.clean(jobs, pods(), home) == []
    jobs.close()
