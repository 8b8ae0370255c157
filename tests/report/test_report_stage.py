"""The report is one file that loads nothing, shows what the run did, and is safe to open whatever the records hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import evaluate, report, tables
from resolver.evaluate import anomalies
from resolver.progress import Progress
from resolver.report import charts
from resolver.settings import parse
from resolver.stage import StageContext

INPUTS = (
    "records",
    "slices",
    "events",
    "rejected",
    "pairs",
    "decisions",
    "clusters",
    "cuts",
    "golden",
    "golden_fields",
)
EVIL = "<script>alert('x')</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Tags(HTMLParser):
    """Collects tags, the addresses that they name, and tags left open."""

    VOID = frozenset({"meta", "br", "rect", "line", "circle", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def write(folder: Path, *, records: int = 4, truth: bool = True, title: str = "A run") -> str:
    """A report over a few records, of which the first two agree and one has a hostile name and source."""
    with duckdb.connect() as con:
        for name in INPUTS:
            con.execute(f"CREATE TABLE {name} ({tables.TABLES[name].ddl})")
        for rid in range(records):
            con.execute(
                "INSERT INTO records (rid, record_id, source, source_record_id, first_name) VALUES (?, ?, ?, ?, ?)",
                [rid, f"s:{rid}", EVIL if rid == 1 else "s", str(rid), EVIL if rid == 0 else "ANNA"],
            )
            con.execute("INSERT INTO clusters VALUES (?, ?)", [rid, 0 if rid < 2 else rid])
            con.execute("INSERT INTO slices VALUES (?, ?, NULL)", [rid, EVIL])
            con.execute("INSERT INTO golden_fields VALUES (?, 'first_name', 'ANNA', 0.8, [?], 1)", [rid, rid])
        pairs = [(0, 1, 5.2, "match"), (1, 2, 0.1, "gray"), (2, 3, -6.0, "non-match")] if records >= 4 else []
        for left, right, logit, tier in pairs:
            con.execute("INSERT INTO pairs VALUES (?, ?, 0, ?)", [left, right, logit])
            con.execute(
                "INSERT INTO decisions (left_rid, right_rid, prior, demographics, logit, probability, tier) "
                "VALUES (?, ?, -5, ?::DOUBLE + 5, ?, 1 / (1 + exp(-?::DOUBLE)), ?)",
                [left, right, logit, logit, logit, tier],
            )
        if records:
            con.execute("INSERT INTO rejected VALUES ('s', 'f.csv', 3, NULL, 'no usable field', '{}')")
            con.execute("INSERT INTO cuts VALUES (1, 2, 0.1, -3, 'other pairs speak against it')")
        for name in INPUTS:
            con.execute(f"COPY {name} TO '{folder / name}.parquet'")
    section: dict[str, Any] = {}
    if truth and records:
        (folder / "truth.csv").write_text("record_id,person_id\n0,p\n1,p\n2,p\n3,q\n")
        section = {"truth": "truth.csv"}
    settings = parse(
        {
            "run": {"dir": str(folder), "memory_gib": 1.0, "threads": 1},
            "sources": [{"kind": "synthea", "path": "."}],
            "evaluate": section,
            "report": {"title": title},
        },
        base=folder,
        where="test",
    )
    stage = {"seconds": 1.5, "peak_mib": 300.0, "finished": "2026-01-01", "outputs": {"records": {"rows": records}}}
    (folder / "manifest.json").write_text(json.dumps({"stages": {"ingest": stage}}))
    (folder / "publish.json").write_text('{"run": "R1"}')
    inputs = {name: folder / f"{name}.parquet" for name in INPUTS}
    inputs |= {name: folder / name for name in ("metrics.json", "publish.json")}
    outputs = {name: folder / name for name in ("metrics.json", "report.html")}
    context = StageContext(settings, inputs, outputs, folder, Progress())
    evaluate.run(context)
    report.run(context)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_loads_and_runs_nothing(tmp_path: Path) -> None:
    """The page names no address, holds no script, and its tags are all closed."""
    page = write(tmp_path)
    tags = Tags()
    tags.feed(page)

    assert tags.addresses == []
    assert not tags.seen & {"script", "link", "img", "iframe", "object", "form"}
    assert tags.open == []
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_hostile_values_stay_text(tmp_path: Path) -> None:
    """A name, a source, a slice or a title that holds HTML is shown as text."""
    page = write(tmp_path, title=EVIL)

    assert EVIL not in page
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 4


def test_shows_what_the_run_did(tmp_path: Path) -> None:
    """Figures, doubtful pairs, missed pairs, cuts, rejected rows and stages are all on the page."""
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", write(tmp_path)))

    assert "4 records became 3 persons." in text
    assert "100.00% of the linked pairs are right, and 33.33% of the true pairs were found" in text
    for part in (
        "other pairs speak against it 1",
        "no usable field s 1",
        "Some missed pairs",
        "two persons gray log-odds +0.1, probability 52.5%",
        "prior −5.0, demographics +5.1",
        "ingest 4 1.5",
        "never proposed 1",
    ):
        assert part in text


def test_what_is_strange_is_shown_with_what_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An anomaly stands on the page with its next step, and a shared value with the value; a healthy page has none."""
    assert "What is strange" not in write(tmp_path)
    found = {"kind": "shared value", "says": "One first name.", "try_next": "Do <this>.", "field": "first_name"}
    monkeypatch.setattr(anomalies, "find", lambda metrics: [{**found, "source": "s"}])
    page = write(tmp_path)

    assert "What is strange" in page
    assert "One first name. The value is ANNA." in page
    assert "Do &lt;this&gt;." in page


def test_without_truth_makes_no_claims(tmp_path: Path) -> None:
    """Without truth the page says so, and leaves out all that needs it."""
    page = write(tmp_path, truth=False)

    assert "There is no truth for this run" in page
    for part in ("Calibration", "Slices", "What went wrong", "Splink alone"):
        assert part not in page


def test_an_empty_run_has_a_report(tmp_path: Path) -> None:
    """No records at all still give a page."""
    assert "0 records became 0 persons." in write(tmp_path, records=0)


def test_one_record_has_a_report(tmp_path: Path) -> None:
    """One record, and so no pair, still gives a page."""
    assert "There are no scored pairs" in write(tmp_path, records=1, truth=False)


@pytest.mark.parametrize(
    ("value", "share", "figure"),
    [(1.0, "100.0%", "1.0000"), (0.99996, "99.9%", "0.9999"), (0.5, "50.0%", "0.5000"), (None, "–", "–")],
)
def test_figures_never_round_up_to_perfect(value: float | None, share: str, figure: str) -> None:
    """Only what is perfect is shown as 100 % or 1."""
    assert report._share(value) == share
    assert report._figure(value) == figure


def test_a_percentage_and_a_figure_agree() -> None:
    """The sentence at the top and the card below it never differ by rounding."""
    assert (report._percent(0.96247), report._figure(0.96247)) == ("96.24%", "0.9624")
    assert report._percent(1.0) == "100.00%"


def test_labels_of_charts_are_escaped() -> None:
    """A label with HTML in it stays text inside a chart."""
    assert EVIL not in charts.columns(EVIL, [(EVIL, 3)], EVIL)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize(("width", "scheme"), [(500, "light"), (1300, "dark")])
def test_fits_the_window_in_light_and_dark(tmp_path: Path, width: int, scheme: str) -> None:
    """In a real browser the page is no wider than its window, follows the colour scheme, and draws its charts."""
    page = write(tmp_path)
    # The page itself may run nothing, so a copy without its policy measures it.
    probe = (
        "<script>document.body.dataset.found=[document.documentElement.scrollWidth<=innerWidth,"
        "getComputedStyle(document.body).backgroundColor,"
        "[...document.querySelectorAll('svg')].every(s=>s.getBoundingClientRect().height>80)].join(' ')</script>"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(re.sub(r'<meta http-equiv="Content[^>]+>', "", page).replace("</body>", probe + "</body>"))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'c'}"]
    command += [f"--window-size={width},900", f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"]
    done = subprocess.run(
        [*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'data-found="([^"]*)"', done.stdout)

    assert found is not None
    assert found[1] == f"true {'rgb(20, 24, 27)' if scheme == 'dark' else 'rgb(246, 246, 243)'} true"
