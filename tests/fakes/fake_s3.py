"""An S3 on loopback that real s3fs and httpx talk to: one PUT per file, presigned URLs checked to the last character,
and misbehaviour on demand."""

from __future__ import annotations

import hashlib
import hmac
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from time import strptime, time
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from loopback import Quiet, listening

KEY, SECRET = "AKIAPLANTEDKEY", "planted+secret/of+s3"
BUCKET = "clinic"


class Answer(Exception):
    """An error as S3 tells it."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass
class FakeS3:
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # of the requests to come: cut | hang up | a status and a code | ok
    rights: set[str] = field(default_factory=lambda: {"GET", "PUT", "DELETE", "LIST"})
    ahead: float = 0.0  # seconds by which its clock is ahead of ours
    page: int = 1000
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and key
    url: str = ""

    @property
    def now(self) -> float:
        return time() + self.ahead

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> bytes:
        parts = urlsplit(target)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        kind = "LIST" if query.get("list-type") == "2" else method
        self.requests.append((kind, key))
        if "X-Amz-Signature" in query:
            self._presigned(method, parts, query, headers["host"])
        else:
            self._signed(headers)
        if bucket != BUCKET:
            raise Answer(404, "NoSuchBucket")
        if kind not in self.rights:
            raise Answer(403, "AccessDenied")
        if kind == "LIST":
            return self._list(query)
        if kind == "PUT":
            self.files[key] = body
            return b""
        if kind == "DELETE":
            self.files.pop(key, None)
            return b""
        if key not in self.files:
            raise Answer(404, "NoSuchKey") if "LIST" in self.rights else Answer(403, "AccessDenied")
        return self.files[key]

    def _list(self, query: dict[str, str]) -> bytes:
        keys = sorted(key for key in self.files if key.startswith(query.get("prefix", "")))
        start = int(query.get("continuation-token", 0))
        some, more = keys[start : start + self.page], start + self.page < len(keys)
        rows = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in some)
        token = f"<NextContinuationToken>{start + self.page}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{rows}{token}</ListBucketResult>"
        ).encode()

    def _signed(self, headers: Any) -> None:
        """A request of the home end. Its signature is botocore's business; its key and time are looked at."""
        if f"Credential={KEY}/" not in headers.get("authorization", ""):
            raise Answer(403, "InvalidAccessKeyId")
        if abs(_unix(headers["x-amz-date"]) - self.now) > 900:
            raise Answer(403, "RequestTimeTooSkewed")

    def _presigned(self, method: str, parts: Any, query: dict[str, str], host: str) -> None:
        key, date, region, *_ = query["X-Amz-Credential"].split("/")
        if key != KEY:
            raise Answer(403, "InvalidAccessKeyId")
        told = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, value in sorted(query.items())
            if name != "X-Amz-Signature"
        )
        canonical = f"{method}\n{parts.path}\n{told}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        scope = f"{date}/{region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signing = f"AWS4{SECRET}".encode()
        for part in (*scope.split("/"), text):
            signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
        if signing.hex() != query["X-Amz-Signature"]:
            raise Answer(403, "SignatureDoesNotMatch")
        signed = _unix(query["X-Amz-Date"])
        if not signed - 900 <= self.now <= signed + int(query["X-Amz-Expires"]):
            raise Answer(403, "AccessDenied")


def _unix(told: str) -> int:
    return timegm(strptime(told, "%Y%m%dT%H%M%SZ"))


@contextmanager
def serving() -> Iterator[FakeS3]:
    fake = FakeS3()

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            if not self._answered():
                self.close_connection = True
                self.connection.close()

        def _answered(self) -> bool:
            """Whether all was sent; else the connection is closed without a word."""
            length = int(self.headers.get("content-length") or 0)
            fault = fake.faults.pop(0) if fake.faults else "ok"
            if fault == "cut" and self.command == "PUT":
                self.rfile.read(length // 2)
                return False
            body = self.rfile.read(length)
            if fault == "hang up":
                return False
            try:
                if fault[0].isdigit():
                    status, _, code = fault.partition(" ")
                    raise Answer(int(status), code)
                content, status = fake.answer(self.command, self.path, self.headers, body), 200
            except Answer as error:
                content = f"<Error><Code>{error.code}</Code><Message>{escape(self.path)}</Message></Error>".encode()
                status = error.status
            self.send_response(204 if self.command == "DELETE" and status == 200 else status)
            if self.command == "DELETE" and status == 200:
                content = b""
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
            return fault != "cut"

        do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = _any

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(fake.now, usegmt=True)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with listening(server) as fake.url:
        yield fake
