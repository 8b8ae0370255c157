"""Machines that are rented for the language model (`resolver infer`). Keys are never settings: see the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from resolver.settings.base import Section


class PodsSettings(Section):
    provider: Literal["local", "runpod"] = "local"
    """Where machines come from. local: the worker as a process on this machine. runpod: RunPod; its key is taken from
    the environment variable RUNPOD_API_KEY."""

    machines: tuple[str, ...] = ("NVIDIA L4", "NVIDIA A40", "NVIDIA L40S", "NVIDIA H100 PCIe")
    """RunPod's names of GPU types, the one wanted most first; the next is tried where one is not free."""

    regions: tuple[str, ...] = ()
    """RunPod's data centers, tried in turn. Default: anywhere."""

    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    """RunPod's kind of machine. COMMUNITY is other people's hardware: not for data that must not be seen."""

    image: str = ""
    """Image of the worker with its digest (name@sha256:...). local needs none."""

    registry: str | None = None
    """RunPod's id of the credential for a private image."""

    model: str | None = None
    """Folder of the model on the rented machine. Default for local: llm.model."""

    bridge: str | None = None
    """Where files pass between the two machines: file:///FOLDER. Default for local: a folder beside the index."""

    url: str = "https://api.runpod.io"
    """Address of RunPod's API."""

    backend: Literal["transformers", "vllm"] = "vllm"
    """What scores on the rented machine."""

    hours: float = Field(default=2.0, gt=0, le=72)
    """A machine's deadline, from the moment it is ordered."""

    grace_minutes: float = Field(default=20.0, ge=0)
    """How long after its deadline a machine may take to be gone: reserved like the hours before."""

    boot_minutes: float = Field(default=20.0, gt=0)
    """How long a machine may take until its worker is heard."""

    stall_minutes: float = Field(default=10.0, gt=0)
    """How long a worker may be silent."""

    settle_minutes: float = Field(default=5.0, ge=0)
    """How long the provider may take to list a machine that it made, or to unlist one that ended."""

    attempts: int = Field(default=3, ge=1)
    """How many machines may be tried for one job."""

    max_cost: float = Field(default=5.0, gt=0)
    """The most that one job may cost, in USD, all attempts together."""

    jobs: Path | None = None
    """Record of the jobs. Default: pods.sqlite beside the index."""
