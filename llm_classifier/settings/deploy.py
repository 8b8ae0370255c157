"""What a person may choose about serving the model in production."""

from __future__ import annotations

from pydantic import Field

from resolver.settings.base import Section


class DeploySettings(Section):
    image: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9./_:-]*@sha256:[0-9a-f]{64}$")
    """The vLLM image, by digest: vllm/vllm-openai@sha256:... A tag can change what it names; a digest can't."""

    name: str = Field(default="resolver-llm", pattern=r"^[a-z]([a-z0-9-]{0,50}[a-z0-9])?$")
    """Of the service."""

    port: int = Field(default=8000, ge=1, le=65535)
    """compose: the port on this machine. Only this machine can reach it."""

    gpus: int = Field(default=1, ge=0)
    """GPUs that one copy of the model is spread over. 0: a CPU image."""

    gpu_memory_share: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory that vLLM may take."""

    memory_gib: int = Field(default=16, ge=1)
    """kserve: main memory of a pod."""

    namespace: str | None = None
    """kserve: where the service goes. Default: that of whoever applies it."""

    storage_uri: str | None = Field(default=None, pattern=r"^[a-z0-9]+://.+$")
    """kserve: where the cluster finds the model's files (pvc://claim/path, s3://bucket/path). They are put there by
    hand."""

    key: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable, or of the entry of the Secret, that holds the API key. None: none is needed."""

    secret: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    """kserve: name of the Secret that holds the API key."""

    wait_seconds: float = Field(default=1800, gt=0)
    """How long --wait waits for a server that does not answer yet: loading a model takes minutes."""

    settle_seconds: float = Field(default=60, ge=0)
    """How long --wait lets a server answer otherwise than the model does: the one before may be on its way out."""
