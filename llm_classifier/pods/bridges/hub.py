"""A private data set repository of a hub as a bridge.

Each job has a branch of its own, so that its commits meet nobody else's, and so that all of it can be removed: the
branch, and what lies in large-file storage. What is put together is one commit. Commits per hour are limited, so the
hub wants to be written to seldom. The worker reads its input from the one commit that its ticket names, with a token
that opens this repository alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from llm_classifier import hub
from llm_classifier.needs import need
from llm_classifier.pods.bridges import Files, Ticket
from llm_classifier.pods.bridges.patience import BusyError, Sleep, patiently
from resolver.errors import ResolverError, RunError, UsageError

T = TypeVar("T")

POD_VARIABLE = "RESOLVER_POD_HF_TOKEN"
SCHEME = "hf://datasets/"
INPUT = re.compile(r"[^/]+/in/")


class Hub:
    pause = 120.0

    def __init__(self, address: str, token: str, *, endpoint: str | None = None, sleep: Sleep = time.sleep) -> None:
        self._repository, _, self._input = address.removeprefix(SCHEME).partition("@")
        self._library = need("huggingface_hub")
        # Whoever loads a model here keeps the library from looking for it online; this bridge was asked for by name.
        need("huggingface_hub.constants").HF_HUB_OFFLINE = False
        self._utils, self._errors = need("huggingface_hub.utils"), need("huggingface_hub.errors")
        self._utils.disable_progress_bars()
        self._api = hub.api(token, endpoint)
        self._token, self._worker, self._sleep = token, bool(self._input), sleep
        self._heads: dict[str, str] = {}
        self._private = self._worker  # whether that was looked at; a worker makes no repository

    def put(self, name: str, content: bytes) -> None:
        self.put_all([(name, content)])

    def put_all(self, files: Files) -> None:
        added = self._library.CommitOperationAdd
        operations = [added(name, content) for name, content in files]
        for branch in sorted({_branch(one.path_in_repo) for one in operations}):
            self._commit(branch, [one for one in operations if _branch(one.path_in_repo) == branch])

    def get(self, name: str) -> bytes | None:
        revision = self._input if self._input and INPUT.match(name) else _branch(name)
        utils = self._utils

        def fetched() -> bytes | None:
            url = self._library.hf_hub_url(
                self._repository, name, repo_type=hub.KIND, revision=revision, endpoint=self._api.endpoint
            )
            answer = utils.get_session().get(
                url, headers=utils.build_hf_headers(token=self._token), follow_redirects=True
            )
            utils.hf_raise_for_status(answer)
            return bytes(answer.content)

        return self._ask(fetched, None)

    def names(self, prefix: str) -> list[str]:
        top, slash, _ = prefix.partition("/")
        branches = [_branch(prefix)] if slash else [one for one in self._branches() if one.startswith(_branch(top))]

        found = [name for branch in branches for name in self._listed(branch)]
        return sorted(name for name in found if name.startswith(prefix))

    def remove(self, prefix: str) -> None:
        top, slash, rest = prefix.partition("/")
        if slash and rest:
            names = self.names(prefix)
            deleted = self._library.CommitOperationDelete
            if names:
                self._commit(_branch(prefix), [deleted(name) for name in names])
            return
        for branch in [_branch(top)] if slash else [one for one in self._branches() if one.startswith(_branch(top))]:
            self._remove_branch(branch)

    def ticket(self, wanted: Ticket) -> Mapping[str, str]:
        """The token's own limits are what keep the worker to this repository; they are looked at."""
        token = os.environ.get(POD_VARIABLE)
        if not token or token == self._token:
            raise UsageError(
                f"A worker needs a token of its own for {self._repository}"
                + (", not that of its user." if token else "."),
                do=f"Make a fine-grained one that may write to {self._repository} alone, as {POD_VARIABLE}.",
            )
        self._only_here(self._ask(lambda: self._api.whoami(token=token), {}, POD_VARIABLE))
        head = self._head(_branch(wanted.name))
        return {"BRIDGE": f"{SCHEME}{self._repository}@{head}", "HF_TOKEN": token, "HF_ENDPOINT": self._api.endpoint}

    def close(self) -> None:
        """Nothing is open: the library keeps one session for all."""

    def _only_here(self, who: Mapping[str, Any]) -> None:
        told = (who.get("auth") or {}).get("accessToken") or {}
        scoped = (told.get("fineGrained") or {}).get("scoped") or []
        elsewhere = [one for one in scoped if (one.get("entity") or {}).get("name") != self._repository]
        if told.get("role") != "fineGrained" or any(one.get("permissions") for one in elsewhere):
            raise UsageError(
                f"The token in {POD_VARIABLE} opens more than {self._repository}.",
                do="Make a fine-grained one that may write to this repository and nothing else.",
            )

    def _commit(self, branch: str, operations: Sequence[Any]) -> None:
        """One commit on top of the newest, whoever made that."""

        def committed() -> str:
            commit = self._api.create_commit(
                repo_id=self._repository,
                repo_type=hub.KIND,
                operations=operations,
                commit_message="resolver",
                revision=branch,
                parent_commit=self._head(branch),
            )
            return str(commit.oid)

        try:
            self._heads[branch] = self._ask(committed, "", moved=lambda: self._heads.pop(branch, None))
        except ResolverError:
            self._heads.pop(branch, None)
            raise

    def _head(self, branch: str) -> str:
        """The newest commit of a branch, which is made where there is none."""
        if branch in self._heads:
            return self._heads[branch]
        if not self._private:
            self._ask(lambda: hub.private_head(self._api, self._repository, "pods.bridge"), "")
            self._private = True
        read: Callable[[], str] = lambda: str(  # noqa: E731
            self._api.repo_info(self._repository, repo_type=hub.KIND, revision=branch).sha
        )
        found = self._ask(read, "")
        if not found and not self._worker:
            make = self._api.create_branch
            self._ask(lambda: make(self._repository, branch=branch, repo_type=hub.KIND, exist_ok=True), None)
            found = self._ask(read, "")
        if not found:
            raise RunError(f"The branch of this job is gone from {self._repository}: the job is over.")
        self._heads[branch] = found
        return found

    def _listed(self, branch: str) -> list[str]:
        """The files of a branch, less those that it was made with."""

        def listed() -> list[str]:
            tree = self._api.list_repo_tree(self._repository, recursive=True, revision=branch, repo_type=hub.KIND)
            return [one.path for one in tree if hasattr(one, "blob_id") and _branch(one.path) == branch]

        return self._ask(listed, [])

    def _branches(self) -> list[str]:
        refs = self._ask(lambda: self._api.list_repo_refs(self._repository, repo_type=hub.KIND), None)
        return [] if refs is None else sorted(one.name for one in refs.branches if one.name.startswith(_branch("")))

    def _remove_branch(self, branch: str) -> None:
        """Large files first: while the branch is there, an attempt that was stopped is seen and made again."""
        top = branch.removeprefix(_branch(""))

        def emptied() -> None:
            large = [
                one
                for one in self._api.list_lfs_files(self._repository, repo_type=hub.KIND)
                if one.filename.startswith(f"{top}/")
            ]
            self._api.permanently_delete_lfs_files(self._repository, large, rewrite_history=False, repo_type=hub.KIND)

        self._ask(emptied, None)
        self._ask(lambda: self._api.delete_branch(self._repository, branch=branch, repo_type=hub.KIND), None)
        self._heads.pop(branch, None)

    def _ask(self, call: Callable[[], T], none: T, variable: str = "", moved: Callable[[], object] | None = None) -> T:
        """The call's answer, asked for with patience; `none` where there is no such file, branch or repository."""
        errors = self._errors

        def asked() -> T:
            try:
                return call()
            except (ResolverError, BusyError):
                raise
            except (errors.EntryNotFoundError, errors.RevisionNotFoundError):
                return none
            except Exception as error:  # noqa: BLE001  the library raises whatever its HTTP client does
                answer = hub.answer(error)
                status = getattr(answer, "status_code", None)
                if status == 412 and moved is not None:
                    moved()
                    raise BusyError("somebody else commits to it") from None
                if status is None or status == 429 or status >= 500:
                    why = (
                        f"the connection failed ({type(error).__name__})" if status is None else f"it answered {status}"
                    )
                    raise BusyError(why, 0.0 if answer is None else _asked(answer.headers)) from None
                raise hub.told(
                    error, self._repository, variable or (POD_VARIABLE if self._worker else hub.VARIABLE)
                ) from None

        return patiently(asked, f"{self._repository} on the hub can't be used now", self._sleep)


def _branch(name: str) -> str:
    return f"resolver-{name.partition('/')[0]}"


def _asked(headers: Mapping[str, str]) -> float:
    """Seconds after which the hub wants to be asked again."""
    after = headers.get("retry-after", "")
    limit = re.search(r"\bt\s*=\s*(\d+)", headers.get("ratelimit", ""))
    return float(after) if after.isdigit() else float(limit[1]) if limit else 0.0
