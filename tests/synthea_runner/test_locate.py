"""Ways to reach Synthea, and what is said where there is none."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from synthea_runner.locate import NoSyntheaError, find, java_major
from synthea_runner.settings import SyntheaSettings

Install = Callable[[str, str], Path]
Java = Callable[[], list[str]]

# Maven writes the class path it resolved to a file that an option names.
_MAVEN = """#!{python}
import sys
out = next(word for word in sys.argv if word.startswith("-Dmdep.outputFile=")).partition("=")[2]
assert "-Dsynthea.version=3.3.0" in sys.argv and "dependency:build-classpath" in sys.argv
open(out, "w").write("{jar}:/else/where.jar")
"""

# The engine answers `version`; the image is there or not.
_DOCKER = """#!/bin/sh
case "$1" in
  version) exit {engine} ;;
  image) exit {image} ;;
esac
"""


def test_class_path_comes_first(java: Java, install: Install, jar: Path) -> None:
    """A class path that was given is used, though Maven and Docker are there too."""
    install("mvn", "#!/bin/sh\nexit 1\n")
    install("docker", _DOCKER.format(engine=0, image=0))

    found = find(SyntheaSettings(classpath=str(jar)))

    assert (found.via, found.version, found.build, found.java) == ("jar", "3.3.0", "v3.3.0-1-gabcdef", "17.0.1")


def test_class_path_from_the_environment(java: Java, jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SYNTHEA_CLASSPATH may name a folder of jars."""
    monkeypatch.setenv("SYNTHEA_CLASSPATH", str(jar.parent / "*"))

    found = find(SyntheaSettings())

    assert found.classpath == str(jar.parent / "*")


def test_maven_is_second(java: Java, install: Install, jar: Path) -> None:
    """Without a class path, Maven resolves one."""
    install("mvn", _MAVEN.format(python=sys.executable, jar=jar))

    found = find(SyntheaSettings())

    assert (found.via, found.classpath) == ("maven", f"{jar}:/else/where.jar")


def test_docker_is_third(install: Install, tmp_path: Path) -> None:
    """Without Java, the image runs: no network, the caller's user, the folder mounted."""
    docker = install("docker", _DOCKER.format(engine=0, image=0))
    found = find(SyntheaSettings())

    command = found.command(tmp_path, 2, ["-p", "5", "Ohio"])

    run = [str(docker), "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"]
    assert command[: len(run) + 4] == [*run, "--volume", f"{tmp_path}:/out", "resolver-synthea:3.3.0", "-Xmx2048m"]
    assert command[-6:] == ["-cp", "/opt/synthea/lib/*", "App", "-p", "5", "Ohio"]
    assert found.base(tmp_path) == "/out"


def test_every_reason_is_told(install: Install) -> None:
    """Where no way works, the error says why for each, and what to do."""
    install("docker", _DOCKER.format(engine=1, image=1))

    with pytest.raises(NoSyntheaError) as caught:
        find(SyntheaSettings())

    said = str(caught.value)
    assert "jar: no class path is given; maven: mvn is not on the path; docker: the Docker engine does not" in said
    assert "SYNTHEA_CLASSPATH" in said
    assert "\n" not in said


def test_only_the_way_that_was_asked_for(java: Java, install: Install, jar: Path) -> None:
    """With --via, no other way is tried."""
    with pytest.raises(NoSyntheaError, match="docker: docker is not on the path") as caught:
        find(SyntheaSettings(via="docker", classpath=str(jar)))

    assert "jar:" not in str(caught.value)


def test_missing_image(install: Install) -> None:
    """Without the image, the error has the command that builds it."""
    install("docker", _DOCKER.format(engine=0, image=1))

    with pytest.raises(NoSyntheaError, match=r"docker build .*--file docker/synthea.Dockerfile"):
        find(SyntheaSettings(via="docker"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Could not transfer artifact x from central: Unknown host repo.maven.apache.org", "can't reach Maven Central"),
        ("Could not find artifact org.mitre.synthea:synthea:jar:3.3.0 in central", "is not in the repository"),
        ("[ERROR] No goals", "mvn failed; see: mvn -f"),
    ],
)
def test_maven_fails(java: Java, install: Install, said: str, reason: str) -> None:
    """What Maven says is put into a reason."""
    install("mvn", f"#!/bin/sh\necho '{said}'\nexit 1\n")

    with pytest.raises(NoSyntheaError, match=reason):
        find(SyntheaSettings(via="maven"))


def test_no_java(install: Install, jar: Path) -> None:
    """A class path is of no use without Java, and the error says so."""
    with pytest.raises(NoSyntheaError, match="no Java: none is on the path; install Java 11"):
        find(SyntheaSettings(via="jar", classpath=str(jar)))


def test_java_home_without_java(install: Install, jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong JAVA_HOME is named rather than passed over."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    with pytest.raises(NoSyntheaError, match=r"JAVA_HOME .* holds none"):
        find(SyntheaSettings(via="jar", classpath=str(jar)))


def test_java_too_old(java: Java, jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java 8 is refused by its version."""
    monkeypatch.setenv("JAVA_SAYS", "1.8.0_392")

    with pytest.raises(NoSyntheaError, match=r"Java too old: .* is 1\.8\.0_392"):
        find(SyntheaSettings(via="jar", classpath=str(jar)))


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_392", 8), ("21-ea", 21), ("11", 11)])
def test_java_versions(version: str, major: int) -> None:
    """Old and new ways to write a Java version are read."""
    assert java_major(version) == major


def test_class_path_without_synthea(java: Java, install: Install, tmp_path: Path) -> None:
    """A class path that was given and holds no Synthea is refused, not passed over for Maven."""
    install("mvn", "#!/bin/sh\nexit 0\n")

    with pytest.raises(NoSyntheaError, match="holds no Synthea"):
        find(SyntheaSettings(classpath=str(tmp_path / "*")))


def test_other_version_is_refused(java: Java, jar: Path) -> None:
    """Another release than the pinned one is refused, with the setting that would allow it."""
    with pytest.raises(NoSyntheaError, match=r"is Synthea 3\.3\.0, and the config wants 3\.2\.0.*version: 3\.3\.0"):
        find(SyntheaSettings(version="3.2.0", classpath=str(jar)))


def test_renamed_jar_is_known_by_its_build(java: Java, tmp_path: Path) -> None:
    """A jar without a version in its name is known by what it says of itself."""
    jar = tmp_path / "synthea-with-dependencies.jar"
    with zipfile.ZipFile(jar, "w") as content:
        content.writestr("App.class", b"")
        content.writestr("org/mitre/synthea/engine/Generator.class", b"")
        content.writestr("version.txt", "v3.3.0\n")

    assert find(SyntheaSettings(classpath=str(jar))).version == "3.3.0"
