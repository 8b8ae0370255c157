"""Machines of one's own, reached by the program ssh: each has Python with this package, and takes one worker at a time.

What is to be done goes through standard input to host.py there, so neither machine's process list shows it. Keys, ports
and names of hosts are ssh's own business (its configuration, its agent). A host must be known to it: host keys are
always checked. Costs nothing that anybody here knows of.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_classifier.pods.names import parse
from llm_classifier.pods.providers import Offer, Order, Pod, ProviderError, Refused, Unclear

if TYPE_CHECKING:
    from resolver.settings.pods import PodsSettings

OPTIONS = (
    *("-T", "-x", "-a"),  # no terminal, no windows, no agent on the other machine
    *("-o", "BatchMode=yes"),  # nobody is there to type
    *("-o", "StrictHostKeyChecking=yes"),
    *("-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "PermitLocalCommand=no"),
)
PATIENCE = 120.0  # seconds for a whole question


class Ssh:
    name = "ssh"

    def __init__(
        self, hosts: tuple[str, ...], *, python: str = "python3", config: Path | None = None, program: str = "ssh"
    ) -> None:
        self._hosts, self._python = hosts, python
        self._start = (program, *(("-F", str(config)) if config is not None else ()), *OPTIONS, "--")

    @classmethod
    def of(cls, pods: PodsSettings) -> Ssh:
        return cls(pods.machines, python=pods.python, config=pods.ssh_config)

    def offers(self) -> list[Offer]:
        """Hosts that answer and have no worker of ours."""
        found, failed = [], None
        for host in self._hosts:
            try:
                if not self._pods(host):
                    found.append(Offer(host))
            except ProviderError as error:
                failed = error
        if failed is not None and not found:
            raise failed
        return found

    def shows(self, machine: str) -> bool:
        return machine in self._hosts

    def launch(self, order: Order) -> Pod:
        host = order.offer.machine
        question = {"do": "launch", "name": order.name, "environment": dict(order.environment)}
        try:
            told = self._ask(host, question)
        except ProviderError as error:
            raise Unclear(error.what) from None
        if "refused" in told:
            raise Refused(f"{host} started no worker: {str(told['refused'])[:200]}")
        pods = [pod for pod in _pods(host, told) if pod.name == order.name]
        if not pods:
            raise Unclear(f"{host} does not say whether it started the worker.")
        return pods[0]

    def pods(self) -> list[Pod]:
        """All hosts, or none: a list that lacks one would say that its workers are gone."""
        return [pod for host in self._hosts for pod in self._pods(host)]

    def describe(self, id: str) -> Pod | None:
        host, name = _parts(id)
        return next(iter(_pods(host, self._ask(host, {"do": "describe", "name": name}))), None)

    def end(self, id: str) -> None:
        host, name = _parts(id)
        _pods(host, self._ask(host, {"do": "end", "name": name}))

    def _pods(self, host: str) -> list[Pod]:
        return _pods(host, self._ask(host, {"do": "list"}))

    def _ask(self, host: str, question: Mapping[str, Any]) -> dict[str, Any]:
        command = f"{shlex.quote(self._python)} -m llm_classifier.pods.host"
        try:
            done = subprocess.run(  # noqa: S603  no shell here; ssh gets a host that is no option
                [*self._start, host, command],
                input=json.dumps(question),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except FileNotFoundError:
            raise ProviderError("There is no program ssh here.", do="Install the OpenSSH client.") from None
        except subprocess.TimeoutExpired:
            raise ProviderError(f"{host} did not answer within {PATIENCE:g} seconds.") from None
        last = (done.stderr.strip().splitlines() or [""])[-1][:200]
        if done.returncode == 255:
            raise ProviderError(f"ssh can't reach {host}: {last or 'no reason given'}")
        try:
            told = json.loads((done.stdout.strip().splitlines() or [""])[-1])  # a login may have said something before
        except ValueError:
            told = None
        if done.returncode or not isinstance(told, dict) or "failed" in told:
            why = told.get("failed") if isinstance(told, dict) else last
            raise ProviderError(f"{host} could not do what it was asked ({str(why)[:200] or done.returncode}).")
        return told


def _pods(host: str, told: Mapping[str, Any]) -> list[Pod]:
    rows = told.get("pods")
    if not isinstance(rows, list):
        raise ProviderError(f"{host} gave an answer of another form.")
    names = [row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    if len(names) != len(rows):
        raise ProviderError(f"{host} lists a worker without a name.")
    # Whatever else its state is called, it is there.
    return [Pod(f"{host}/{name}", name, "running", 0.0) for name in names if parse(name) is not None]


def _parts(id: str) -> tuple[str, str]:
    host, _, name = id.rpartition("/")
    return host, name
