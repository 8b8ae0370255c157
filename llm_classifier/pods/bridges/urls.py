"""The far end of an S3 bridge: each file that this worker may read or write as a presigned URL. Needs no credentials.

The list of URLs is a sealed file at the bridge, and the URL of that file is all that the worker is told. A presigned
URL is good for one file, one method and a time. An upload is one PUT, which S3 takes whole or not at all; nothing here
is ever an upload in parts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llm_classifier.needs import need
from llm_classifier.pods.bridges import Files
from llm_classifier.pods.bridges.patience import BusyError, Sleep, patiently
from resolver.errors import ResolverError, RunError, UsageError

TIMEOUT = 60.0  # seconds without a byte
BUSY = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException"}
SKEW = 900.0  # seconds by which clocks may differ; S3's own allowance
KEYS = "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE."
RIGHTS = "Allow s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject under that prefix."


class Urls:
    pause = 0.0

    def __init__(self, ticket: str, unseal: Callable[[bytes], bytes], sleep: Sleep = time.sleep) -> None:
        self._ticket, self._unseal, self._sleep = ticket, unseal, sleep
        self._transfer = Transfer("The bridge")
        self._told: dict[str, dict[str, str]] | None = None

    def put(self, name: str, content: bytes) -> None:
        url = self._url("writes", name)
        patiently(lambda: self._transfer.put(url, content), "The bridge can't be written", self._sleep)

    def put_all(self, files: Files) -> None:
        for name, content in files:
            self.put(name, content)

    def get(self, name: str) -> bytes | None:
        return self._get(self._url("reads", name))

    def close(self) -> None:
        self._transfer.close()

    def _get(self, url: str) -> bytes | None:
        return patiently(lambda: self._transfer.get(url), "The bridge can't be read", self._sleep)

    def _url(self, what: str, name: str) -> str:
        if self._told is None:
            found = self._get(self._ticket)
            if found is None:
                raise RunError("The ticket of this worker is gone from the bridge: its job is over.")
            self._told = json.loads(self._unseal(found))
        try:
            return self._told[what][name]
        except KeyError:
            raise RunError(f"The ticket of this worker does not hold {name.partition('/')[2]}.") from None


class Transfer:
    """Bytes to and from presigned URLs. One call is one try."""

    def __init__(self, where: str) -> None:
        self._where, self._httpx = where, need("httpx")
        # Its own `auth`, since a .netrc of the machine would add a second signature, which S3 refuses.
        self._client = self._httpx.Client(timeout=TIMEOUT, follow_redirects=False, auth=lambda request: request)

    def put(self, url: str, content: bytes) -> None:
        self._ask("PUT", url, content)

    def get(self, url: str) -> bytes | None:
        answer = self._ask("GET", url, None)
        return None if answer is None else bytes(answer.content)

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, url: str, content: bytes | None) -> Any:
        try:
            answer = self._client.request(method, url, content=content)
        except (self._httpx.TransportError, self._httpx.DecodingError) as error:
            raise BusyError(f"the connection failed ({type(error).__name__})") from None
        status = answer.status_code
        if status == 200:
            return answer
        found = re.search(r"<Code>(\w+)</Code>", answer.text)
        code = found[1] if found else ""
        if status == 404 and method == "GET" and code in ("", "NoSuchKey"):
            return None
        if status == 403:
            wrong = _time(url, answer.headers.get("date"))
            if wrong is not None:
                raise wrong
        if busy(status, code):
            after = answer.headers.get("retry-after", "")
            raise BusyError(f"it answered {status} {code}".rstrip(), float(after) if after.isdigit() else 0.0)
        raise refused(status, code, self._where)


def busy(status: int, code: str) -> bool:
    return status in (408, 429) or status >= 500 or code in BUSY


def refused(status: int, code: str, where: str) -> ResolverError:
    """One line for an answer that will be the same when asked again."""
    match code:
        case "NoSuchBucket":
            return UsageError(f"{where}: there is no such bucket.", do="Make it, or correct pods.bridge.")
        case "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidClientTokenId":
            return UsageError(f"{where}: the credentials are not known there ({code}).", do=KEYS)
        case "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException":
            return UsageError(
                f"{where}: the credentials have expired.", do="Renew them, and run the same command again."
            )
        case "RequestTimeTooSkewed" | "RequestExpired":
            return UsageError(f"{where}: this machine's clock is off by more than 15 minutes.", do="Set the clock.")
        case "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" | "IllegalLocationConstraint":
            return UsageError(f"{where}: the bucket is in another region.", do="Name its region in AWS_REGION.")
    if status == 301:
        return UsageError(f"{where}: the bucket is in another region.", do="Name its region in AWS_REGION.")
    if status in (401, 403):
        return UsageError(f"{where}: the credentials lack a right there ({code or status}).", do=RIGHTS)
    return RunError(f"{where}: the store answered {status} {code}".rstrip() + ".", do="Check pods.bridge.")


def _time(url: str, date: str | None) -> RunError | None:
    """Whether a URL is refused for its time, by the store's own clock."""
    query = parse_qs(urlsplit(url).query)
    try:
        signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        lasts = float(query["X-Amz-Expires"][0])
        now = parsedate_to_datetime(date or "").timestamp()
    except (KeyError, ValueError):
        return None
    if now > signed + lasts:
        return RunError("The ticket of this worker has expired.", do="Give the job more time: pods.hours.")
    if now < signed - SKEW:
        return RunError(
            "The ticket of this worker is not valid yet: the clock that it was made by is ahead of the store's.",
            do="Set the clock of the machine that launches.",
        )
    return None
