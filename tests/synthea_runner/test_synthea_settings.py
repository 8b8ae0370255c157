"""The config of a population."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from resolver.errors import SettingsError, UsageError
from synthea_runner.locate import POM
from synthea_runner.settings import SyntheaSettings, load

ROOT = Path(__file__).parents[2]


def test_config_in_repository_holds_the_defaults() -> None:
    """configs/synthea.yaml names every setting with its default, so that it documents what happens without it."""
    content = yaml.safe_load((ROOT / "configs" / "synthea.yaml").read_text())

    assert set(content) == set(SyntheaSettings.model_fields)
    assert SyntheaSettings.model_validate(content) == SyntheaSettings()


def test_one_version_everywhere() -> None:
    """The settings, the Maven file and the Docker image pin one release."""
    version = SyntheaSettings().version

    assert f"<synthea.version>{version}</synthea.version>" in POM.read_text()
    assert f"SYNTHEA_VERSION={version}" in (ROOT / "docker" / "synthea.Dockerfile").read_text()


def test_options_go_over_the_config(tmp_path: Path) -> None:
    """An option that was given wins over the config; tables to leave out are added to those of the config."""
    config = tmp_path / "my.yaml"
    config.write_text("state: Ohio\nheap_gib: 8\nleave_out: [claims]\n")

    chosen = load(config, {"state": "Texas", "heap_gib": None}, leave_out=("supplies", "claims"))

    assert (chosen.state, chosen.heap_gib, chosen.leave_out) == ("Texas", 8, ("claims", "supplies"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sate: Ohio", "sate: unknown key; did you mean state?"),
        ("leave_out: [claim]", "no table claim; did you mean claims?"),
        ("leave_out: [patients]", "patients can't be left out"),
        ("properties: {exporter.csv.export: false}", "exporter.csv.export is set by the runner"),
        ("heap_gib: 0", "heap_gib: input should be greater than 0"),
        ("- a", "not a single value"),
        ("a: [", "line 1"),
    ],
)
def test_faults_of_a_config(tmp_path: Path, text: str, says: str) -> None:
    """A fault of a config is named with its key."""
    config = tmp_path / "my.yaml"
    config.write_text(text)

    with pytest.raises(SettingsError, match=re.escape(says)):
        load(config, {})


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Two faults are told together."""
    config = tmp_path / "my.yaml"
    config.write_text("via: bus\nyears_of_history: -1\n")

    with pytest.raises(SettingsError) as caught:
        load(config, {})

    assert len(caught.value.faults) == 2


def test_missing_config(tmp_path: Path) -> None:
    """A config that is not there is a wrong usage."""
    with pytest.raises(UsageError, match="There is no config"):
        load(tmp_path / "none.yaml", {})
