"""A private repository on a hub: opened, looked at, and what goes wrong with it in one line.

The hub is the Hugging Face Hub, or one that speaks the same (HF_ENDPOINT). Tokens come from the environment and go
nowhere else. Knows nothing of what lies in a repository.
"""

from __future__ import annotations

import os
from typing import Any

from llm_classifier.needs import need
from resolver.errors import RunError, UsageError

VARIABLE = "HF_TOKEN"
KIND = "dataset"


def token() -> str:
    found = os.environ.get(VARIABLE)
    if not found:
        raise UsageError("There is no token for the hub.", do=f"Put it into the environment as {VARIABLE}.")
    return found


def api(token: str, endpoint: str | None = None) -> Any:
    """The library's client. It reads HF_ENDPOINT when it is imported; named here, that of this call holds."""
    return need("huggingface_hub").HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT") or None, token=token)


def private_head(api: Any, repository: str, setting: str) -> str:
    """The newest commit of the repository, which is made where there is none; one that others can read is refused."""
    try:
        info = api.repo_info(repository, repo_type=KIND)
    except need("huggingface_hub.errors").RepositoryNotFoundError:
        api.create_repo(repository, repo_type=KIND, private=True)
        info = api.repo_info(repository, repo_type=KIND)
    if not info.private:
        raise UsageError(
            f"{repository} is public; patient histories go to private repositories only.",
            do=f"Make it private, or set {setting} to another one.",
        )
    return str(info.sha)


def answer(error: BaseException | None) -> Any:
    """The hub's answer in an error of the library, which may wrap it; None where there was none."""
    while error is not None:
        found = getattr(error, "response", None)
        if found is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def told(error: Exception, repository: str, variable: str = VARIABLE) -> RunError:
    """One line without the request: it may hold the token, which came from that variable."""
    status = getattr(answer(error), "status_code", None)
    if status in (401, 403):
        return RunError(f"The hub refuses access to {repository}.", do=f"Check {variable} and its rights.")
    if status == 404:
        return RunError(
            f"The hub knows no {repository}, or this token may not see it.", do=f"Check {variable} and its rights."
        )
    if status == 412:
        return RunError(f"{repository} was changed while this was uploaded.", do="Run the same command again.")
    if status is not None:
        return RunError(f"The hub answered {status} for {repository}.", do="Run the same command again later.")
    return RunError(
        f"The hub can't be reached for {repository} ({type(error).__name__}).", do="Check HF_ENDPOINT and the network."
    )
