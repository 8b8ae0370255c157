"""How a YAML config becomes typed settings; the same for every config of the project.

All faults of a file are reported together, unknown keys with the nearest known name. Knows no particular section.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from resolver.errors import SettingsError, UsageError, instead
from resolver.settings.base import Section

S = TypeVar("S", bound=Section)

DATA = (".csv", ".tsv", ".txt", ".parquet", ".ndjson")  # what people name by mistake where a config is wanted


def content(path: Path, *, do: str | None = None) -> dict[str, Any]:
    """What stands in a YAML file. `do` says what to do where there is no such file, or one of another kind."""
    import yaml

    if path.is_dir() or path.suffix.lower() in DATA:
        raise UsageError(f"{path} is {'a folder' if path.is_dir() else 'data'}, not a config.", do=do)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no config {path}.", do=do) from None
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{path} can't be read.", do="Check its permissions, and that it is UTF-8 text.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise SettingsError(where, [f"not valid YAML: {getattr(error, 'problem', error)}"]) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(str(path), ["it must hold keys with values (key: value), not a single value"])
    return found


def put(into: dict[str, Any], override: str) -> None:
    """Set one `section.key=value`, the value in YAML."""
    import yaml

    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {override}: write it as section.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {name}: its value is not valid YAML.") from None
    for position, key in enumerate(keys[:-1]):
        inner = into.setdefault(key, {})
        if isinstance(inner, list) and keys[position + 1].isdigit():
            raise UsageError(f"--set {name}: lists can't be changed one by one; edit the config.")
        if not isinstance(inner, dict):
            raise UsageError(f"--set {name}: {key} is not a section.")
        into = inner
    into[keys[-1]] = value


def parse(kind: type[S], values: dict[str, Any], *, where: str, base: Path | None = None) -> S:
    """Typed settings from a mapping; relative paths are taken from `base`, where there is one."""
    try:
        found = kind.model_validate(values)
    except ValidationError as error:
        raise SettingsError(where, [_fault(kind, fault) for fault in _own(error.errors())]) from None
    return found if base is None else absolute(found, base.absolute())


def absolute(value: Any, base: Path) -> Any:
    """The same settings with every path absolute."""
    if isinstance(value, Path):
        return base / value.expanduser()
    if isinstance(value, tuple):
        return tuple(absolute(item, base) for item in value)
    if isinstance(value, Section):
        return value.model_copy(
            update={name: absolute(getattr(value, name), base) for name in type(value).model_fields}
        )
    return value


def _own(faults: Sequence[Any]) -> list[Any]:
    """Without those that only follow from another: a list whose items have faults is also said to be too short."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(place != fault["loc"] and place[: len(fault["loc"])] == fault["loc"] for place in places)
    ]


def _fault(kind: type[Section], fault: Any) -> str:
    """One line for one of pydantic's faults."""
    section, shown = _walk(kind, fault["loc"])
    where = ".".join(str(part) for part in shown)
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key; {instead(str(shown[-1]), sorted(section.model_fields))}"
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        known = [one.strip().strip("'") for one in context["expected_tags"].split(",")]
        return f"{where}: there is no {context['discriminator'].strip(chr(39))} {context['tag']}; " + instead(
            context["tag"], known
        )
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{where}: {message}" if where else message


def _walk(kind: type[Section], place: Iterable[Any]) -> tuple[type[Section], list[Any]]:
    """The section in which a fault lies, and its place as a person would write it: without the tags of unions."""
    inside = [kind]
    shown = []
    for part in place:
        tagged = [one for one in inside if "kind" in one.model_fields and part in get_args(_kind_of(one))]
        if tagged and len(inside) > 1:
            inside = tagged
            continue
        shown.append(part)
        if part in inside[0].model_fields:
            inside = _sections(inside[0].model_fields[part].annotation) or inside
    return inside[0], shown


def _kind_of(section: type[Section]) -> Any:
    return section.model_fields["kind"].annotation


def _sections(annotation: Any) -> list[type[Section]]:
    """The classes of settings that a field can hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]
