"""Settings: YAML in, one typed class per section out.

All faults of a file are reported together, unknown keys with the nearest known name. Paths in a config are relative to
the config's own folder. Secrets are never settings: they come from the environment.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError

from resolver.errors import SettingsError, UsageError
from resolver.settings.base import Section
from resolver.settings.run import RunSettings
from resolver.settings.sources import FhirSource, Source, SyntheaSource, TableSource
from resolver.settings.stages import (
    AdjudicateSettings,
    ClusterSettings,
    DecideSettings,
    EvaluateSettings,
    GoldenSettings,
    IndexSettings,
    IngestSettings,
    LearnSettings,
    LinkSettings,
    ReportSettings,
)

__all__ = ["FhirSource", "Settings", "Source", "SyntheaSource", "TableSource", "load", "parse"]


class Settings(Section):
    run: RunSettings
    sources: tuple[Source, ...] = Field(min_length=1)
    ingest: IngestSettings = IngestSettings()
    link: LinkSettings = LinkSettings()
    learn: LearnSettings = LearnSettings()
    adjudicate: AdjudicateSettings = AdjudicateSettings()
    decide: DecideSettings = DecideSettings()
    cluster: ClusterSettings = ClusterSettings()
    golden: GoldenSettings = GoldenSettings()
    index: IndexSettings = IndexSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()

    @property
    def index_path(self) -> Path:
        return self.index.path or self.run.dir / "mpi.duckdb"


def load(path: Path, overrides: tuple[str, ...] = ()) -> Settings:
    """Read a config; `overrides` are `section.key=value`, the value in YAML."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"There is no config {path}.", do="Make one with: resolver init DATA --out CONFIG") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}.") from None
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{where}", [f"not valid YAML: {getattr(error, 'problem', error)}"]) from None
    if not isinstance(content, dict):
        raise SettingsError(str(path), ["it must hold sections (run:, sources:, ...), not a single value"])
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not all(key.strip().split(".")):
            raise UsageError(f"--set {override}: write it as section.key=value.")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {key}: its value is not valid YAML.") from None
        _put(content, key.strip().split("."), read)
    return parse(content, base=path.parent, where=str(path))


def parse(content: dict[str, Any], *, base: Path, where: str) -> Settings:
    """Settings from a mapping; relative paths are taken from `base`."""
    try:
        return _resolve(Settings.model_validate(content), base.absolute())
    except ValidationError as error:
        raise SettingsError(where, [_fault(fault) for fault in _own(error.errors())]) from None


def _put(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for position, key in enumerate(keys[:-1]):
        inner = content.setdefault(key, {})
        if isinstance(inner, list) and keys[position + 1].isdigit():
            raise UsageError(f"--set {'.'.join(keys)}: lists can't be changed one by one; edit the config.")
        if not isinstance(inner, dict):
            raise UsageError(f"--set {'.'.join(keys)}: {key} is not a section.")
        content = inner
    content[keys[-1]] = value


def _resolve(section: Any, base: Path) -> Any:
    """The same settings with every path absolute."""
    if isinstance(section, Path):
        return base / section.expanduser()
    if isinstance(section, tuple):
        return tuple(_resolve(item, base) for item in section)
    if isinstance(section, Section):
        return section.model_copy(
            update={name: _resolve(getattr(section, name), base) for name in type(section).model_fields}
        )
    return section


def _own(faults: Sequence[Any]) -> list[Any]:
    """Without those that only follow from another: a list whose items have faults is also said to be too short."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(place != fault["loc"] and place[: len(fault["loc"])] == fault["loc"] for place in places)
    ]


def _fault(fault: Any) -> str:
    """One line for one of pydantic's faults."""
    place = [part for part in fault["loc"] if part not in ("synthea", "fhir", "table")]
    where = ".".join(str(part) for part in place)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(fault["loc"][:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    return f"{where}: {fault['msg'][0].lower()}{fault['msg'][1:]}" if where else str(fault["msg"])


def _known_keys(place: tuple[Any, ...]) -> list[str]:
    section: type[Section] = Settings
    kinds: dict[Any, type[Section]] = {"synthea": SyntheaSource, "fhir": FhirSource, "table": TableSource}
    for part in place:
        if part in kinds:
            section = kinds[part]
        elif part in section.model_fields:
            annotation = section.model_fields[part].annotation
            inner = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
            section = next((one for one in inner if issubclass(one, Section)), section)
    return sorted(section.model_fields)
