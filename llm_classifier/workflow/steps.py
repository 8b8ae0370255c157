"""The steps from a config to a model in production, and what each of them hangs on.

    prepare    make the data set
    train      train a model on it, unless one is given
    export     make it servable, unless it is
    validate   measure it on the test split; where the config names a new test set, the model in production as well
    bias       no slice may fall far behind the others
    check      what `resolver llm predeploy` says about the model itself
    promote    register, and ask the gate
    confirm    what is in production gives the golden logits; if not, it is rolled back

Each calls the function behind the command of its name, and returns what later steps and the record need. Before
promote nothing that serves is touched.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_classifier import artifact, prompt
from llm_classifier.artifact import Artifact
from llm_classifier.registry import bias as biases
from llm_classifier.registry import metrics
from llm_classifier.registry.metrics import Metrics
from llm_classifier.registry.store import Registry, Version
from llm_classifier.settings import LlmSettings
from llm_classifier.settings.dataset import DatasetSettings
from llm_classifier.settings.registry import RegistrySettings
from llm_classifier.settings.train import TrainSettings
from llm_classifier.settings.workflow import WorkflowSettings
from llm_classifier.workflow.engine import Done, Facts, Step
from resolver import files
from resolver.errors import QualityGateError, ResolverError, UsageError
from resolver.progress import Progress

# What hangs on prices, keys and networks of this moment is no reason to keep a model out of production.
CHECKED = ("files", "config", "contract", "golden", "memorisation")


def of(settings: LlmSettings, progress: Progress) -> list[Step]:
    """All steps of a config; refuses one that lacks a section."""
    flow, pairs, place = settings.workflow, settings.dataset, settings.registry
    named = {"workflow": flow, "dataset": pairs, "registry": place}
    missing = [name for name, section in named.items() if section is None]
    if flow is not None and flow.model is None and settings.train is None:
        missing.append("train")
    if missing or flow is None or pairs is None or place is None:
        raise UsageError(
            f"The config lacks {'the sections' if len(missing) > 1 else 'the section'} {', '.join(missing)}.",
            do="See configs/llm.yaml; workflow.model takes the place of the section train.",
        )
    if flow.model is None and settings.train is not None and settings.train.dataset != pairs.out:
        raise UsageError(
            "train.dataset is not the folder that the section dataset writes (dataset.out).", do="Name the same folder."
        )
    registry = Registry(place.dir)
    steps = [_prepare(pairs, progress)]
    if flow.model is None and settings.train is not None:
        steps.append(_train(settings.train, progress))
    steps.append(_export(flow, progress))
    steps.append(_validate(flow, pairs, place, registry, progress))
    steps.append(_bias(flow, place))
    steps.append(_check(settings, pairs, progress))
    steps.append(_promote(place, registry))
    steps.append(_confirm(registry, progress))
    return steps


def _prepare(settings: DatasetSettings, progress: Progress) -> Step:
    from llm_classifier import dataset

    def run(done: Done) -> Facts:
        from llm_classifier.dataset import make

        made = make.write(make.plan(settings, progress), settings, progress)
        return {
            "dataset": str(made.folder),
            "pin": made.pin,
            "rows": {k: v["rows"] for k, v in made.card.splits.items()},
        }

    return Step(
        "prepare",
        "make the data set",
        hangs_on=lambda done: [settings.model_dump(mode="json"), prompt.VERSION, _runs(settings)],
        run=run,
        stands=lambda facts: _there(lambda: dataset.read(settings.out).pin == facts["pin"]),
    )


def _train(settings: TrainSettings, progress: Progress) -> Step:
    def run(done: Done) -> Facts:
        from llm_classifier.train import train

        made = train(settings, progress)
        return {"model": str(settings.out), "fingerprint": made.fingerprint}

    return Step(
        "train",
        "train a model",
        hangs_on=lambda done: [
            settings.model_dump(mode="json"),
            done["prepare"]["pin"],
            artifact.digest(settings.base),
        ],
        run=run,
        stands=_model_stands,
    )


def _export(settings: WorkflowSettings, progress: Progress) -> Step:
    def source(done: Done) -> Path:
        return Path(done["train"]["model"]) if settings.model is None else settings.model

    def run(done: Done) -> Facts:
        from llm_classifier.export import export

        model = source(done)
        told = artifact.check(model)
        if (model / artifact.SERVING).exists():
            return {"model": str(model), "fingerprint": told.fingerprint}
        out = settings.dir / "exported" / _identity(told)[:16]
        # Left by a kill between this step and its record.
        made = artifact.check(out) if out.exists() else export(model, out, progress=progress).artifact
        return {"model": str(out), "fingerprint": made.fingerprint}

    return Step(
        "export",
        "make it servable",
        hangs_on=lambda done: _identity(artifact.read(source(done))),
        run=run,
        stands=_model_stands,
    )


def _validate(
    flow: WorkflowSettings, pairs: DatasetSettings, place: RegistrySettings, registry: Registry, progress: Progress
) -> Step:
    def unmeasured(pin: str) -> Version | None:
        """What is in production, if the config puts a test set in place on which it was never measured."""
        before = registry.production()
        return before if place.gate.test_set == pin and before is not None and pin not in before.metrics else None

    def run(done: Done) -> Facts:
        model, pin = Path(done["export"]["model"]), done["prepare"]["pin"]
        found = _measured(model, pairs.out, progress, flow.trained_on)
        metrics.write(model / metrics.FILE, found)
        before = unmeasured(pin)
        if before is not None:
            registry.measure(before, _measured(before.model, pairs.out, progress))
        return {
            "pin": pin,
            "metrics": str(model / metrics.FILE),
            "digest": files.digest(model / metrics.FILE),
            "pairs": found.pairs,
            "headline": {name: figure.value for name, figure in found.headline.items()},
        }

    return Step(
        "validate",
        "measure it on the test split",
        hangs_on=lambda done: [
            *(done["export"]["fingerprint"], done["prepare"]["pin"], flow.trained_on),
            artifact.read(Path(done["export"]["model"])).calibration,
        ],
        run=run,
        stands=lambda facts: (
            _there(lambda: files.digest(Path(facts["metrics"])) == facts["digest"]) and unmeasured(facts["pin"]) is None
        ),
    )


def _bias(settings: WorkflowSettings, place: RegistrySettings) -> Step:
    def run(done: Done) -> Facts:
        found = metrics.read(Path(done["validate"]["metrics"]))
        slow, small = biases.behind(found, place.gate, settings.max_behind)
        if slow:
            raise QualityGateError(
                f"{len(slow)} slices fall behind: {'; '.join(one.told() for one in slow)}.",
                do="See resolver llm validate for what to try, or raise workflow.max_behind.",
            )
        return {"slices": len(found.slices), "too_small": small}

    return Step(
        "bias",
        "hold slices against each other",
        hangs_on=lambda done: [
            *(done["validate"]["digest"], settings.max_behind),
            *(place.gate.slice_figures, place.gate.slice_min_pairs),
        ],
        run=run,
    )


def _check(settings: LlmSettings, pairs: DatasetSettings, progress: Progress) -> Step:
    looked = settings.predeploy.model_copy(update={"dataset": settings.predeploy.dataset or pairs.out})

    def run(done: Done) -> Facts:
        from llm_classifier import predeploy

        report = predeploy.run(Path(done["export"]["model"]), looked, progress, only=CHECKED)
        bad = [one for one in report.checks if one.outcome == "no-go"]
        if bad:
            raise QualityGateError(f"No-go: {'; '.join(f'{one.name}: {one.says}' for one in bad)}.", do=bad[0].do)
        return {"checks": {one.name: one.outcome for one in report.checks}}

    return Step(
        "check",
        "look it over before it is served",
        hangs_on=lambda done: [done["export"]["fingerprint"], done["prepare"]["pin"], looked.model_dump(mode="json")],
        run=run,
    )


def _promote(place: RegistrySettings, registry: Registry) -> Step:
    def run(done: Done) -> Facts:
        version = registry.register(Path(done["export"]["model"]), reason="workflow")
        found = metrics.read(Path(done["validate"]["metrics"]))
        version = registry.measure(version, found)
        before = registry.state().production
        verdict = registry.promote(version, found.test_set, place.gate)
        if not verdict.passed:
            raise QualityGateError(f"{version.name.capitalize()} is not put into production: {verdict.reason}.")
        return {"version": version.number, "instead_of": before, "reason": verdict.reason}

    def undo(facts: Facts, reason: str) -> None:
        """Only what this step put there, and only while it is there."""
        if facts["version"] != facts["instead_of"] and registry.state().production == facts["version"]:
            registry.roll_back(reason, leave_none=True)

    return Step(
        "promote",
        "ask the gate, and put it into production",
        hangs_on=lambda done: [done["validate"]["digest"], place.model_dump(mode="json")],
        run=run,
        stands=lambda facts: registry.state().production == facts["version"],
        undo=undo,
    )


def _confirm(registry: Registry, progress: Progress) -> Step:
    def run(done: Done) -> Facts:
        from llm_classifier.verify import verify

        version = registry.require_production()
        registry.check(version)
        progress.say(f"asking {version.name} for its golden logits")
        found = verify(str(version.model), None)
        found.check(version.name)
        return {"version": version.number, "largest_difference": float(found.off.max())}

    return Step(
        "confirm",
        "see that production answers as the model does",
        hangs_on=lambda done: done["promote"],
        run=run,
        stands=lambda facts: registry.state().production == facts["version"],
    )


def _measured(model: Path, dataset: Path, progress: Progress, trained_on: Path | None = None) -> Metrics:
    from llm_classifier.validate import measure

    return measure(model, dataset, progress, trained_on=trained_on)


def _identity(told: Artifact) -> str:
    """Of a model with all that is said about it: its calibration too, which is no part of the fingerprint."""
    return files.digest_of(dataclasses.asdict(told))


def _runs(settings: DatasetSettings) -> list[Any]:
    """The runs that pairs come from, as they are now."""
    from resolver import settings as run_settings
    from resolver.runs import MANIFEST

    found = []
    for config in settings.runs:
        manifest = run_settings.load(config).run.dir / MANIFEST
        stages = json.loads(manifest.read_text(encoding="utf-8"))["stages"] if manifest.exists() else {}
        found.append([str(config), {name: one["fingerprint"] for name, one in stages.items()}])
    return found


def _model_stands(facts: Facts) -> bool:
    return _there(lambda: artifact.check(Path(facts["model"])).fingerprint == facts["fingerprint"])


def _there(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except (ResolverError, OSError):
        return False
