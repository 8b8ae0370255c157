"""What other packages bring is checked, and what is wrong with it is one line. docs/extending.md has one that works."""

from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType
from typing import Any, Literal

import pytest

from resolver import judges, plugins
from resolver.errors import UsageError
from resolver.ingest import readers
from resolver.settings import sources
from resolver.settings.base import Section


class Fixed(Section):
    kind: Literal["fixed"]


class Table(Section):
    kind: Literal["table"]


class Offer:
    """Entry points as if packages with these things were installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = ModuleType("offered")
        monkeypatch.setitem(sys.modules, "offered", self.module)
        self.entries: list[metadata.EntryPoint] = []
        monkeypatch.setattr(metadata, "entry_points", lambda group: [one for one in self.entries if one.group == group])

    def __call__(self, group: str, name: str, thing: Any) -> None:
        place = f"thing_{len(self.entries)}"
        setattr(self.module, place, thing)
        self.entries.append(metadata.EntryPoint(name, f"offered:{place}", group))


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    return Offer(monkeypatch)


def test_a_source_joins_those_there_are(offer: Offer) -> None:
    """A class with a kind of its own name is one more kind of source, read by the reader of that name."""
    reader = ModuleType("reader")
    offer(sources.GROUP, "fixed", Fixed)
    offer(readers.GROUP, "fixed", reader)

    assert sources.every() == (*sources.OWN, Fixed)
    assert readers.find("fixed") is reader


@pytest.mark.parametrize(
    ("name", "thing", "says"),
    [
        ("other", Fixed, "no source of the kind other"),
        ("fixed", "no class", "no source of the kind fixed"),
        ("table", Table, "there is already"),
    ],
)
def test_what_is_no_source_is_refused(offer: Offer, name: str, thing: Any, says: str) -> None:
    """Another kind than the entry point's name, no class of settings, or a kind of this program's is refused."""
    offer(sources.GROUP, name, thing)

    with pytest.raises(UsageError, match=says):
        sources.every()


def test_a_source_without_a_reader_is_refused(offer: Offer) -> None:
    """The message names the entry point that is missing."""
    offer(sources.GROUP, "fixed", Fixed)

    with pytest.raises(UsageError, match=r"an entry point fixed in the group resolver\.readers"):
        readers.find("fixed")


def test_a_package_that_cant_be_loaded_is_one_line(offer: Offer) -> None:
    """The line names what could not be loaded, and from where."""
    offer(judges.GROUP, "twins", None)
    offer.entries = [metadata.EntryPoint("twins", "offered:gone", judges.GROUP)]

    with pytest.raises(UsageError, match=r"twins can't be loaded from offered:gone: .*gone"):
        judges.find("twins")


def test_two_packages_that_bring_the_same_name_are_refused(offer: Offer) -> None:
    """Which of the two is meant is not guessed; one package installed twice is no harm."""
    offer(judges.GROUP, "twins", "one")
    offer.entries *= 2
    assert list(plugins.named(judges.GROUP)) == ["twins"]

    offer(judges.GROUP, "twins", "other")
    with pytest.raises(UsageError, match="Two packages bring twins"):
        plugins.named(judges.GROUP)
