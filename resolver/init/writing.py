"""Writes what was found as a config for people: YAML with a comment where one is needed. Knows nothing of data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from resolver.init.looking import Found
from resolver.settings.schema import FIRST_LINE

NOT_WRITTEN = ("kind", "path", "fields", "events")


def text(found: Found, data: Path, config: Path, schema: str | None = None) -> str:
    """`schema`: path of the JSON Schema that editors complete the config by, as seen from the config."""
    folder = config.absolute().parent
    lines = [
        *([FIRST_LINE + schema] if schema else []),
        f"# Written by resolver init for {_path(data.absolute(), folder)}. Look it over, then:",
        f"#   resolver check {config.name}    what the data is like, what a run will take",
        f"#   resolver run {config.name}      records in, Master Patient Index out",
        "",
        "run:",
        "  # Folder of the run: tables, manifest, report, and the index unless index.path says otherwise.",
        f"  dir: {_quoted('runs/' + config.stem)}",
        "  # threads and memory_gib: all cores and 60 % of the memory unless said here.",
        "",
        "sources:",
    ]
    for position, source in enumerate(found.sources):
        lines += _source(source, found.notes.get(position, []), found.unread.get(position, []), folder)
    if found.not_used:
        lines += ["", "# Not recognised, and not read:"]
        lines += [f"#   {_path(path, folder)}" for path in found.not_used]
    lines += [
        "",
        "ingest:",
        "  # all: the sources list every record there is. changes: only new and changed ones.",
        "  input: all",
        "  # Share of rows that may be rejected before the run stops.",
        "  max_rejected: 0.05",
        '  # Further values that mean "unknown" in any field.',
        "  placeholders: []",
        "",
        "evaluate:",
    ]
    if found.truth:
        lines += [
            "  # Who is who, for the figures at the end. Nothing else reads it.",
            f"  truth: {_path(found.truth, folder)}",
        ]
    else:
        lines += [
            "  # Where it is known which records are one person: a file with record_id and person_id.",
            "  # truth: truth.csv",
        ]
        lines += ["  truth: null"]
    return "\n".join(lines) + "\n"


def _source(source: dict[str, Any], notes: list[str], unread: list[str], folder: Path) -> list[str]:
    lines = [f"  - kind: {source['kind']}", f"    path: {_path(source['path'], folder)}"]
    if source["kind"] == "synthea":
        lines += [
            "    # First, last and maiden name, birth date, sex, SSN, address, town, state and ZIP are read; phone,",
            "    # e-mail and member number where there are such columns. To read more: fields: {middle_name: MIDDLE}",
        ]
    lines += [f"    # Look at this: {note}" for note in notes]
    for key, value in source.items():
        if key not in NOT_WRITTEN:
            lines.append(f"    {key}: {_quoted(value)}")
    if source.get("fields"):
        lines.append("    fields: # field of a person: column" if source["kind"] == "table" else "    fields:")
        lines += [f"      {field}: {_quoted(column)}" for field, column in source["fields"].items()]
        if unread:
            lines.append(f"      # Not read: {', '.join(_quoted(column) for column in unread)}")
    if source.get("events"):
        lines.append("    events:")
        for event in source["events"]:
            lines.append(f"      - path: {_path(event['path'], folder)}")
            lines += [f"        {key}: {_quoted(value)}" for key, value in event.items() if key != "path"]
    return lines


def _path(path: Path, folder: Path) -> str:
    """Relative to the config where both lie close together, so that they can move together."""
    relative = os.path.relpath(path, folder)
    return _quoted(relative if relative.count("..") <= 1 else str(path))


def _quoted(value: Any) -> str:
    """A value in YAML; what could be taken for something else stands in quotes."""
    if isinstance(value, str) and value.replace("_", "").replace("/", "").isalpha() and value.isascii():
        lower = value.lower()
        return json.dumps(value) if lower in ("yes", "no", "on", "off", "true", "false", "null", "y", "n") else value
    return json.dumps(value, ensure_ascii=False)
