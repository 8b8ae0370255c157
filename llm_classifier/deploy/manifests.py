"""Serving manifests: Docker compose and a KServe InferenceService, with the image by digest and the model read-only.

Both start the same server with the same arguments. The model's version and fingerprint stand in the labels, so that
what runs can be traced back. No secret stands in a manifest, only the name of where it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from llm_classifier import artifact
from llm_classifier.registry.store import Version
from llm_classifier.settings.deploy import DeploySettings
from resolver.errors import DamagedError, UsageError

Target = Literal["compose", "kserve"]
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
COMPOSE_MODEL, KSERVE_MODEL = "/model", "/mnt/models"
PORT = 8080  # in the container
PROBE = "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health', timeout=5)"
HEAD = (
    "# Written by `resolver llm deploy --to {target}` for {name} of the registry. Change settings and write it again.\n"
)


def write(target: Target, version: Version, settings: DeploySettings) -> str:
    """The manifest as text."""
    if version.artifact.weights != "merged":
        raise UsageError(
            f"{version.name.capitalize()} is an adapter, and only merged weights are served.",
            do="Merge it with resolver llm export, and promote that.",
        )
    if settings.image is None:
        raise UsageError(
            "No image is named.",
            do="Set deploy.image to vllm/vllm-openai@sha256:..., as `docker buildx imagetools inspect` shows it.",
        )
    serving = contract(version)
    content = compose(version, serving, settings) if target == "compose" else kserve(version, serving, settings)
    head = HEAD.format(target=target, name=version.name)
    return head + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


def arguments(serving: Mapping[str, Any], settings: DeploySettings, *, model: str) -> list[str]:
    """What the server is started with: what the export says, and what hangs on this deployment."""
    given = [model if one == "MODEL" else str(one) for one in serving["arguments"]]
    spread = ["--tensor-parallel-size", str(settings.gpus)] if settings.gpus > 1 else []
    share = ["--gpu-memory-utilization", f"{settings.gpu_memory_share:g}"] if settings.gpus else []
    return [*given, *spread, *share, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 (in a container)


def contract(version: Version) -> dict[str, Any]:
    """serving.json of the version: what `resolver llm export` wrote about how it is served."""
    try:
        found = json.loads((version.model / artifact.SERVING).read_text(encoding="utf-8"))
        if isinstance(found["arguments"], list) and isinstance(found["module"], str):
            return dict(found)
    except FileNotFoundError:
        raise UsageError(
            f"{version.name.capitalize()} was not exported, so nothing says how it is served.",
            do="Make it servable with resolver llm export, and promote that.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DamagedError(f"{version.model / artifact.SERVING} can't be read.", do="Export the model again.")


def compose(version: Version, serving: Mapping[str, Any], settings: DeploySettings) -> dict[str, Any]:
    """Everybody else's machine is kept out: the port is bound to this one."""
    source = _literal(str(version.model.absolute()))
    service: dict[str, Any] = {
        "image": settings.image,
        "entrypoint": ["python3", "-m", serving["module"]],
        "command": [_literal(one) for one in arguments(serving, settings, model=COMPOSE_MODEL)],
        "environment": dict(OFFLINE),
        "volumes": [{"type": "bind", "source": source, "target": COMPOSE_MODEL, "read_only": True}],
        "ports": [f"127.0.0.1:{settings.port}:{PORT}"],
        "shm_size": "4gb",  # what the server's processes pass to each other
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", PROBE.format(port=PORT)],
            "interval": "10s",
            "timeout": "10s",
            "retries": 3,
            "start_period": f"{settings.wait_seconds:.0f}s",
        },
        "labels": _labels(version),
    }
    if settings.key is not None:
        service["environment"]["VLLM_API_KEY"] = f"${{{settings.key}:?set it to the API key of the server}}"
    if settings.gpus:
        device = {"driver": "nvidia", "count": settings.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return {"name": settings.name, "services": {"llm": service}}


def kserve(version: Version, serving: Mapping[str, Any], settings: DeploySettings) -> dict[str, Any]:
    if settings.storage_uri is None:
        raise UsageError(
            "The cluster must be told where the model's files are.",
            do=f"Copy {version.model} there, and set deploy.storage_uri (pvc://claim/path, s3://bucket/path).",
        )
    if (settings.key is None) != (settings.secret is None):
        raise UsageError("deploy.key and deploy.secret go together.", do="Set both, or neither.")
    environment: list[dict[str, Any]] = [{"name": "STORAGE_URI", "value": settings.storage_uri}]
    environment += [{"name": name, "value": value} for name, value in OFFLINE.items()]
    if settings.key is not None:
        reference = {"secretKeyRef": {"name": settings.secret, "key": settings.key}}
        environment.append({"name": "VLLM_API_KEY", "valueFrom": reference})
    gpus = {"nvidia.com/gpu": str(settings.gpus)} if settings.gpus else {}
    health = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 10, "timeoutSeconds": 10}
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": settings.image,
        "command": ["python3", "-m", serving["module"]],
        "args": arguments(serving, settings, model=KSERVE_MODEL),
        "env": environment,
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": {"limits": {"memory": f"{settings.memory_gib}Gi", **gpus}},
        "startupProbe": {**health, "failureThreshold": max(1, round(settings.wait_seconds / 10))},
        "readinessProbe": {**health, "failureThreshold": 3},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    where = {} if settings.namespace is None else {"namespace": settings.namespace}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": settings.name, **where, "annotations": _labels(version)},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 1, "containers": [container]}},
    }


def _literal(text: str) -> str:
    """Compose puts variables where a dollar stands."""
    return text.replace("$", "$$")


def _labels(version: Version) -> dict[str, str]:
    return {
        "resolver/version": str(version.number),
        "resolver/fingerprint": version.artifact.fingerprint,
        "resolver/weights-digest": version.artifact.weights_digest,
    }


def path_of(target: Target, out: Path | None) -> Path:
    return out or Path({"compose": "compose.yaml", "kserve": "inference-service.yaml"}[target])
