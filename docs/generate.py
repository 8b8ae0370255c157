"""Writes the pages and schemas that follow from the code: what tables, settings and commands say of themselves.

    python docs/generate.py            write them
    python docs/generate.py --check    name those that are stale; exit code 1 where there are any

`make docs` does the first, tests/docs the second. Nothing is said here that the code does not say itself.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from augmentation.settings import AugmentSettings
from llm_classifier.settings import LlmSettings, TrainSettings
from resolver import cli, pipeline, tables
from resolver.cli.schema import text as run_schema
from resolver.mpi import schema as index
from resolver.settings import Settings, schema
from resolver.settings.base import Section
from synthea_runner.settings import SyntheaSettings

ROOT = Path(__file__).parents[1]
NOTE = "<!-- Made by docs/generate.py: change the code, then type make docs. -->"
MACHINE = "what the machine has"  # defaults that hang on it


def tables_page() -> str:
    """docs/tables.md."""
    parts = [
        "# Tables",
        NOTE,
        "Every stage leaves its tables in the run folder as Parquet, one file per table: `records.parquet` and so on. "
        "The index, `mpi.duckdb`, is a DuckDB database with tables of its own, [below](#the-index).",
        "    SELECT source, count(*) FROM 'run/records.parquet' GROUP BY source",
        "| table | written by | read by | what |\n|---|---|---|---|\n"
        + "\n".join(
            f"| [`{name}`](#{name}) | {_writer(name)} | {_readers(name)} | {_cell(table.meaning)} |"
            for name, table in tables.TABLES.items()
        ),
        *(part for table in tables.TABLES.values() for part in _table(table)),
        "## Other files",
        "| file | written by | read by | what |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{name}` | {_writer(name)} | {_readers(name)} | {says} |" for name, says in tables.FILES.items()
        )
        + "\n| `manifest.json` | resolver/runs.py | resolver/runs.py | per stage what it was made from, its files with "
        "their digests, time, memory, counts |",
        "## The index",
        _prose(index),
        *(part for table in (*index.TABLES.values(), index.LABELS) for part in _table(table)),
    ]
    return "\n\n".join(parts) + "\n"


def _table(table: tables.Table) -> Iterator[str]:
    yield f"### {table.name}"
    yield table.meaning
    rows = [f"| `{one.name}` | {_type(one.type)} | {_cell(one.meaning)} |" for one in table.columns]
    yield "| column | type | meaning |\n|---|---|---|\n" + "\n".join(rows)


def _type(name: str) -> str:
    return "STRUCT of FLOAT, one per field" if name.startswith("STRUCT") else name


def _writer(output: str) -> str:
    return next(stage.name for stage in pipeline.STAGES if output in stage.writes)


def _readers(output: str) -> str:
    return ", ".join(stage.name for stage in pipeline.STAGES if output in stage.reads) or "people and commands"


def _prose(module: Any) -> str:
    """A module's docstring as one paragraph, without what it says of the file."""
    lines = (inspect.getdoc(module) or "").splitlines()
    return " ".join(line for line in lines if line and not line.startswith("This file "))


CONFIGS: tuple[tuple[str, str, type[Section]], ...] = (
    ("resolver run", "csv.yaml fhir.yaml benchmark.yaml", Settings),
    ("resolver augment", "augment/realistic.yaml augment/hard.yaml", AugmentSettings),
    ("resolver synthea generate --config", "synthea.yaml", SyntheaSettings),
    ("resolver llm", "llm.yaml encoder.yaml", LlmSettings),
)


def settings_page() -> str:
    """docs/settings.md."""
    parts = [
        "# Settings",
        NOTE,
        "Configs are YAML. Unknown keys are refused with the nearest known one. Relative paths are taken from the "
        "config's own folder. `--set section.key=value` changes a setting for one call. Secrets are never settings: "
        "they come from the environment. Editors complete configs by a JSON Schema: `resolver schema`, and the first "
        "line of the files in [configs](../configs).",
    ]
    for command, examples, kind in CONFIGS:
        named = ", ".join(f"[{name}](../configs/{name})" for name in examples.split())
        parts += [f"## {command}", f"In use: {named}."]
        parts += _sections(kind, "")
    return "\n\n".join(parts) + "\n"


def _sections(kind: type[Section], place: str) -> Iterator[str]:
    """One table per section, sections within sections after it."""
    found = kind.model_json_schema()
    rows: list[str] = []
    inner: list[tuple[str, type[Section]]] = []
    for name, field in kind.model_fields.items():
        where = f"{place}.{name}" if place else name
        below = [one for one in _classes(field.annotation) if one.model_fields]
        if below and not field.description:
            inner += [(where, one) for one in below]
            continue
        told = found["properties"][name]
        rows.append(f"| `{name}` | {_default(field)} | {_range(told, found)} | {_cell(field.description or '')} |")
        inner += [(where, one) for one in below]
    if rows:
        yield f"### {place}" if place else "### Top level"
        if place and (said := _said(kind)):
            yield said
        yield "| setting | default | range | meaning |\n|---|---|---|---|\n" + "\n".join(rows)
    for where, one in inner:
        tag = one.model_fields["kind"].annotation if len([x for x, _ in inner if x == where]) > 1 else None
        yield from _sections(one, f"{where}, kind {tag.__args__[0]}" if tag is not None else where)


def _said(kind: type[Section]) -> str:
    return "" if kind.__doc__ is None or kind.__doc__ == Section.__doc__ else _cell(inspect.getdoc(kind) or "")


def _classes(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [one for argument in getattr(annotation, "__args__", ()) for one in _classes(argument)]


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    if field.default_factory is not None:
        value = field.default_factory()
        return MACHINE if isinstance(value, (int, float)) else _value(value)
    return _value(field.default)


def _value(value: Any) -> str:
    if isinstance(value, Section):
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, default=str)}`"


def _range(told: dict[str, Any], whole: dict[str, Any]) -> str:
    """Type and bounds of a setting, in words."""
    if "$ref" in told:
        return "section"
    if "anyOf" in told:
        return " or ".join(dict.fromkeys(_range(one, whole) for one in told["anyOf"]))
    if "enum" in told or "const" in told:
        return ", ".join(f"`{one}`" for one in told.get("enum", [told.get("const")]))
    bounds = [
        f"{sign} {told[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in told
    ]
    names = {"integer": "number, whole", "string": "text", "boolean": "true or false", "null": "null"}
    if told.get("type") == "array":
        return "list"
    if told.get("type") == "object":
        return "keys with values"
    name = told["format"] if told.get("format") in ("path", "date") else names.get(told["type"], told["type"])
    return ", ".join([name, *bounds])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def commands_page() -> str:
    """docs/commands.md."""
    parts = [
        "# Commands",
        NOTE,
        "`resolver COMMAND --help` says the same. The shell completes commands and options once it is told how: "
        '`eval "$(_RESOLVER_COMPLETE=bash_source resolver)"` in `~/.bashrc`, `zsh_source` in `~/.zshrc`, '
        "`_RESOLVER_COMPLETE=fish_source resolver | source` in fish's config. Colours and bars appear on a terminal "
        "only, and not where `NO_COLOR` is set.",
    ]
    for path, command in _commands(cli.cli, ("resolver",)):
        parts += [f"{'#' * max(2, len(path))} {' '.join(path)}", f"```text\n{_help(path, command)}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, (*path, name))


def _help(path: tuple[str, ...], command: click.Command) -> str:
    context = None
    for name in path[:-1]:
        context = click.Context(click.Group(name), info_name=name, parent=context, **cli.cli.context_settings)
    with click.Context(command, info_name=path[-1], parent=context, max_content_width=100, terminal_width=100) as own:
        own.help_option_names = ["-h", "--help"]
        command._help_option = None  # click keeps the one of its first call, which may have had other names
        return command.get_help(own)


def llm_schema() -> str:
    """Every setting of the section train may be a list: a sweep."""
    found = schema.schema(LlmSettings, "Config of resolver llm")
    train = found["$defs"][TrainSettings.__name__]["properties"]
    for name, told in train.items():
        said = {key: told.pop(key) for key in ("description", "default") if key in told}
        train[name] = {"anyOf": [told, {"type": "array", "items": dict(told)}]} | said
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


MADE: dict[str, Callable[[], str]] = {
    "docs/tables.md": tables_page,
    "docs/settings.md": settings_page,
    "docs/commands.md": commands_page,
    "configs/schema.json": run_schema,
    "configs/schema-augment.json": lambda: schema.text(AugmentSettings, "Config of resolver augment"),
    "configs/schema-llm.json": llm_schema,
    "configs/schema-synthea.json": lambda: schema.text(SyntheaSettings, "Config of resolver synthea generate"),
}


def stale() -> list[str]:
    """Files that are not what the code says."""
    return [
        name
        for name, make in MADE.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != make()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    old = stale()
    if parser.parse_args().check:
        sys.exit(f"Stale: {', '.join(old)}. Type: make docs" if old else 0)
    for name in old:
        (ROOT / name).write_text(MADE[name](), encoding="utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
