"""The home end of an S3 bridge: Amazon's, or any store that speaks the same.

s3fs finds the credentials where the user keeps them, signs, lists and removes; bytes travel over presigned URLs, as
they do for the worker, so that there is one way of sending and one of failing. Each file is one PUT: it is there whole
or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from llm_classifier.needs import need
from llm_classifier.pods.bridges import Files, Ticket
from llm_classifier.pods.bridges.patience import BusyError, Sleep, patiently
from llm_classifier.pods.bridges.urls import KEYS, RIGHTS, Transfer, busy, refused
from resolver.errors import RunError, UsageError

SIGNED = 900  # seconds that a URL for ourselves is good for
LONGEST = 7 * 24 * 3600  # seconds that S3 lets a presigned URL live


class S3:
    pause = 0.0

    def __init__(self, bucket: str, prefix: str, endpoint: str | None = None, sleep: Sleep = time.sleep) -> None:
        self._bucket, self._prefix, self._sleep = bucket, f"{prefix}/" if prefix else "", sleep
        self._where = f"s3://{bucket}/{prefix}" + (f" at {endpoint}" if endpoint else "")
        self._errors = (need("botocore.exceptions", "s3"), need("aiohttp", "s3"))
        self._store: Any = need("s3fs", "s3").S3FileSystem(
            endpoint_url=endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "signature_version": "s3v4",
                "s3": {"addressing_style": "path" if endpoint else "auto"},
                # Others than Amazon do not know the newer checksums; content is sealed, so that nothing gets by.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "retries": {"total_max_attempts": 1},  # patience is ours
            },
        )
        self._store.retries = 1
        self._transfer = Transfer(self._where)

    def put(self, name: str, content: bytes) -> None:
        self._patiently(lambda: self._transfer.put(self._sign("put_object", name, SIGNED), content))

    def put_all(self, files: Files) -> None:
        for name, content in files:
            self.put(name, content)

    def get(self, name: str) -> bytes | None:
        found: bytes | None = self._patiently(lambda: self._transfer.get(self._sign("get_object", name, SIGNED)))
        return found

    def names(self, prefix: str) -> list[str]:
        names: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=self._prefix + prefix, **more)
            names += [one["Key"].removeprefix(self._prefix) for one in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return sorted(names)
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, prefix: str) -> None:
        for name in self.names(prefix):
            self._call("delete_object", Key=self._prefix + name)

    def ticket(self, wanted: Ticket) -> Mapping[str, str]:
        seconds = int(wanted.until - time.time())
        if seconds > LONGEST:
            raise UsageError("S3 signs for no more than seven days.", do="Set pods.hours to less.")
        listed = {
            "reads": {name: self._sign("get_object", name, seconds) for name in wanted.reads},
            "writes": {name: self._sign("put_object", name, seconds) for name in wanted.writes},
        }
        self.put(wanted.name, wanted.seal(json.dumps(listed).encode()))
        return {"BRIDGE": self._sign("get_object", wanted.name, seconds)}

    def close(self) -> None:
        self._transfer.close()
        self._store = None  # s3fs closes its connections when nobody holds it any more

    def _sign(self, method: str, name: str, seconds: int) -> str:
        return str(self._s3(self._store.url, f"{self._bucket}/{self._prefix}{name}", seconds, method))

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._patiently(lambda: self._s3(self._store.call_s3, method, Bucket=self._bucket, **arguments))

    def _patiently(self, call: Any) -> Any:
        return patiently(call, f"{self._where} can't be used now", self._sleep)

    def _s3(self, call: Any, *arguments: Any, **more: Any) -> Any:
        """One call of s3fs, its errors in our words: theirs may hold a signed request."""
        botocore, aiohttp = self._errors
        try:
            return call(*arguments, **more)
        except (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.CredentialRetrievalError):
            raise UsageError(f"{self._where}: there are no credentials for it.", do=KEYS) from None
        except botocore.ProfileNotFound:
            raise UsageError(f"{self._where}: AWS_PROFILE names no profile.", do=KEYS) from None
        except Exception as error:  # noqa: BLE001  s3fs turns the store's answers into errors of many kinds
            answer = getattr(error.__cause__ or error, "response", None)
            if isinstance(answer, dict) and "Error" in answer:
                code = str(answer["Error"].get("Code", ""))
                status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                if busy(status, code):
                    raise BusyError(f"it answered {status} {code}") from None
                raise refused(status, code, self._where) from None
            if isinstance(error, botocore.ConnectionError | botocore.HTTPClientError | aiohttp.ClientError | OSError):
                raise BusyError(f"the connection failed ({type(error).__name__})") from None
            raise RunError(f"{self._where} can't be used ({type(error).__name__}).", do=RIGHTS) from None
