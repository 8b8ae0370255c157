"""The copy of a data set on a private hub: uploaded in one commit, pinned by its id.

The token comes from the environment (HF_TOKEN) and goes nowhere else. A repository that others can read is refused.
Knows nothing of what is in a data set.
"""

from __future__ import annotations

import os
from typing import Any

from llm_classifier.dataset.card import FILE, SPLITS, Dataset
from llm_classifier.needs import need
from resolver import files
from resolver.errors import ResolverError, RunError, UsageError

PUSHED = "hub.json"  # beside dataset.json: where the copy is


def push(dataset: Dataset, repository: str) -> dict[str, Any]:
    """Upload the data set and say which commit holds it: {repository, commit, pin}."""
    hub = need("huggingface_hub")
    token = os.environ.get("HF_TOKEN")
    if not token:
        raise UsageError("There is no token for the hub.", do="Put it into the environment as HF_TOKEN.")
    # The library reads HF_ENDPOINT when it is imported; it is named here so that the environment of this call holds.
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        head = _head(hub, api, repository)
        names = ["README.md", FILE, *(f"data/{split}.parquet" for split in SPLITS)]
        commit = api.create_commit(
            repo_id=repository,
            repo_type="dataset",
            operations=[hub.CommitOperationAdd(name, str(dataset.folder / name)) for name in names],
            commit_message=f"Data set {dataset.pin}",
            parent_commit=head,
        )
    except ResolverError:
        raise
    except Exception as error:  # noqa: BLE001 the library raises whatever its HTTP client does, with the request in it
        raise _told(error, repository) from None
    pinned = {"repository": repository, "commit": str(commit.oid), "pin": dataset.pin}
    files.write_json(dataset.folder / PUSHED, pinned)
    return pinned


def _head(hub: Any, api: Any, repository: str) -> str:
    """The newest commit of the repository, which is made where there is none."""
    try:
        info = api.repo_info(repository, repo_type="dataset")
    except hub.errors.RepositoryNotFoundError:
        api.create_repo(repository, repo_type="dataset", private=True)
        info = api.repo_info(repository, repo_type="dataset")
    if not info.private:
        raise UsageError(
            f"{repository} is public; patient histories go to private repositories only.",
            do="Make it private, or set dataset.hub to another one.",
        )
    return str(info.sha)


def _told(error: Exception, repository: str) -> RunError:
    """One line without the request: it may hold the token."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return RunError(f"The hub refuses access to {repository}.", do="Check HF_TOKEN and its rights.")
    if status == 412:
        return RunError(f"{repository} was changed while this was uploaded.", do="Run the same command again.")
    if status is not None:
        return RunError(f"The hub answered {status} for {repository}.", do="Run the same command again later.")
    return RunError(
        f"The hub can't be reached for {repository} ({type(error).__name__}).", do="Check HF_ENDPOINT and the network."
    )
