"""A real sshd on a free port of loopback, for one key, with a client configuration that knows its host key."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLEEPS = (sys.executable, "-S", "-c", "import time; time.sleep(300)")


@dataclass(frozen=True)
class Loopback:
    config: Path  # of the client; it knows the host gpu1, and stranger, whose key nobody has confirmed
    python: Path  # the interpreter there, with a home of its own
    idle: Path  # the same, but its workers only sleep
    home: Path  # of the user there


def missing() -> str:
    """Why there can't be one here; "" where there can."""
    for program in ("sshd", "ssh", "ssh-keygen"):
        if _program(program) is None:
            return f"needs {program}: install OpenSSH's server and client"
    return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def serving(folder: Path) -> Iterator[Loopback]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "none").touch()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "SetEnv SHLVL=2\n"  # bash reads none of its user's files then, which can take long
        "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    home = folder / "home"
    home.mkdir()
    python = folder / "python"
    _script(python, f'HOME={home} OMP_NUM_THREADS=1 exec {sys.executable} "$@"')
    idle = folder / "idle-python"
    _script(idle, f'HOME={home} exec {sys.executable} {__file__} "$@"')
    common = f"HostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/user\nIdentitiesOnly yes\nLogLevel ERROR\n"
    config = folder / "client"
    config.write_text(
        f"Host gpu1\n{common}UserKnownHostsFile {folder}/known\n"
        # What a careless configuration says of host keys must not count.
        f"Host stranger\n{common}UserKnownHostsFile {folder}/none\nStrictHostKeyChecking no\n"
        f"Host nobody\n{common.replace(str(port), '1')}UserKnownHostsFile {folder}/known\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd of root keeps its rights apart
    sshd = _program("sshd")
    assert sshd is not None
    arguments = [sshd, "-D", "-E", str(folder / "log"), "-f", str(folder / "sshd_config")]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _listening(port, process, folder / "log")
        yield Loopback(config, python, idle, home)
    finally:
        process.terminate()
        process.wait()


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\ncd {ROOT}\n{line}\n")
    path.chmod(0o700)


def _idle_host() -> int:
    """host.py, with workers that only sleep."""
    from llm_classifier.pods import host
    from llm_classifier.pods.providers import local

    assert sys.argv[1:] == ["-m", "llm_classifier.pods.host"]
    local.WORKER = SLEEPS
    return host.main()


def _listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("sshd does not listen")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(_idle_host())
