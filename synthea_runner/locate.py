"""Finds a Synthea that can be run: on a class path, through Maven, or in a Docker image. Says why where it can't.

Knows nothing of populations: it turns "run Synthea with these arguments" into a command line, and no more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resolver.errors import InputError
from synthea_runner.settings import SyntheaSettings

OLDEST_JAVA = 11  # Synthea 3 is compiled for it
MAVEN_SECONDS = 900
WAYS = ("jar", "maven", "docker")
POM = Path(__file__).with_name("pom.xml")

# Ages and dates are worked out in Java's own time zone, and numbers are written in its own language.
SAME_EVERYWHERE = ("-Duser.timezone=UTC", "-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8")


class NoSyntheaError(InputError):
    """No Synthea can be run."""


class Unavailable(Exception):
    """Why one way to reach Synthea does not work here. A reason, not an error: the next way may work."""


@dataclass(frozen=True)
class Synthea:
    """A Synthea that can be run."""

    via: str
    version: str
    build: str | None
    java: str | None
    program: tuple[str, ...]
    classpath: str

    def base(self, folder: Path) -> str:
        """The folder's name as Synthea sees it."""
        return "/out" if self.via == "docker" else str(folder)

    def command(self, folder: Path, heap_gib: float, arguments: Sequence[str]) -> list[str]:
        """The command line that runs Synthea, writing to `folder`."""
        mount = ["--volume", f"{folder}:/out"] if self.via == "docker" else []
        program = [*self.program[:-1], *mount, self.program[-1]]
        heap = f"-Xmx{round(heap_gib * 1024)}m"
        # Without the second option a thread that runs out of memory ends silently, and its person is missing.
        options = [heap, "-XX:+ExitOnOutOfMemoryError", *SAME_EVERYWHERE]
        return [*program, *options, "-cp", self.classpath, "App", *arguments]

    def describe(self) -> str:
        build = f" ({self.build})" if self.build and self.build != self.version else ""
        java = f", Java {self.java}" if self.java else ""
        return f"Synthea {self.version}{build} via {self.via}{java}"


def find(settings: SyntheaSettings) -> Synthea:
    """The first way that works, or only the one that was asked for."""
    ways = (settings.via,) if settings.via else WAYS
    looked = {"jar": _on_classpath, "maven": _through_maven, "docker": _in_docker}
    reasons = []
    for way in ways:
        try:
            return looked[way](settings)
        except Unavailable as reason:
            reasons.append(f"{way}: {reason}")
    raise NoSyntheaError(
        f"No Synthea {settings.version} can be run here. {'; '.join(reasons)}.",
        do="Put its jars on a class path (--classpath 'folder/*' or SYNTHEA_CLASSPATH), "
        "or let Maven or Docker fetch them.",
    )


def find_java() -> tuple[Path, str]:
    """Java and its version, from JAVA_HOME or the path."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if found is None:
        where = f"JAVA_HOME ({home}) holds none" if home else "none is on the path"
        raise Unavailable(f"no Java: {where}; install Java {OLDEST_JAVA} or newer, 17 is best")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False, errors="replace")
    match = re.search(r'version "([^"]+)"', said.stderr + said.stdout)
    if match is None:
        raise Unavailable(f"{found} does not say which Java it is")
    version = match[1]
    if java_major(version) < OLDEST_JAVA:
        raise Unavailable(f"Java too old: {found} is {version}, and Synthea needs {OLDEST_JAVA} or newer")
    return Path(found), version


def java_major(version: str) -> int:
    """17 of 17.0.15, 8 of 1.8.0_392, 21 of 21-ea."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    return numbers[1] if numbers[:1] == [1] and len(numbers) > 1 else numbers[0]


def _on_classpath(settings: SyntheaSettings) -> Synthea:
    classpath = settings.classpath or os.environ.get("SYNTHEA_CLASSPATH", "")
    if not classpath:
        raise Unavailable("no class path is given")
    jar = synthea_jar(classpath)
    if jar is None:
        # The user named this class path: going on to another Synthea would hide the mistake.
        raise NoSyntheaError(
            "The class path holds no Synthea (no jar with its classes App and Generator).",
            do="Check --classpath or SYNTHEA_CLASSPATH; write a folder of jars as 'folder/*', in quotes.",
        )
    version, build = _version_of(jar, settings.version)
    java, java_version = find_java()
    return Synthea("jar", version, build, java_version, (str(java),), _absolute(classpath))


def _absolute(classpath: str) -> str:
    return os.pathsep.join(os.path.abspath(entry) for entry in classpath.split(os.pathsep) if entry)  # noqa: PTH100 (links stay)


def synthea_jar(classpath: str) -> Path | None:
    """The jar with Synthea itself, found by what is in it, since users rename jars."""
    for entry in classpath.split(os.pathsep):
        path = Path(entry)
        jars = sorted(path.parent.glob("*.jar")) if path.name == "*" else [path]
        for jar in jars:
            if jar.is_file() and zipfile.is_zipfile(jar):
                with zipfile.ZipFile(jar) as content:
                    names = set(content.namelist())
                if {"App.class", "org/mitre/synthea/engine/Generator.class"} <= names:
                    return jar
    return None


def _version_of(jar: Path, wanted: str) -> tuple[str, str | None]:
    """Release and build of a Synthea jar; refused if it is not the one that is wanted."""
    with zipfile.ZipFile(jar) as content:
        build = content.read("version.txt").decode().strip() if "version.txt" in content.namelist() else None
    named = re.search(r"(\d+\.\d+\.\d+)", jar.name)
    release = named[1] if named else (build or "").removeprefix("v") or None
    if wanted not in (release, build):
        raise NoSyntheaError(
            f"{jar.name} is Synthea {release or 'of an unknown version'}, and the config wants {wanted}.",
            do=f"Another version makes other people: use {wanted}"
            + (f", or set version: {release} (--synthea-version {release})." if release else "."),
        )
    return wanted, build


def _through_maven(settings: SyntheaSettings) -> Synthea:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("mvn is not on the path")
    java, java_version = find_java()
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "classpath.txt"
        command = [maven, "--batch-mode", "--file", str(POM), f"-Dsynthea.version={settings.version}"]
        command += [f"-Dmdep.outputFile={written}", "dependency:build-classpath"]
        try:
            said = subprocess.run(
                command, capture_output=True, text=True, check=False, errors="replace", timeout=MAVEN_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"mvn fetched nothing in {MAVEN_SECONDS // 60} minutes") from None
        if said.returncode != 0 or not written.exists():
            raise Unavailable(_why_maven_failed(said.stdout + said.stderr, settings.version))
        classpath = written.read_text(encoding="utf-8").strip()
    jar = synthea_jar(classpath)
    if jar is None:
        raise Unavailable("what mvn fetched holds no Synthea")
    version, build = _version_of(jar, settings.version)
    return Synthea("maven", version, build, java_version, (str(java),), classpath)


def _why_maven_failed(said: str, version: str) -> str:
    unreachable = (
        "Unknown host",
        "UnknownHostException",
        "Temporary failure in name resolution",
        "Name or service not known",
        "Connection refused",
        "Connection reset",
        "Connect to",
        "timed out",
        "Network is unreachable",
        "Could not transfer",
    )
    if "Could not find artifact org.mitre.synthea" in said:
        return f"org.mitre.synthea:synthea:{version} is not in the repository that mvn asks"
    if any(phrase in said for phrase in unreachable):
        return "mvn can't reach Maven Central (a mirror goes into ~/.m2/settings.xml)"
    return f"mvn failed; see: mvn -f {POM} -Dsynthea.version={version} dependency:build-classpath"


def _in_docker(settings: SyntheaSettings) -> Synthea:
    docker = shutil.which("docker")
    if docker is None:
        raise Unavailable("docker is not on the path")
    engine = subprocess.run(
        [docker, "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False
    )
    if engine.returncode != 0:
        raise Unavailable("the Docker engine does not answer: start it, or check that you may use it")
    image = f"{settings.image}:{settings.version}"
    there = subprocess.run([docker, "image", "inspect", image], capture_output=True, text=True, check=False)
    if there.returncode != 0:
        build = f"docker build --build-arg SYNTHEA_VERSION={settings.version} --tag {image}"
        raise Unavailable(f"there is no image {image}: from a checkout, {build} --file docker/synthea.Dockerfile .")
    program = (docker, "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}", image)
    return Synthea("docker", settings.version, None, None, program, "/opt/synthea/lib/*")
