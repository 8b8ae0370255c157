"""The registry of models: versions, promotion behind a gate, rollback, a history that can't be changed unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier import artifact
from llm_classifier.cli.models import models, promote, rollback
from llm_classifier.registry import gate, history, metrics
from llm_classifier.registry.metrics import Figure, Metrics, Slice
from llm_classifier.registry.store import Registry
from llm_classifier.settings import load
from llm_classifier.settings.registry import GateSettings
from resolver import files
from resolver.cli import main
from resolver.errors import DamagedError, LockedError, QualityGateError, UsageError

PIN, OTHER = "a" * 16, "b" * 16

Make = Callable[..., Path]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def figure(value: float, width: float = 0.01) -> Figure:
    return Figure(value=value, low=value - width, high=value + width)


def scored(folder: Path, auprc: float = 0.8, *, pin: str = PIN, **more: Any) -> Metrics:
    """Metrics of the model in `folder`; every figure is the one asked for."""
    women = Slice(dimension="sex", value="F", pairs=900, positives=200, figures={"auroc": figure(more.pop("f", 0.9))})
    few = Slice(dimension="race", value="other", pairs=40, positives=10, figures={"auroc": figure(0.5)})
    values = {"auprc": auprc, "auroc": 0.95, "f1": 0.75} | more.pop("figures", {})
    content: dict[str, Any] = {
        "model": artifact.read(folder).fingerprint,
        "calibration": {"temperature": 1.5, "bias": 0.0},
        "test_set": pin,
        "seen": 0,
        "pairs": 2000,
        "positives": 400,
        "headline": {name: figure(value) for name, value in values.items()},
        "slices": (women, few),
    }
    return Metrics(**content | more)


def put(registry: Registry, folder: Path, bounds: GateSettings | None = None, **more: Any) -> gate.Verdict:
    """Register, measure, promote."""
    found = scored(folder, **more)
    version = registry.measure(registry.register(folder), found)
    return registry.promote(version, found.test_set, bounds or GateSettings())


def call(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)


def test_a_version_is_a_copy_that_stays(registry: Registry, paper_model: Make) -> None:
    """What is registered is whole, without pickles, and what happens to the source later does not reach it."""
    source = paper_model("one")
    version = registry.register(source)
    (source / "model.safetensors").write_bytes(b"trained again")

    assert (version.number, version.stage) == (1, "candidate")
    assert {path.name for path in version.model.iterdir()} == {path.name for path in source.iterdir()} - {
        "training_args.bin"
    }
    assert registry.check(version) == version.artifact


def test_the_same_model_is_registered_once(registry: Registry, paper_model: Make) -> None:
    """Registering again gives the version that is there; another model gets the next number."""
    assert registry.register(paper_model("one")).number == 1
    assert registry.register(paper_model("two")).number == 2
    assert registry.register(paper_model("one")).number == 1
    assert [entry.what for entry in registry.entries()] == ["registered", "registered"]


def test_a_kill_while_copying_leaves_no_version(
    registry: Registry, paper_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill before the line in the history there is no version, and the next try makes it."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(history, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.register(paper_model("one"))

    assert registry.versions() == []
    assert registry.register(paper_model("two")).number == 1
    assert registry.check(registry.version(1)) == artifact.read(paper_model("two"))


def test_a_model_without_golden_logits_is_refused(registry: Registry, paper_model: Make) -> None:
    """No copy of it could be verified."""
    folder = paper_model("one")
    (folder / artifact.GOLDEN).unlink()

    with pytest.raises(UsageError, match="golden logits"):
        registry.register(folder)


def test_weights_that_changed_are_noticed(registry: Registry, paper_model: Make) -> None:
    """A file of a version that is not the one registered stops promotion, whichever file it is."""
    version = registry.measure(registry.register(paper_model("one")), scored(paper_model("one")))
    golden = version.model / artifact.GOLDEN
    golden.chmod(0o644)
    golden.write_bytes(b"other")

    with pytest.raises(DamagedError, match="not those that were registered"):
        registry.promote(version, PIN, GateSettings())
    assert registry.production() is None


def test_the_first_model_must_beat_chance(registry: Registry, paper_model: Make) -> None:
    """With nothing in production the floors alone decide, by the bad end of the interval."""
    assert not put(registry, paper_model("one"), figures={"auroc": 0.505}).passed
    assert put(registry, paper_model("two"), figures={"auroc": 0.52}).passed
    assert registry.require_production().number == 2


def test_two_per_cent_worse_passes_and_more_does_not(registry: Registry, paper_model: Make) -> None:
    """The bound is a share of the figure of the model in production, and meeting it exactly is enough."""
    put(registry, paper_model("one"), auprc=0.8)
    worse = put(registry, paper_model("two"), auprc=0.78)
    edge = put(registry, paper_model("three"), auprc=0.784)

    assert not worse.passed and "auprc of all pairs is 2.5% worse (0.8000 to 0.7800), more than 2.0%" in worse.reason
    assert edge.passed and "not worse than version 1" in edge.reason
    assert registry.state().stages == {1: "archived", 2: "candidate", 3: "production"}


def test_a_slice_that_falls_behind_refuses_a_better_model(registry: Registry, paper_model: Make) -> None:
    """One slice beyond its bound is enough; a dimension may have a bound of its own; small slices are only named."""
    put(registry, paper_model("one"), auprc=0.8)
    behind = put(registry, paper_model("two"), auprc=0.9, f=0.84)
    strict = put(registry, paper_model("three"), GateSettings(slices={"sex": 0.01}), auprc=0.9, f=0.88)

    assert not behind.passed and behind.reasons == ("auroc of sex F is 6.7% worse (0.9000 to 0.8400), more than 5.0%",)
    assert not strict.passed and behind.not_judged == ("race other",)
    assert put(registry, paper_model("four"), auprc=0.9, f=0.88).passed


def test_a_slice_that_is_no_longer_measured_is_refused(registry: Registry, paper_model: Make) -> None:
    """Leaving a slice out is not a way around its bound, nor is a bound for a dimension that nobody measured."""
    put(registry, paper_model("one"))

    assert "auroc of sex F was not measured" in put(registry, paper_model("two"), slices=()).reason
    assert "bound for sexx" in put(registry, paper_model("two"), GateSettings(slices={"sexx": 0.1})).reason


def test_a_test_set_whose_pin_changed_is_refused(registry: Registry, paper_model: Make) -> None:
    """Figures of another test set do not count, unless the config names it and both models were measured on it."""
    put(registry, paper_model("one"))
    assert "the test set changed" in put(registry, paper_model("two"), pin=OTHER).reason

    bounds = GateSettings(test_set=OTHER)
    assert "never measured on the test set" in put(registry, paper_model("two"), bounds, pin=OTHER).reason
    registry.measure(registry.version(1), scored(paper_model("one"), pin=OTHER))
    assert put(registry, paper_model("two"), bounds, pin=OTHER).passed
    assert "the test set changed" in put(registry, paper_model("three")).reason
    registry.roll_back("wrong")
    assert put(registry, paper_model("three")).passed


def test_part_of_a_test_set_is_not_the_test_set(registry: Registry, paper_model: Make) -> None:
    """The same pin with another number of pairs, or another split, is refused."""
    put(registry, paper_model("one"))

    assert "not measured on the same pairs" in put(registry, paper_model("two"), pairs=1999).reason
    assert "split validation" in put(registry, paper_model("two"), split="validation").reason


def test_a_model_that_was_trained_on_the_test_set_is_refused(registry: Registry, paper_model: Make) -> None:
    """Known overlap beyond chance, and overlap that nobody looked for."""
    assert "3.0% of the test pairs stand in its training data" in put(registry, paper_model("one"), seen=60).reason
    assert "nobody looked whether they overlap" in put(registry, paper_model("one"), seen=None).reason
    assert put(registry, paper_model("one"), seen=20).passed


def test_metrics_of_another_model_are_refused(registry: Registry, paper_model: Make) -> None:
    """Figures belong to one fingerprint and one calibration."""
    version = registry.register(paper_model("one"))

    with pytest.raises(UsageError, match="another model"):
        registry.measure(version, scored(paper_model("two")))
    with pytest.raises(UsageError, match="another calibration"):
        registry.measure(version, scored(paper_model("one"), calibration={}))


def test_both_answers_are_written_with_their_reasons(registry: Registry, paper_model: Make) -> None:
    """A refusal is as much a decision as a promotion; each holds the bounds and every comparison."""
    put(registry, paper_model("one"))
    put(registry, paper_model("two"), auprc=0.7)
    _, _, first, _, _, second = registry.entries()

    assert (first.what, first.version, first.instead_of) == ("promoted", 1, None)
    assert (second.what, second.version, second.instead_of) == ("refused", 2, 1)
    assert "12.5% worse" in second.reason and second.facts["bounds"]["max_worse"] == 0.02
    assert [one["figure"] for one in second.facts["gate"]["comparisons"]] == ["auprc", "auroc", "f1", "auroc"]


def test_promoting_what_is_there_changes_nothing(registry: Registry, paper_model: Make) -> None:
    """The same command again writes no second decision."""
    put(registry, paper_model("one"))
    before = registry.entries()

    assert put(registry, paper_model("one")).passed
    assert registry.entries() == before


def test_rollback_goes_back_step_by_step(registry: Registry, paper_model: Make) -> None:
    """Each rollback brings the version before; below the first only on demand."""
    for name in ("one", "two", "three"):
        put(registry, paper_model(name))
    out, now = registry.roll_back("slow")
    assert (out.number, now and now.number, now and now.stage) == (3, 2, "production")
    registry.roll_back("wrong")
    assert registry.state().stages == {1: "production", 2: "archived", 3: "archived"}

    with pytest.raises(UsageError, match="nothing was in production"):
        registry.roll_back("none left")
    registry.roll_back("none left", leave_none=True)
    assert registry.production() is None
    with pytest.raises(UsageError, match="nothing to roll back"):
        registry.roll_back("again", leave_none=True)


def test_what_was_rolled_back_does_not_return_by_itself(registry: Registry, paper_model: Make) -> None:
    """The same promotion again is refused with the reason of the rollback, until somebody says so."""
    for name in ("one", "two"):
        put(registry, paper_model(name))
    registry.roll_back("recall fell on real data")

    verdict = put(registry, paper_model("two"))
    assert not verdict.passed and "recall fell on real data" in verdict.reason
    assert registry.promote(registry.version(2), PIN, GateSettings(), again=True).passed
    assert registry.state().rolled_back == {}


def test_the_history_shows_every_change_to_it(registry: Registry, paper_model: Make) -> None:
    """A line edited, taken out or moved is found; half a line at the end never held and is written over."""
    put(registry, paper_model("one"))
    path = registry.dir / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [lines[0], lines[1].replace(b"2000", b"2001"), lines[2]],
        [lines[0], b"\n", *lines[1:]],
    ):
        path.write_bytes(b"".join(changed))
        with pytest.raises(DamagedError, match="was changed"):
            registry.entries()

    path.write_bytes(b"".join(lines)[:-5])
    assert registry.production() is None
    put(registry, paper_model("one"))
    assert registry.require_production().number == 1


def test_metrics_that_changed_are_noticed(registry: Registry, paper_model: Make) -> None:
    """The figures of a version are those that the history tells of."""
    version = registry.measure(registry.register(paper_model("one")), scored(paper_model("one")))
    (path,) = (version.folder / "metrics").iterdir()
    path.write_text(path.read_text().replace("0.95", "0.951"), encoding="utf-8")

    with pytest.raises(DamagedError, match="not what the registry's history tells of"):
        registry.versions()


def test_two_at_once_are_refused(registry: Registry, paper_model: Make) -> None:
    """While one process changes the registry, another is told so and changes nothing."""
    with files.lock(registry.dir / ".lock", "x"), pytest.raises(LockedError, match="in use by process"):
        registry.register(paper_model("one"))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=25))
@settings(deadline=None, max_examples=60)
def test_there_is_one_model_in_production_or_none(steps: list[tuple[bool, int]]) -> None:
    """Whatever is promoted and rolled back, the stages agree with the line of succession."""
    entries = [history.Entry("", "", "registered", number, None, "", {}, "") for number in range(1, 5)]
    line: list[int] = []
    for forward, number in steps:
        if forward and line[-1:] != [number]:
            line.append(number)
            entries.append(history.Entry("", "", "promoted", number, None, "", {"test_set": PIN}, ""))
        elif line and not forward:
            entries.append(history.Entry("", "", "rolled back", line.pop(), None, "bad", {}, ""))
        state = history.state(entries)
        assert state.line == tuple(line)
        assert [one for one, stage in state.stages.items() if stage == "production"] == line[-1:]


@given(
    st.sampled_from(sorted(metrics.BETTER)),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
    st.floats(0, 0.5),
)
@settings(deadline=None, max_examples=100)
def test_better_is_never_worse(name: str, before: float, now: float, bound: float) -> None:
    """Whichever way a figure points: an improvement passes any bound, a loss passes only where the bound allows it."""
    better = now >= before if metrics.BETTER[name] == "higher" else now <= before
    found = gate._compare("all", name, figure(before), figure(now), bound)

    assert found.met if better else found.met == (abs(now - before) <= (bound + 1e-9) * before)


def test_log_loss_that_rises_is_worse(registry: Registry, paper_model: Make) -> None:
    """Figures of which less is better are compared the other way round, also against floors."""
    bounds = GateSettings(headline=("log_loss",), at_least={"log_loss": 0.3})
    assert "not below 0.3" in put(registry, paper_model("zero"), bounds, figures={"log_loss": 0.295}).reason
    assert put(registry, paper_model("one"), bounds, figures={"log_loss": 0.2}).passed
    assert not put(registry, paper_model("two"), bounds, figures={"log_loss": 0.21}).passed
    assert put(registry, paper_model("three"), bounds, figures={"log_loss": 0.1}).passed


def test_a_record_of_metrics_is_checked_when_it_is_read(tmp_path: Path, paper_model: Make) -> None:
    """Unknown figures, intervals without their value and missing files are refused in one line."""
    path = tmp_path / "metrics.json"
    metrics.write(path, scored(paper_model("one")))
    assert metrics.read(path) == scored(paper_model("one"))

    content = json.loads(path.read_text())
    content["headline"]["auroc"]["low"] = 2
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"headline\.auroc"):
        metrics.read(path)
    with pytest.raises(ValueError, match="unknown figure"):
        scored(paper_model("one"), figures={"auc": 1.0})
    with pytest.raises(UsageError, match="no metrics"):
        metrics.read(tmp_path / "none.json")


def test_promote_ends_with_3_where_the_gate_is_not_met(
    registry: Registry, paper_model: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI reads the exit code; the reason stands in one line."""
    for name, auprc in (("one", 0.8), ("two", 0.7)):
        metrics.write(paper_model(name) / metrics.FILE, scored(paper_model(name), auprc))
    assert "Version 1 is in production" in call(promote, paper_model("one"), "--registry", registry.dir).output

    with pytest.raises(SystemExit) as leave:
        main(["llm", "promote", str(paper_model("two")), "--registry", str(registry.dir), "--json"])
    said = capsys.readouterr()
    assert leave.value.code == 3
    assert json.loads(said.out)["passed"] is False
    assert said.err.startswith("resolver: Version 2 is not put into production: auprc of all pairs is 12.5% worse")


def test_the_shipped_config_shows_every_default() -> None:
    """configs/llm.yaml has each setting of the registry's gate, predeploy, deploy and workflow, as it is without it."""
    path = Path(__file__).parents[2] / "configs" / "llm.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    shown = {**content, "gate": content["registry"]["gate"]}
    found = load(path)
    assert found.registry is not None and found.workflow is not None
    for name, section in {
        "gate": found.registry.gate,
        "predeploy": found.predeploy,
        "deploy": found.deploy,
        "workflow": found.workflow,
    }.items():
        fields = type(section).model_fields
        assert set(shown[name]) == set(fields), name
        own = {one for one, field in fields.items() if field.is_required()} | {"dataset"}
        assert section == section.model_copy(
            update={
                one: field.get_default(call_default_factory=True) for one, field in fields.items() if one not in own
            }
        ), name


def test_a_dry_run_decides_nothing(registry: Registry, paper_model: Make, tmp_path: Path) -> None:
    """It says what the gate would say, by the bounds of the config."""
    config = tmp_path / "llm.yaml"
    config.write_text("registry: {dir: registry, gate: {at_least: {auroc: 0.99}}}\n", encoding="utf-8")
    registry.measure(registry.register(paper_model("one")), scored(paper_model("one")))

    with pytest.raises(QualityGateError, match=r"not above 0\.99"):
        call(promote, 1, "--config", config, "--dry-run")
    done = call(promote, 1, "--config", config, "--dry-run", "--set", "registry.gate.at_least={}")
    assert "would be put into production" in done.output
    assert registry.production() is None


def test_models_finds_the_best_and_compares_two(registry: Registry, paper_model: Make) -> None:
    """--best looks at the test set that counts, lower being better where it is; --compare has both values."""
    put(registry, paper_model("one"), auprc=0.8, figures={"log_loss": 0.2})
    put(registry, paper_model("two"), auprc=0.7, figures={"log_loss": 0.1})
    put(registry, paper_model("three"), auprc=0.9, pin=OTHER)
    at = ("--registry", registry.dir, "--json")

    assert json.loads(call(models, *at, "--best", "auprc").output)["version"] == 1
    assert json.loads(call(models, *at, "--best", "log_loss").output)["version"] == 2
    assert json.loads(call(models, *at, "--best", "auprc", "--test-set", OTHER).output)["version"] == 3
    rows = {row["what"]: row["values"] for row in json.loads(call(models, *at, "--compare", 1, 2).output)}
    assert rows["auprc"] == [0.8, 0.7] and rows["stage"] == ["production", "candidate"]
    assert rows["auroc, sex F"] == [0.9, 0.9]
    with pytest.raises(UsageError, match="unknown figure"):
        call(models, *at, "--best", "auc")


def test_models_shows_tables(registry: Registry, paper_model: Make) -> None:
    """On a terminal: the overview, two side by side, and the decisions with their reasons."""
    put(registry, paper_model("one"))
    put(registry, paper_model("two"), auprc=0.9)
    at = ("--registry", registry.dir)

    assert "holds no models yet" in call(models, "--registry", registry.dir / "other").output
    assert "production" in call(models, *at).output
    assert "+0.1000" in call(models, *at, "--compare", 1, 2).output
    assert "promoted" in call(models, *at, "--history").output
    done = call(rollback, *at, "--reason", "wrong", "--json")
    assert json.loads(done.output) == {"out": 2, "production": 1}
