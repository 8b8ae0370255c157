"""Pods of RunPod, over its REST API v2.

A thin client of our own: v1 of the API is retired on 1 December 2026, and the published SDK speaks only GraphQL, into
whose queries it puts values without escaping them. v2 has no conditional create, so a lost answer stays unclear until
the pod is listed under its name; DELETE answers 204 before the pod is gone; and its stop-after and terminate-after
settings are never relied on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from llm_classifier.needs import need
from llm_classifier.pods.names import parse
from llm_classifier.pods.providers import Denied, Offer, Order, Pod, ProviderError, Refused, Unclear
from resolver.errors import UsageError

if TYPE_CHECKING:
    from resolver.settings.pods import PodsSettings

KEY = "RUNPOD_API_KEY"
TRIES = 4  # of calls that can be repeated
WAIT = 2.0  # seconds before the first repetition, doubled each time
DISK_PRICE = 0.10 / 730  # USD per GB and hour of a container's disk: 0.10 a month
STATUS: dict[str, Literal["starting", "running", "exited", "gone"]] = {
    "PROVISIONING": "starting",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "exited",
    "ERROR": "exited",
    "TERMINATED": "gone",
}


class RunPod:
    name = "runpod"

    def __init__(
        self,
        key: str,
        *,
        machines: tuple[str, ...],
        regions: tuple[str, ...] = (),
        cloud: Literal["secure", "community"] = "secure",
        registry: str | None = None,
        disk_gb: int = 40,
        url: str = "https://api.runpod.io",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not key:
            raise UsageError(f"The environment holds no {KEY}.", do="Make a key in RunPod's console, for pods alone.")
        self._httpx = need("httpx")
        self._client = self._httpx.Client(
            base_url=f"{url.rstrip('/')}/v2",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
            follow_redirects=False,
        )
        self._machines, self._regions, self._cloud, self._registry = machines, regions, cloud, registry
        self._disk_gb, self._sleep = disk_gb, sleep

    @classmethod
    def of(cls, pods: PodsSettings) -> RunPod:
        return cls(
            os.environ.get(KEY, ""),
            machines=pods.machines,
            regions=pods.regions,
            cloud=pods.cloud,
            registry=pods.registry,
            disk_gb=pods.disk_gb,
            url=pods.url,
        )

    def offers(self) -> list[Offer]:
        catalog = self._json("GET", "/catalog/gpus")
        found = {str(one.get("id")): one for one in _list(catalog, "gpus") if isinstance(one, dict)}
        offers = []
        for machine in self._machines:
            gpu = found.get(machine)
            prices = gpu.get("price") if gpu is not None else None
            price = _number(prices.get(self._cloud)) if isinstance(prices, dict) else None
            if gpu is None or not gpu.get(self._cloud) or price is None:
                continue
            price += self._disk_gb * DISK_PRICE
            offers += [Offer(machine, region, price) for region in self._regions or ("",)]
        return offers

    def shows(self, machine: str) -> bool:
        return True

    def launch(self, order: Order) -> Pod:
        body: dict[str, Any] = {
            "name": order.name,
            "image": order.image,
            "gpu": {"id": order.offer.machine, "count": 1},
            "cloud": self._cloud.upper(),
            "disk": self._disk_gb,
            "env": dict(order.environment),
            "ports": [],
        }
        if order.offer.region:
            body["dataCenterIds"] = [order.offer.region]
        if self._registry:
            body["registry"] = self._registry
        answer = self._ordered(body)
        status = answer.status_code
        if status == 401:
            raise Denied(f"RunPod rejects the key (401): check {KEY}.")
        if status == 402:
            raise Denied("RunPod makes no pod for want of balance (402).", do="Pay into the account.")
        if status == 422:
            raise Denied(f"RunPod does not understand the order (422 {_title(answer)}).", do="Check section pods.")
        if 400 <= status < 500 and status != 408:
            raise Refused(f"RunPod made no pod: {status} {_title(answer)}")
        pod = _pod(_content(answer)) if status == 201 else None
        if pod is None or pod.name != order.name:
            raise Unclear(f"RunPod answered {status} to the order of a pod.")
        return pod

    def _ordered(self, body: dict[str, Any]) -> Any:
        """The answer to an order. Only 429 says for sure that it may be given again."""
        for turn in range(TRIES):
            try:
                answer = self._client.post("/pods", json=body)
            except self._httpx.TransportError as error:
                raise Unclear(f"RunPod did not answer whether it made the pod ({type(error).__name__}).") from None
            if answer.status_code != 429 or turn == TRIES - 1:
                return answer
            self._rest(answer, turn)
        raise AssertionError("the last turn returns")

    def pods(self) -> list[Pod]:
        found = []
        for row in _list(self._json("GET", "/pods"), "pods"):
            pod = _pod(row)
            if pod is None:  # it may be one of ours, so the list does not say which are gone
                raise ProviderError("RunPod lists a pod without id or name.")
            if parse(pod.name) is not None:
                found.append(pod)
        return found

    def describe(self, id: str) -> Pod | None:
        answer = self._call("GET", f"/pods/{quote(id, safe='')}", fine=(200, 404))
        pod = None if answer.status_code == 404 else _pod(_content(answer))
        return None if pod is None or pod.status == "gone" else pod

    def end(self, id: str) -> None:
        self._call("DELETE", f"/pods/{quote(id, safe='')}", fine=(200, 202, 204, 404))

    def _json(self, method: str, path: str) -> Any:
        return _content(self._call(method, path, fine=(200,)))

    def _call(self, method: str, path: str, *, fine: tuple[int, ...]) -> Any:
        """A call that can be repeated, repeated while the other side is busy or away."""
        for turn in range(TRIES):
            last = turn == TRIES - 1
            try:
                answer = self._client.request(method, path)
            except self._httpx.TransportError as error:
                if last:
                    raise ProviderError(f"RunPod can't be reached ({type(error).__name__}).") from None
                self._sleep(WAIT * 2**turn)
                continue
            if answer.status_code in fine:
                return answer
            if answer.status_code in (401, 403):
                raise Denied(f"RunPod rejects the key ({answer.status_code}): check {KEY} and its permissions.")
            if last or not (answer.status_code == 429 or answer.status_code >= 500):
                raise ProviderError(f"RunPod answered {answer.status_code} {_title(answer)}")
            self._rest(answer, turn)
        raise AssertionError("the last turn returns or raises")

    def _rest(self, answer: Any, turn: int) -> None:
        self._sleep(_patience(answer.headers.get("retry-after")) or WAIT * 2**turn)


def _patience(asked: str | None) -> float:
    return min(float(asked), 60.0) if asked and asked.isdigit() else 0.0


def _content(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ProviderError("RunPod's answer is not JSON.") from None


def _list(content: Any, key: str) -> list[Any]:
    """The rows under `key`. An answer of another form is no empty list: it would say that no pod is there."""
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ProviderError(f"RunPod's answer holds no {key}.")
    return rows


def _pod(row: Any) -> Pod | None:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("name"), str):
        return None
    status = STATUS.get(str(row.get("status")), "running")  # an unknown status is one that may cost money
    gpu = row.get("gpu")
    facts = {
        "image": row.get("image"),
        "gpu": gpu.get("id") if isinstance(gpu, dict) else None,
        "cloud": row.get("cloud"),
        "data_center": row.get("dataCenterId"),
        "cuda": row.get("cudaVersion"),
        "created": row.get("createdAt"),
        "started": row.get("startedAt"),
    }
    told = {name: str(value)[:200] for name, value in facts.items() if value}
    return Pod(row["id"], row["name"], status, _number(row.get("cost")), told.get("data_center", ""), told)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < float("inf") else None


def _title(answer: Any) -> str:
    """What a refusal says, without what it quotes of the request."""
    try:
        content = answer.json()
    except ValueError:
        return ""
    return str(content.get("title", ""))[:80] if isinstance(content, dict) else ""
