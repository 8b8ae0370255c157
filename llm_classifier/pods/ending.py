"""The end of a pod from inside: asks the provider to delete the very pod that this process runs in.

Where the process alone ends, the provider starts the container again and goes on billing. RunPod puts the pod's id into
its environment, and a key that may do nothing but manage this pod. Standard library alone, since this has to work when
everything else in the image is broken. On machines that are not rented, the end of the process is all there is to do.
"""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

ID = "RUNPOD_POD_ID"
KEY = "RUNPOD_API_KEY"
API = "RESOLVER_JOB_API"
DEFAULT_API = "https://api.runpod.io"

PAUSE = 2.0  # seconds before the second try, doubled each time
LONGEST = 60.0
SURE = 3  # answers in a row that know no such pod: one alone may be early, or wrong


class _Stay(urllib.request.HTTPRedirectHandler):
    """The key goes to one address alone."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def end_own_pod(environment: Mapping[str, str], sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns where there is no pod to end, or when the provider has said thrice that it knows none. A provider that is
    away, or that says yes and does nothing, is asked again: nothing else is left to do on a machine that costs money.
    """
    id, key = environment.get(ID, ""), environment.get(KEY, "")
    if not id or not key:
        return
    place = f"{environment.get(API, DEFAULT_API).rstrip('/')}/v2/pods/{quote(id, safe='')}"
    if urlsplit(place).scheme not in ("http", "https"):
        return
    opener = urllib.request.build_opener(_Stay)
    unknown, turn = 0, 0
    while True:
        status = _ask(opener, "DELETE", place, key)
        if 200 <= status < 300:
            status = _ask(opener, "GET", place, key)
        unknown = unknown + 1 if status == 404 else 0
        if unknown >= SURE:
            return
        if turn % 10 == 0:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"ending this pod: the provider answers {status or 'nothing'}\n")
        sleep(min(PAUSE * 2 ** min(turn, 10), LONGEST))
        turn += 1


def _ask(opener: urllib.request.OpenerDirector, method: str, place: str, key: str) -> int:
    """The status of the answer; 0 where there is none."""
    request = urllib.request.Request(place, method=method, headers={"Authorization": f"Bearer {key}"})  # noqa: S310
    try:
        with opener.open(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except Exception:  # noqa: BLE001  whatever is wrong, it is asked again
        return 0
