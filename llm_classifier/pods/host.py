"""The other end of the provider ssh: does on this machine what is asked on standard input, and says so as JSON.

    python -m llm_classifier.pods.host

One question, one answer. Workers are processes like those of the provider local, in a folder of their own, and live on
when the connection ends. The environment of a worker comes with the question, so no argument list ever holds it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_classifier.pods.names import parse
from llm_classifier.pods.providers import Offer, Order, Pod, ProviderError
from llm_classifier.pods.providers.local import Local

FOLDER = Path(".local/state/resolver/pods")  # below the home of the user who is logged in


def answer(question: Mapping[str, Any], local: Local) -> dict[str, Any]:
    do, name = question["do"], str(question.get("name", ""))
    if do == "list":
        return {"pods": [_told(pod) for pod in local.pods()]}
    if parse(name) is None:
        return {"refused": "that is no name of a pod"}
    if do == "launch":
        environment = {str(key): str(value) for key, value in question["environment"].items()}
        try:
            return {"pods": [_told(local.launch(Order(name, Offer(""), "", environment)))]}
        except ProviderError as error:
            return {"refused": error.what}
    if do == "describe":
        pod = local.describe(name)
        return {"pods": [] if pod is None else [_told(pod)]}
    if do == "end":
        local.end(name)
        return {"pods": []}
    return {"refused": "that can't be asked"}


def _told(pod: Pod) -> dict[str, str]:
    return {"name": pod.name, "status": pod.status}


def main() -> int:
    try:
        told = answer(json.load(sys.stdin), Local(Path.home() / FOLDER))
    except Exception as error:  # noqa: BLE001  its text may quote the question
        told = {"failed": type(error).__name__}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
