"""Ends pods of ours that are past their deadline, and tells of all others.

It needs the provider and a clock, and nothing else: the deadline is in the name. Where job records are at hand, pods in
them whose jobs are over end as well; those of others who use the same account are in other people's records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llm_classifier.pods.jobs import Jobs
from llm_classifier.pods.names import PodName, parse
from llm_classifier.pods.providers import Pod, Provider, ProviderError


@dataclass(frozen=True)
class Found:
    pod: Pod
    name: PodName
    late: bool  # past its deadline
    stray: bool  # its job is over, so nobody waits for it
    ended: bool  # its end was asked for now
    failed: str = ""  # why its end could not be asked for


def look(provider: Provider, clock: Callable[[], float], jobs: Jobs | None = None, *, end: bool) -> list[Found]:
    """All pods of ours, oldest deadline first; with `end`, those that should be gone are ended."""
    over = {job.key for job in jobs.all() if job.over} if jobs is not None else set()
    strays = {one.name for one in jobs.pods() if one.job in over} if jobs is not None else set()
    found = []
    for pod in provider.pods():
        name = parse(pod.name)
        if name is None or pod.status == "gone":
            continue
        late, stray = clock() >= name.deadline, pod.name in strays
        ended, failed = False, ""
        if end and (late or stray):
            try:
                provider.end(pod.id)
                ended = True
            except ProviderError as error:  # the others must still be ended
                failed = error.what
        found.append(Found(pod, name, late, stray, ended, failed))
    return sorted(found, key=lambda one: (one.name.deadline, one.pod.name))
