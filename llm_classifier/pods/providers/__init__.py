"""Where machines come from. A narrow interface, so that Slurm, Kubernetes or SkyPilot can follow.

A provider knows nothing of jobs. What it is asked may be asked again: `end` of a pod that is gone is no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from resolver.errors import ResolverError

if TYPE_CHECKING:
    from resolver.settings.pods import PodsSettings


@dataclass(frozen=True)
class Offer:
    """One kind of machine that a job would take."""

    machine: str  # the provider's name for it: a GPU type, a host
    region: str = ""  # "" is anywhere
    price: float = 0.0  # USD per hour, the most that the provider lists for it


@dataclass(frozen=True)
class Order:
    name: str  # names.PodName as text, unique for ever
    offer: Offer
    image: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds the job's own key


@dataclass(frozen=True)
class Pod:
    id: str
    name: str
    status: Literal["starting", "running", "exited", "gone"]
    price: float | None = None  # USD per hour that is really billed, where the provider tells
    region: str = ""  # where it is, where the provider tells
    facts: Mapping[str, str] = field(default_factory=dict)  # what else the provider says of it; never its environment


class ProviderError(ResolverError):
    """Nothing is known to have gone wrong with the pod; the provider could not be asked."""


class Refused(ProviderError):
    """The pod was surely not made."""


class Denied(Refused):
    """Nothing will come of asking again before a person has set something right: the key, the balance."""


class Unclear(ProviderError):
    """The pod may have been made: the answer was lost, or made no sense."""


def open_provider(pods: PodsSettings, home: Path) -> Provider:
    """The one that the settings name; `home` is where a provider may keep what it knows of processes here."""
    match pods.provider:
        case "runpod":
            from llm_classifier.pods.providers.runpod import RunPod

            return RunPod.of(pods)
        case "ssh":
            from llm_classifier.pods.providers.ssh import Ssh

            return Ssh.of(pods)
        case _:
            from llm_classifier.pods.providers.local import Local

            return Local(home)


class Provider(Protocol):
    name: str

    def offers(self) -> list[Offer]:
        """What it has of what the settings want, best first."""

    def shows(self, machine: str) -> bool:
        """Whether `pods` would list a pod on this machine. One that it would not list is not gone for that."""

    def launch(self, order: Order) -> Pod:
        """Make a pod. Refused: surely none was made. Unclear: maybe."""

    def pods(self) -> list[Pod]:
        """All pods whose names are ours, of every job."""

    def describe(self, id: str) -> Pod | None:
        """One pod; None if the provider knows none of this id (now: it may be late)."""

    def end(self, id: str) -> None:
        """Ask for the end of a pod. It is gone when it is no longer listed, not when this returns."""
