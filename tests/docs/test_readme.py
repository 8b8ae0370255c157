"""The README: its commands work, its tree is the real one, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from resolver import sample

ROOT = Path(__file__).parents[2]
PROGRAMS = ("resolver", "make", "pip", "python", "docker", "git", "hf")

# Commands of the README that are not run here, by how they begin, and why.
NOT_RUN = {
    "make ": ".ci/run does it, in a fresh clone",
    "resolver label my.yaml": "it asks in a terminal; tests/label does it with keys",
    "resolver synthea ": "it needs Java; tests/synthea_runner does it",
    "resolver augment all": "tests/whole makes such a bed",
    "resolver run bed.yaml": "tests/whole runs such a bed",
    "resolver infer": "it needs a language model; tests/llm does it",
}

PATIENTS = """\
id;hospital;given;family;born;sex;ssn;street;town;zip
17;A;Ada;Abel;1961-03-12;F;501-22-3344;12 Main St;Calder;02115
18;A;Hugo;Dorn;1975-11-02;M;501-22-9911;4 Oak St;Calder;02115
4;B;Adda;Abel;1961-03-12;F;501-22-3344;12 Main Street;Calder;02115
5;B;Ida;Kern;1990-01-30;F;;77 Elm St;Bergheim;02139
6;B;Leo;Faber;1955-06-21;M;502-33-1122;9 Hill Rd;Bergheim;02139
"""


def typed(pages: Any, page: Path) -> list[str]:
    """Every command that a page tells to type."""
    found = []
    for block in pages.blocks(page):
        lines = "\n".join(line for line in block.text.splitlines() if line.split(" ")[0] in PROGRAMS)
        found += [command for command, content in pages.commands(lines) if content is None]
    return found


def test_every_command_of_the_readme_works(pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in their order on five records, as they stand; the ones that can't are known with the reason."""
    (tmp_path / "DATA").mkdir()
    (tmp_path / "DATA" / "patients.csv").write_text(PATIENTS, encoding="utf-8")
    (tmp_path / "bed").symlink_to(sample.FOLDER)
    monkeypatch.chdir(tmp_path)
    commands = typed(pages, ROOT / "README.md")
    left_out = [next((start for start in NOT_RUN if one.startswith(start)), None) for one in commands]
    ran = {one: pages.run(one)[1] for one, skipped in zip(commands, left_out, strict=True) if skipped is None}

    assert "A:17 and B:4" in ran["resolver explain my.yaml A:17 B:4"]
    assert "2 records" in ran["resolver mpi lookup my.yaml A:17"]
    assert {start for start in NOT_RUN if start not in left_out} <= {"resolver infer"}  # where the README has them


def test_the_tree_is_the_real_one() -> None:
    """Each folder of the repository has a line in the README's tree, and each line has its folder."""
    if not (ROOT / ".git").exists():
        pytest.skip("what belongs to the repository is known in a clone only")
    listed = subprocess.run(["git", "ls-files", "*/*"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    packages = ("resolver", "augmentation", "synthea_runner", "llm_classifier")
    real = {path.split("/")[0] for path in listed.splitlines()}
    real |= {"/".join(parts[:2]) for path in listed.splitlines() if len(parts := path.split("/")) > 2}
    real = {one for one in real if not one.startswith(".") and ("/" not in one or one.startswith(packages))}

    assert set(tree()) == real


def tree() -> list[str]:
    """Folders of the README's tree."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found, above = [], ""
    for indent, name in re.findall(r"^    ( *)(\w+)/ +\w.*$", text.partition("## Folders")[2], re.MULTILINE):
        above = above if indent else name
        found.append(f"{above}/{name}" if indent else name)
    return found


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda path: str(path.name))
def test_links_lead_somewhere(page: Path) -> None:
    """Links within the repository name files and headings that are there."""
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        file = page if not path else (page.parent / path)
        if not file.exists() or (heading and heading not in headings(file)):
            broken.append(target)

    assert broken == []


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
