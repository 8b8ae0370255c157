"""Models from rented machines: what goes in, what comes home, and that it is what would have been made here."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from llm_classifier import artifact, dataset, golden, train
from llm_classifier import settings as llm_settings
from llm_classifier.cli import llm as main
from llm_classifier.dataset import lean
from llm_classifier.pods import asking, cancelling, models, parcel, rooms, tasks, training
from llm_classifier.pods.desk import Desk
from llm_classifier.pods.jobs import Job, Jobs, State
from llm_classifier.pods.providers import Offer, Order, Pod
from llm_classifier.pods.worker import Worker
from llm_classifier.settings.train import TrainSettings
from llm_classifier.train import data, tracking
from resolver.errors import PendingError, RunError, SettingsError, TrainingError, UsageError
from resolver.progress import Progress

pytestmark = pytest.mark.llm
pytest.importorskip("cryptography", reason="needs the extra llm: make llm")

QUICK: dict[str, Any] = {
    "epochs": 1.0,
    "batch": 32,
    "rank": 4,
    "evaluations": 2.0,
    "learning_rate": 1e-3,
    "gradient_checkpointing": False,
    "max_train_pairs": 40,
    "tracking": "none",
    "threads": 1,
}


@dataclasses.dataclass
class Here:
    """A provider whose machines do their work before `launch` returns, or sit there and do nothing."""

    idle: bool = False
    name: str = "local"
    orders: list[Order] = dataclasses.field(default_factory=list)
    ended: list[str] = dataclasses.field(default_factory=list)

    def offers(self) -> list[Offer]:
        return [Offer("this process")]

    def shows(self, machine: str) -> bool:
        return True

    def launch(self, order: Order) -> Pod:
        self.orders.append(order)
        if not self.idle:
            worker = Worker(order.environment)
            worker.run()
            worker.parcel.bridge.close()
        return Pod(order.name, order.name, "starting", 0.0)

    def pods(self) -> list[Pod]:
        return [Pod(one.name, one.name, "running", 0.0) for one in self.orders if one.name not in self.ended]

    def describe(self, id: str) -> Pod | None:
        return None

    def end(self, id: str) -> None:
        self.ended.append(id)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    provider = Here()
    monkeypatch.setattr(Desk, "provider", lambda desk: provider)
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    return provider


@pytest.fixture
def config(toy_base: Path, toy_pairs: Path, tmp_path: Path) -> Callable[..., Path]:
    def written(pods: Any = None, **more: Any) -> Path:
        section = {**QUICK, "base": str(toy_base), "dataset": str(toy_pairs), "out": "model", **more}
        path = tmp_path / "llm.yaml"
        path.write_text(yaml.safe_dump({"train": section, "pods": pods or {}}), encoding="utf-8")
        return path

    return written


@pytest.fixture
def asked(config: Callable[..., Path]) -> Callable[..., tuple[TrainSettings, Desk]]:
    def loaded(pods: Any = None, **more: Any) -> tuple[TrainSettings, Desk]:
        path = config(pods, **more)
        found = llm_settings.load(path)
        assert found.train is not None
        return found.train, Desk.of_models(found, path)

    return loaded


@pytest.fixture(scope="module")
def whole(toy_base: Path, toy_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained here."""
    out = tmp_path_factory.mktemp("whole") / "model"
    train.train(TrainSettings(**QUICK, base=toy_base, dataset=toy_pairs, out=out), Progress())
    return out


@pytest.fixture
def copied(whole: Path, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Path], None]]:
    """Instead of training, a worker copies that model, and does to the copy what is in this list."""
    harms: list[Callable[[Path], None]] = []

    def work(told: Any, given: Path, base: Path, out: Path, progress: Progress) -> None:
        shutil.copytree(whole, out)
        for harm in harms:
            harm(out)

    monkeypatch.setattr(training, "work", work)
    return harms


def asks(settings: TrainSettings, desk: Desk, **leave: bool) -> artifact.Artifact:
    with asking.allowing(asking.Leave(launch=True, **leave)):
        return models.trained(settings, desk, Progress())


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(one) for one in arguments], standalone_mode=False)


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_launched_then_collected_it_is_the_model_that_training_here_makes(
    config: Callable[..., Path], whole: Path, toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of its own trains it; the first call ends with 75, a later one with the very same weights in place."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    path = config()
    first = invoke("train", path, "--rented")
    assert isinstance(first.exception, PendingError) and first.exception.exit_code == 75
    assert "is provisioning" in str(first.exception)
    end = time.monotonic() + 300
    while isinstance((call := invoke("train", path, "--rented", "--json")).exception, PendingError):
        assert time.monotonic() < end, call.exception
        time.sleep(0.3)
    assert call.exit_code == 0, call.exception

    out, ours = tmp_path / "model", artifact.read(whole)
    made = artifact.check(out)
    assert made.fingerprint == ours.fingerprint
    assert (made.calibration, made.metrics, made.dataset_pin) == (ours.calibration, ours.metrics, ours.dataset_pin)
    assert made.base == str(toy_base)
    assert json.loads(call.stdout) == {"out": str(out), **ours.metrics}
    record, mine = (json.loads((one / train.RECORD).read_text()) for one in (out, whole))
    assert [one.get("loss") for one in record["history"]] == [one.get("loss") for one in mine["history"]]
    assert str(tmp_path / "elsewhere") not in (out / train.RECORD).read_text() + (out / artifact.FILE).read_text()
    assert golden.read(out)[0] == golden.read(whole)[0]
    found = llm_settings.load(path).train
    assert found is not None and train.train(found, Progress()) == made  # there is nothing left to do
    assert not left(tmp_path / "pods" / "bridge") and not left(tmp_path / "pods" / "seals")
    assert not left(tmp_path / "elsewhere") and not left(tmp_path / "pods" / "bench")


def test_what_training_does_not_read_stays_at_home(toy_pairs: Path, tmp_path: Path) -> None:
    """No slice, no summary, no id of a record or a pair; the same pairs are drawn, under the same pin."""
    full = dataset.read(toy_pairs)
    paths = lean.write(full, tmp_path)

    found = dataset.read(tmp_path)
    assert found.pin == full.pin and (found.card.populations, found.card.made) == ([], {})
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)
    for name in dataset.SPLITS:
        ours, theirs = full.split(name), found.split(name)
        assert set(theirs.columns) == set(lean.READ)
        assert theirs["pair_id"].n_unique() == ours["pair_id"].n_unique()
        assert theirs["pair_id"].max() == theirs["pair_id"].n_unique()
        for draw in (functools.partial(data.once, at_most=5, seed=3), functools.partial(data.drawn, at_most=7, seed=1)):
            assert draw(theirs)["prompt"].to_list() == draw(ours)["prompt"].to_list()
        assert (np.unique(ours["group"], return_inverse=True)[1] + 1 == theirs["group"].to_numpy()).all()


def weights(out: Path) -> None:
    path = out / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def other_settings(out: Path) -> None:
    told = artifact.read(out)
    artifact.write(out, dataclasses.replace(told, made={**told.made, "settings": {**told.made["settings"], "rank": 5}}))


def other_data(out: Path) -> None:
    artifact.write(out, dataclasses.replace(artifact.read(out), dataset_pin="f" * 16))


def unknown_answer(out: Path) -> None:
    prompts, logits = golden.read(out)
    golden.write(out, prompts, np.where(np.arange(len(logits)) == 1, np.nan, logits))


def other_prompts(out: Path) -> None:
    prompts, logits = golden.read(out)
    golden.write(out, ["a prompt of somebody else", *prompts[1:]], logits)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (weights, "not those that artifact.json was written for"),
        (other_settings, "of other settings"),
        (other_data, f"of dataset_pin {'f' * 16}, not of"),
        (unknown_answer, "Golden logits did not come back whole"),
        (other_prompts, "none of this data set"),
        (lambda out: (out / artifact.GOLDEN).unlink(), "no golden logits"),
        (lambda out: (out / train.RECORD).unlink(), "record.json did not come back whole"),
        (lambda out: (out / artifact.FILE).unlink(), "holds no model"),
    ],
)
def test_a_model_that_is_not_the_one_asked_for_is_refused(
    asked: Any, here: Here, copied: list[Any], harm: Callable[[Path], None], words: str
) -> None:
    """And named; nothing of it appears, and the next machine makes it again."""
    settings, desk = asked({"attempts": 1})
    copied.append(harm)

    with pytest.raises(RunError, match=words):
        asks(settings, desk, wait=True)
    assert not settings.out.exists() and not [path for path in settings.out.parent.iterdir() if path.suffix == ".tmp"]
    copied.clear()
    assert asks(settings, desk, wait=True, again=True).weights == "adapter"
    assert len(here.orders) == 2


@pytest.mark.parametrize("harm", ["alter", "cut", "drop", "name", "program", "image"])
def test_a_folder_that_was_touched_on_its_way_is_refused(
    asked: Any, here: Here, copied: list[Any], harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that was altered, cut or lost, a file outside the folder, one that could run, another's: made again."""
    settings, desk = asked()
    launch = here.launch

    def harmed(order: Order) -> Pod:
        pod = launch(order)
        bridge = next((desk.home / "bridge").glob("*/done")).parent
        chunk, own = bridge / "out" / "00000", parcel.opened(*opened(order))
        match harm:
            case "alter":
                chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
            case "cut":
                chunk.write_bytes(chunk.read_bytes()[:100])
            case "drop":
                chunk.unlink()
            case _:
                told = own.get_json("done")
                if harm == "image":
                    told["made"]["image"] = "another"
                else:
                    told["files"][0]["name"] = "../escaped.json" if harm == "name" else "training_args.bin"
                own.put("done", json.dumps(told).encode())
        return pod

    monkeypatch.setattr(here, "launch", lambda order: harmed(order) if len(here.orders) < 1 else launch(order))
    made = asks(settings, desk, wait=True)

    assert len(here.orders) == 2 and made == artifact.check(settings.out)
    assert not (settings.out.parent / "escaped.json").exists()


def opened(order: Order) -> tuple[dict[str, str], str, bytes, str]:
    told = {name.removeprefix("RESOLVER_JOB_"): one for name, one in order.environment.items()}
    return told, told["KEY"], bytes.fromhex(told["SEAL"]), told["POD"]


def test_a_worker_that_has_something_else_before_it_gives_up(
    asked: Any, here: Here, copied: list[Any], tmp_path: Path, toy_base: Path
) -> None:
    """Before it trains: pods.model names another base on that machine, and the message names what differs."""
    other = tmp_path / "other"
    shutil.copytree(toy_base, other)
    (other / "config.json").write_text((other / "config.json").read_text() + " ", encoding="utf-8")
    settings, desk = asked({"attempts": 1, "model": str(other)})

    with pytest.raises(RunError, match=r"its worker gave up: the worker is of base [0-9a-f]{64}, not of"):
        asks(settings, desk, wait=True)
    assert here.orders[0].environment["RESOLVER_JOB_MODEL"] == str(other)


def test_what_no_machine_can_do_is_tried_once(
    asked: Any, here: Here, copied: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory, a loss that diverged: the next machine would end in the same way, and cost as much."""

    def work(*arguments: Any) -> None:
        raise TrainingError("The GPU ran out of memory.")

    monkeypatch.setattr(training, "work", work)
    with pytest.raises(RunError, match="failed: its worker gave up: The GPU ran out of memory"):
        asks(*asked({"attempts": 3}), wait=True)
    assert len(here.orders) == 1


def test_killed_after_the_model_is_in_place(
    asked: Any, here: Here, copied: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the record says so: the next call finds it there, and ends the machine and the job."""
    settings, desk = asked()
    with monkeypatch.context() as patch:
        move = Jobs.move

        def dies(self: Jobs, job: Job, state: State, *arguments: Any, **more: Any) -> Job:
            if state == "releasing":
                raise KeyboardInterrupt
            return move(self, job, state, *arguments, **more)

        patch.setattr(Jobs, "move", dies)
        with pytest.raises(KeyboardInterrupt):
            asks(settings, desk, wait=True)
    assert settings.out.exists() and not here.ended

    asks(settings, desk, wait=True)
    assert len(here.orders) == len(here.ended) == 1
    assert not left(desk.home / "bridge")


def test_through_a_store_the_base_goes_over_once(
    asked: Any, here: Here, copied: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with a ticket for its own files makes the model; the next job, of other settings, finds the base."""
    pytest.importorskip("s3fs", reason="needs the extra s3")
    import fake_s3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", fake_s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", fake_s3.SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with fake_s3.serving() as store:
        bridge = {"bridge": f"s3://{fake_s3.BUCKET}/jobs", "bridge_endpoint": store.url}
        pods = bridge | {"allow_bridges": [f"s3://{fake_s3.BUCKET}"]}
        made = asks(*asked(pods), wait=True)
        assert made.weights == "adapter"
        assert all("/model-" in name for name in store.files)
        store.requests.clear()
        with pytest.raises(RunError, match="of other settings"):  # the copy is of the first ones
            asks(*asked(pods | {"attempts": 1}, rank=5, out="other"), wait=True)
        assert not [name for method, name in store.requests if method == "PUT" and "/model-" in name]
        sent = b"".join(store.files.values())
    assert b"asthma" not in sent


def test_a_model_exported_elsewhere_is_the_same(
    config: Callable[..., Path], here: Here, whole: Path, tmp_path: Path, toy_base: Path
) -> None:
    """The same weights as from an export here, the same tolerance, and the base where it lies here."""
    from llm_classifier.export import export

    ours = export(whole, tmp_path / "here" / "merged", progress=Progress())
    path, out = config(), tmp_path / "there" / "merged"
    call = invoke("export", whole, "--out", out, "--rented", path, "--json", "--wait")
    assert call.exit_code == 0, call.exception

    assert artifact.check(out) == ours.artifact
    assert json.loads(call.stdout)["tolerance"] == ours.tolerance
    assert json.loads((out / artifact.SERVING).read_text()) == json.loads((ours.folder / artifact.SERVING).read_text())
    again = invoke("export", whole, "--out", out, "--rented", path, "--json")
    assert again.stdout == call.stdout and len(here.orders) == 1
    assert not left(tmp_path / "pods" / "bridge")


def test_another_export_is_refused(
    asked: Any, here: Here, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is no export of this model, or lacks how it is served."""
    _, desk = asked({"attempts": 1})

    def exported(out: Path) -> None:
        with asking.allowing(asking.Leave(launch=True, wait=True)):
            models.exported(whole, out, desk, Progress())

    def work(told: Any, given: Path, base: Path, out: Path, progress: Progress) -> None:
        shutil.copytree(whole, out)
        if out.name == "unserved":
            told = artifact.read(out)
            made = {**told.made, "exported_from": told.fingerprint}
            artifact.write(out, dataclasses.replace(told, weights="merged", dtype="bfloat16", made=made))

    monkeypatch.setattr(tasks.TASKS["export"], "work", work)
    with pytest.raises(RunError, match="another model in its weights, dtype, made"):
        exported(tmp_path / "untouched")
    with pytest.raises(RunError, match=r"serving\.json did not come back whole"):
        exported(tmp_path / "unserved")
    assert not (tmp_path / "untouched").exists() and not (tmp_path / "unserved").exists()


def test_a_job_is_cancelled_and_leaves_nothing(config: Callable[..., Path], asked: Any, here: Here) -> None:
    """Its machine is ended, its files and seal are gone, and the next call says how to go on."""
    here.idle = True
    settings, desk = asked()
    with pytest.raises(PendingError, match="provisioning"):
        asks(settings, desk)
    listed = invoke_pods("list", config())
    assert "this process" in listed.stdout and "job provisioning" in listed.stdout

    assert "no machine of theirs is left" in cancelling.cancel(desk)

    assert here.ended and not left(desk.home / "bridge") and not left(desk.home / "seals")
    with pytest.raises(RunError, match="was cancelled") as caught:
        asks(settings, desk)
    assert "resolver llm train CONFIG --rented --again" in str(caught.value)


def invoke_pods(*arguments: object) -> Any:
    from llm_classifier.cli.infer import pods

    return CliRunner().invoke(pods, [str(one) for one in arguments], catch_exceptions=False)


def test_a_model_that_was_taken_away_is_not_paid_for_again_unasked(asked: Any, here: Here, copied: list[Any]) -> None:
    """The job knows that it came home; --again has it made once more. What is there already launches nothing."""
    settings, desk = asked()
    asks(settings, desk, wait=True)
    asks(settings, desk)
    assert len(here.orders) == 1
    shutil.rmtree(settings.out)

    with pytest.raises(RunError, match="came home, and is not there now"):
        asks(settings, desk)
    asks(settings, desk, wait=True, again=True)
    assert len(here.orders) == 2 and artifact.check(settings.out)


def test_a_folder_that_is_in_use_is_left_alone(asked: Any, here: Here, copied: list[Any]) -> None:
    """Known before anything is launched; and where it filled up meanwhile, the result waits at the bridge."""
    settings, desk = asked()
    settings.out.mkdir()
    (settings.out / "notes").touch()
    with pytest.raises(UsageError, match="is not empty"):
        asks(settings, desk, wait=True)
    assert not here.orders
    (settings.out / "notes").unlink()
    copied.append(lambda out: (settings.out / "notes").touch())

    with pytest.raises(RunError, match="where the model of job"):
        asks(settings, desk, wait=True)
    (settings.out / "notes").unlink()
    assert asks(settings, desk, wait=True) and len(here.orders) == 1


def test_what_a_rented_machine_can_not_do_is_said(config: Callable[..., Path], whole: Path, tmp_path: Path) -> None:
    """A sweep as a whole, waiting without a machine, and a setting that nobody reads; nothing is launched."""
    sweep = invoke("train", config(rank=[4, 8]), "--rented")
    assert "asks for 2 runs" in str(sweep.exception) and "--job 0" in str(sweep.exception)
    alone = invoke("train", config(), "--wait")
    assert isinstance(alone.exception, UsageError) and "--wait" in str(alone.exception)
    alone = invoke("export", whole, "--out", tmp_path / "out", "--cancel")
    assert isinstance(alone.exception, UsageError) and "--rented" in str(alone.exception)
    with pytest.raises(SettingsError, match="backend is for scoring"):
        llm_settings.load(config({"backend": "vllm"}))
    assert "No job is under way" in invoke("train", config(rank=[4, 8]), "--rented", "--cancel").stdout
    assert not (tmp_path / "model").exists()


def test_mlflow_is_told_when_the_model_is_home(
    asked: Any, here: Here, copied: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with what the training would have told it, from this machine and not from the rented one."""
    heard: list[Any] = []

    class Heard(tracking.Tracking):
        def metrics(self, values: Any, step: int) -> None:
            heard.append((step, dict(values)))

        def end(self, *, finished: bool) -> None:
            heard.append(finished)

    def begin(settings: TrainSettings, folder: Path, *more: Any) -> Heard:
        assert settings.tracking == "sqlite:///some.db" and here.orders
        (folder / tracking.KEPT).write_text("run")
        return Heard()

    monkeypatch.setattr(tracking, "begin", begin)
    settings, desk = asked(tracking="sqlite:///some.db")
    asks(settings, desk, wait=True)
    asks(settings, desk, wait=True)

    assert heard[-1] is True and heard.count(True) == 1
    assert any("eval_auprc" in values for _, values in heard[:-1])


@pytest.fixture
def rooms_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path


def test_a_killed_worker_leaves_a_room_to_the_next(rooms_in: Path) -> None:
    """At the same place, so that training goes on from its last checkpoint; gone when one has ended, or is late."""
    late = time.time() - 2 * rooms.LEFT
    left = rooms_in / f"{rooms.NAME}{'a' * 12}"
    for place, until in ((left, time.time()), (rooms_in / f"{rooms.NAME}{'b' * 12}", late)):
        place.mkdir(mode=0o700)
        (place / rooms.UNTIL).write_text(str(until))
        (place / "checkpoint").touch()

    with rooms.room("a" * 64, time.time()) as room:
        assert room == left and (room / "checkpoint").exists()
        assert not (rooms_in / f"{rooms.NAME}{'b' * 12}").exists()
    assert not list(rooms_in.iterdir())


def test_a_room_that_others_can_write_to_is_not_entered(rooms_in: Path) -> None:
    """What lies in it could be anybody's."""
    open_ = rooms_in / f"{rooms.NAME}{'a' * 12}"
    open_.mkdir()
    open_.chmod(0o777)

    with rooms.room("a" * 64, time.time()) as room:
        assert room != open_ and room.stat().st_mode & 0o077 == 0
    assert list(rooms_in.iterdir()) == [open_]


def test_a_worker_goes_on_while_something_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heartbeat counts steps of training; bytes and pairs only show that it is alive."""
    from llm_classifier.pods import worker as program

    monkeypatch.setattr(program.parcel, "opened", lambda *told: None)
    told = {"POD": "p", "DEADLINE": "0", "SECONDS": "0", "KEY": "k", "SEAL": ""}
    worker = Worker({f"RESOLVER_JOB_{name}": one for name, one in told.items()})
    worker._unit = tasks.COUNTED["train"]
    moved = worker._moved = -1.0
    with program._Watched(worker).step("training", 30, "steps") as step:
        step.advance(12)
    with program._Watched(worker).step("scoring", 500, "pairs") as step:
        step.advance(400)

    assert (worker._done, worker._total) == (12, 30)
    assert worker._moved > moved
