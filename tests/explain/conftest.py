"""The bundled sample of synthetic patients, run once as far as the index; each test gets what it needs of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resolver import cli
from resolver.explain.opened import Opened


@pytest.fixture(scope="session")
def finished(sample_run: Any) -> Any:
    """A run of the sample; not to be changed."""
    return sample_run


@pytest.fixture(scope="session")
def plain(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same without learned judges: Splink's score stands. Not to be changed."""
    result = finished.copy(tmp_path_factory.mktemp("plain"))
    result.go("learn.way=none")
    return result


@pytest.fixture
def opened(finished: Any) -> Iterator[Opened]:
    with Opened(finished.settings()) as run:
        yield run


Said = tuple[int, str, str]


@pytest.fixture
def explain() -> Callable[..., Said]:
    """Runs `resolver explain`: exit code, standard output, standard error."""

    def run(*arguments: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as leave:
            cli.main(["explain", *map(str, arguments)])
        assert isinstance(leave.value.code, int)
        return leave.value.code, out.getvalue(), err.getvalue()

    return run
