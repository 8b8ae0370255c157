"""Reads a config of a test bed: YAML on top of a preset on top of the defaults.

A preset is a YAML file in configs/augment (in an installed package: augmentation/configs). Knows nothing of what the
settings do.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from augmentation.settings import AugmentSettings
from resolver.errors import SettingsError, UsageError
from resolver.settings import reading

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
        content, where = reading.content(path), str(path)
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
        reading.put(chosen, override)
    if (preset := chosen.get("preset", content.get("preset"))) is not None:
        if preset not in names():
            raise SettingsError(where, [f"preset: no such preset; known are {', '.join(names())}"])
        content = merged(_preset(preset), content)
    return parse(merged(content, _anchored(chosen, Path.cwd()), whole=()), where)


def _preset(name: str) -> dict[str, Any]:
    """A preset's content, on top of the preset that it starts from itself."""
    content = reading.content(folder() / f"{name}.yaml")
    return merged(_preset(content["preset"]), content) if "preset" in content else content


def parse(content: dict[str, Any], where: str) -> AugmentSettings:
    return reading.parse(AugmentSettings, content, where=where)


def merged(below: dict[str, Any], above: dict[str, Any], whole: tuple[str, ...] = _WHOLE) -> dict[str, Any]:
    """Both mappings, key by key; what is above goes before. Lists, and the mappings of these names, are replaced."""
    found = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict) and key not in whole:
            found[key] = merged(found[key], value, whole)
        else:
            found[key] = value
    return found


def _anchored(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """The content with its two paths made absolute."""
    found = dict(content)
    if isinstance(found.get("out"), str):
        found["out"] = str(base / Path(found["out"]).expanduser())
    population = found.get("population")
    if isinstance(population, dict) and isinstance(population.get("dir"), str):
        found["population"] = {**population, "dir": str(base / Path(population["dir"]).expanduser())}
    return found
