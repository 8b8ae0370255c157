"""Reads a config of a test bed: YAML on top of a preset on top of the defaults.

A preset is a YAML file in configs/augment (in an installed package: augmentation/configs). Knows nothing of what the
settings do.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

from augmentation.settings import AugmentSettings
from resolver.errors import SettingsError, UsageError
from resolver.settings.base import Section

_PLACES = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs" / "augment")

# Mappings that a config states whole: what it does not name is meant to be gone.
_WHOLE = ("families", "kinds", "facilities")


def folder() -> Path:
    return next(place for place in _PLACES if place.is_dir())


def names() -> list[str]:
    return sorted(path.stem for path in folder().glob("*.yaml"))


def load(config: str, overrides: tuple[str, ...] = ()) -> AugmentSettings:
    """Settings from a YAML file or a preset's name; `overrides` are `section.key=value`, the value in YAML.

    Paths in a file are relative to its folder, paths in overrides to the working folder.
    """
    path = Path(config)
    if path.is_file():
        content, where = _read(path), str(path)
        base = path.absolute().parent
    elif config in names():
        content, where, base = {"preset": config}, f"preset {config}", Path.cwd()
    else:
        near = difflib.get_close_matches(config, names(), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Presets are {', '.join(names())}."
        raise UsageError(f"{config} is neither a file nor a preset.", do=hint)
    content = _anchored(content, base)
    chosen: dict[str, Any] = {}
    for override in overrides:
        _put(chosen, override)
    if (preset := chosen.get("preset", content.get("preset"))) is not None:
        if preset not in names():
            raise SettingsError(where, [f"preset: no such preset; known are {', '.join(names())}"])
        content = merged(_preset(preset), content)
    return parse(merged(content, _anchored(chosen, Path.cwd()), whole=()), where)


def _preset(name: str) -> dict[str, Any]:
    """A preset's content, on top of the preset that it starts from itself."""
    content = _read(folder() / f"{name}.yaml")
    return merged(_preset(content["preset"]), content) if "preset" in content else content


def parse(content: dict[str, Any], where: str) -> AugmentSettings:
    from pydantic import ValidationError

    try:
        return AugmentSettings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(where, [_fault(fault) for fault in error.errors()]) from None


def merged(below: dict[str, Any], above: dict[str, Any], whole: tuple[str, ...] = _WHOLE) -> dict[str, Any]:
    """Both mappings, key by key; what is above goes before. Lists, and the mappings of these names, are replaced."""
    found = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict) and key not in whole:
            found[key] = merged(found[key], value, whole)
        else:
            found[key] = value
    return found


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {type(error).__name__}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise SettingsError(where, [f"not valid YAML: {getattr(error, 'problem', error)}"]) from None
    if not isinstance(content, dict):
        raise SettingsError(str(path), ["it must hold sections (population:, errors:, ...), not a single value"])
    return content


def _anchored(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """The content with its two paths made absolute."""
    found = dict(content)
    if isinstance(found.get("out"), str):
        found["out"] = str(base / Path(found["out"]).expanduser())
    population = found.get("population")
    if isinstance(population, dict) and isinstance(population.get("dir"), str):
        found["population"] = {**population, "dir": str(base / Path(population["dir"]).expanduser())}
    return found


def _put(content: dict[str, Any], override: str) -> None:
    import yaml

    name, equals, text = override.partition("=")
    keys = [int(part) if part.isdigit() else part for part in name.strip().split(".")]
    if not equals or not all(str(part) for part in keys):
        raise UsageError(f"--set {override}: write it as section.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: the value is not valid YAML.") from None
    place: Any = content
    for part in keys[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {override}: {part} is a value, not a section.")
    place[keys[-1]] = value


def _fault(fault: Any) -> str:
    """One line for one of pydantic's faults."""
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _known(fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{where}: {message}" if where else message


def _known(place: tuple[Any, ...]) -> list[str]:
    section: Any = AugmentSettings
    for part in place:
        if isinstance(section, type) and issubclass(section, Section) and part in section.model_fields:
            section = section.model_fields[str(part)].annotation
            section = next((one for one in get_args(section) if _is_section(one)), section)
    return sorted(section.model_fields) if _is_section(section) else []


def _is_section(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, Section)
