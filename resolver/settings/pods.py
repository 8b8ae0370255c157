"""Machines for the language model (`resolver infer`, `resolver llm train` and `export` with --rented): where they come
from, how long they live, what they may cost.

Knows no provider: what a setting means to one stands in llm_classifier/pods/providers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from resolver.settings.base import Section

# A word that can stand in a list of arguments without being taken for an option.
Word = Annotated[str, StringConstraints(pattern=r"^[^-\s][^\n]*$")]

Address = Annotated[str, StringConstraints(pattern=r"^(s3://[^/?#\s]+(/[^?#\s]*)?|hf://datasets/[\w.-]+/[\w.-]+)$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#\s@]+/?$")]

HUB_MINUTES = 8.0  # of silence, at least, where each heartbeat is a commit

RENTED = ("runpod", "ssh")  # their machines are not this one
READ_BY: dict[str, tuple[str, ...]] = {
    "machines": RENTED,
    "regions": ("runpod",),
    "cloud": ("runpod",),
    "image": ("runpod",),
    "registry": ("runpod",),
    "disk_gb": ("runpod",),
    "cap": ("runpod",),
    "url": ("runpod",),
    "grace_minutes": RENTED,
    "settle_minutes": RENTED,
    "python": ("ssh",),
    "ssh_config": ("ssh",),
}


class PodsSettings(Section):
    provider: Literal["local", "ssh", "runpod"] = "local"
    """Where machines come from. local: the worker is a process of its own on this machine. ssh: a process on a machine
    of yours. runpod: a pod that is rented for the job; its key is RUNPOD_API_KEY in the environment."""

    machines: tuple[Word, ...] = ()
    """What may be used, best first. runpod: GPU types as its catalog names them; ssh: hosts as `ssh` takes them."""

    regions: tuple[Word, ...] = ()
    """runpod: data centers, in order, each with every machine. Empty: anywhere."""

    cloud: Literal["secure", "community"] = "secure"
    """runpod: secure is RunPod's own data centers, community is other people's machines."""

    image: str | None = None
    """runpod: image of the worker, the one that scores or the one that trains, pinned: NAME@sha256:DIGEST."""

    registry: str | None = None
    """runpod: id of the stored credential for a private registry."""

    disk_gb: int = Field(default=40, ge=5, le=2000)
    """runpod: disk of the container, for image, model and prompts, in GB."""

    cap: float = Field(default=5.0, gt=0)
    """runpod: the most that one job may cost, in USD, all attempts together. Reserved before a machine is ordered."""

    url: str = "https://api.runpod.io"
    """runpod: address of its API."""

    python: Word = "python3"
    """ssh: the interpreter on those machines that has this package."""

    ssh_config: Path | None = None
    """ssh: configuration of the ssh client, in place of the user's own."""

    model: Path | None = None
    """Folder of the model as the machine sees it; of the base, where one is trained or exported. Default: llm.model, or
    the base, brought there where the bridge is no folder."""

    bridge: Address | Path | None = None
    """Where files pass, encrypted: a folder (default: one beside the index), s3://BUCKET/PREFIX, or
    hf://datasets/OWNER/NAME, a private data set of the Hugging Face Hub."""

    bridge_endpoint: Url | None = None
    """s3: URL of the store. Default: Amazon's."""

    allow_bridges: tuple[Address, ...] = ()
    """Bridges that are no folder and may be used, each by its address or by how that begins."""

    backend: Literal["transformers", "vllm"] = "vllm"
    """What scores there."""

    hours: float = Field(default=2.0, gt=0, le=72)
    """A machine's deadline, from the moment it is ordered."""

    grace_minutes: float = Field(default=20.0, ge=5)
    """ssh, runpod: how long after its deadline a machine may take to be gone; paid for, and so reserved. More than
    `resolver pods reap` is apart in cron."""

    boot_minutes: float = Field(default=20.0, gt=0)
    """How long a machine may take until its worker is heard."""

    stall_minutes: float = Field(default=10.0, gt=0)
    """How long a worker may be silent."""

    settle_minutes: float | None = Field(default=None, ge=0)
    """ssh, runpod: how long it may take until a machine that was ordered is listed. Default: runpod 5, ssh 1."""

    attempts: int = Field(default=3, ge=1)
    """How many machines may be tried for one job, those that were refused not counted."""

    jobs: Path | None = None
    """Record of the jobs. Default: pods.sqlite beside the index; for training and export, beside train.out."""

    @model_validator(mode="after")
    def _fits_provider(self) -> Self:
        strange = sorted(
            name for name in self.model_fields_set if self.provider not in READ_BY.get(name, (self.provider,))
        )
        if strange:
            raise ValueError(f"{self.provider} does not read {', '.join(strange)}; take it out")
        if self.provider in RENTED and not self.machines:
            wanted = "GPU types, such as NVIDIA L4" if self.provider == "runpod" else "hosts"
            raise ValueError(f"{self.provider} needs machines: {wanted}")
        if self.provider == "runpod":
            self._fits_runpod()
        self._fits_bridge()
        return self

    def _fits_runpod(self) -> None:
        _, pinned, digest = (self.image or "").partition("@sha256:")
        if not pinned or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValueError("runpod needs image, pinned by its digest: NAME@sha256:DIGEST")
        place = urlsplit(self.url)
        if place.scheme != "https" and place.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("url must begin with https://, since the key is sent there")
        if self.bridge_kind == "file":
            raise ValueError(
                "a pod of runpod does not see a folder of this machine; set bridge to s3://BUCKET/PREFIX or "
                "hf://datasets/OWNER/NAME"
            )

    @property
    def bridge_kind(self) -> Literal["file", "s3", "hf"]:
        if not isinstance(self.bridge, str):
            return "file"
        return "s3" if self.bridge.startswith("s3:") else "hf"

    def _fits_bridge(self) -> None:
        """What leaves for a store of others leaves only for one that the config names twice."""
        kind, address = self.bridge_kind, str(self.bridge)
        if kind == "file" and ":/" in address:
            raise ValueError("bridge is a folder, s3://BUCKET/PREFIX or hf://datasets/OWNER/NAME")
        if self.bridge_endpoint is not None and kind != "s3":
            raise ValueError("bridge_endpoint is read for a bridge s3://BUCKET/PREFIX alone; take it out")
        if kind == "file":
            return
        if not any(address == one or address.startswith(one.rstrip("/") + "/") for one in self.allow_bridges):
            raise ValueError(
                f"the bridge {address} is outside this machine; if sealed prompts may go there, add it to allow_bridges"
            )
        if kind == "hf" and self.stall_minutes < HUB_MINUTES:
            raise ValueError(f"a worker is heard over hf:// every few minutes; set stall_minutes to {HUB_MINUTES:g}")
