"""`resolver label`: asks a person about the pairs that teach the most. Shows and stores; resolver/label chooses.

It shows text of patients on the screen: for the person who has to decide.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver import amounts
from resolver.errors import UsageError

if TYPE_CHECKING:
    from resolver.label.posterior import Figure
    from resolver.label.sides import Row, Sides
    from resolver.label.survey import Survey
    from resolver.mpi.labels import Answer, Asked
    from resolver.settings import Settings

LABEL = 18  # width of the first column
MARKS = {"same": "=", "near": "~", "differs": "x", "missing": " "}
KEYS = {"y": "same", "n": "different", "u": "unsure"}
NARROWEST = 60


@click.command()
@click.argument("what", metavar="CONFIG|RUN", type=click.Path(path_type=Path))
@click.option("--until", default=0.005, show_default=True, help="Stop when precision and recall are known to ± this.")
@click.option("--max", "most", default=100, show_default=True, help="Questions to ask, or list, at most.")
@click.option(
    "--answers", type=click.Path(path_type=Path), help="Take the answers from this CSV (columns left, right, answer)."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="List the pairs and the estimate as JSON instead of asking; with --answers, what became of them.",
)
def label(what: Path, until: float, most: int, answers: Path | None, as_json: bool) -> None:
    """Answer questions about pairs: they correct the index, and say how good the run is.

    Asks first where an answer changes most, and among pairs of a kind at random, so that the answers speak for all
    pairs. Each is stored at once as what a person said: it takes effect, and binds every later run. CONFIG is the
    config of a finished run, RUN its folder. Pairs of persons that the run rules out (less than 1 to 400) are not asked
    about and are taken to be right; recall is of the pairs that were scored.

    \b
    y  the same person      n  different persons      u  can't say
    b  take the last answer back                      q  stop; nothing is lost

    It shows text of patients: mind who sees the screen, and where --json goes.

    \b
    resolver label my.yaml
    resolver label my.yaml --until 0.002 --max 300
    resolver label my.yaml --json > pairs.json        the pairs it would ask about
    resolver label my.yaml --answers answered.csv     left,right,answer: y, n or u, empty where open
    """
    if until <= 0 or most < 1:
        raise UsageError("--until and --max must be above 0.")
    if answers is None and not as_json and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "There is no terminal to ask in.", do="List the pairs with --json and give the answers with --answers FILE."
        )
    loaded = _settings(what)

    from resolver.explain.opened import Opened
    from resolver.label.survey import Survey

    with Opened(loaded) as run:
        survey = Survey(run)
        if answers is not None:
            _from_file(survey, answers, as_json)
        elif as_json:
            _list(survey, most)
        else:
            _Session(survey, until, most, str(what)).ask()


def _settings(what: Path) -> Settings:
    from resolver import settings
    from resolver.runs import MANIFEST, RunFolder

    if not what.is_dir():
        return settings.load(what)
    if not (what / MANIFEST).exists():
        raise UsageError(f"{what} is not a run folder.", do="Give a config, or the folder of a finished run.")
    published = RunFolder(what).manifest()["stages"].get("publish", {}).get("facts", {})
    content: dict[str, Any] = {"run": {"dir": str(what.absolute())}, "sources": [{"kind": "synthea", "path": "."}]}
    # The default place first: the folder may have been moved since.
    if not (what / "mpi.duckdb").exists() and "index" in published:
        content["index"] = {"path": published["index"]}
    return settings.parse(content, base=what, where=str(what))


def _list(survey: Survey, most: int) -> None:
    from resolver.label import sides

    pairs = []
    for asked in survey.plan(most):
        shown = sides.lay(survey.run, asked.left, asked.right)
        pairs.append(
            {
                "left": asked.left,
                "right": asked.right,
                "weight": asked.weight,
                "stands_for": asked.stands_for,
                "fields": [
                    {name: value for name, value in asdict(row).items() if name != "differing"} for row in shown.rows
                ],
                "histories": [
                    dict(zip(("about", "left", "right", "both"), one, strict=True)) for one in shown.histories
                ],
            }
        )
    click.echo(json.dumps({"estimate": _estimate(survey), "pairs": pairs}, indent=2))


def _estimate(survey: Survey) -> dict[str, Any]:
    found = survey.estimate
    return {
        "precision": found.precision and asdict(found.precision),
        "recall": found.recall and asdict(found.recall),
        "of": "scored pairs",
        "answers": int(survey.strata.drawn.sum()),
        "wrong_answers": round(found.slips, 4),
    }


def _from_file(survey: Survey, path: Path, as_json: bool) -> None:
    from resolver.label.answers import read

    given, left_open = read(path)
    rids = [
        (
            survey.run.rid(one.left, f"{path}, line {one.line}: left"),
            survey.run.rid(one.right, f"{path}, line {one.line}: right"),
        )
        for one in given
    ]
    for one, (left, right) in zip(given, rids, strict=True):
        if left == right:
            raise UsageError(f"{path}, line {one.line}: both are the same record.")
    stored, surprising, refused = 0, [], []
    for one, (left, right) in zip(given, rids, strict=True):
        asked = survey.asked(left, right, ahead=len(given))
        try:
            _store(survey, asked, one.answer)
        except UsageError as error:
            refused.append({"line": one.line, "why": str(error)})
            continue
        stored += 1
        if one.answer != "unsure" and survey.surprises(asked, one.answer == "same"):
            surprising.append(one.line)
    survey.hear()
    if as_json:
        told = {"stored": stored, "of": len(given), "left_open": left_open, "refused": refused}
        click.echo(json.dumps(told | {"look_again": surprising, "estimate": _estimate(survey)}, indent=2))
        return
    for fault in refused:
        click.echo(f"{path}, line {fault['line']}: {fault['why']}")
    open_ = f", {left_open:,} left open" if left_open else ""
    click.echo(f"{stored:,} of {len(given):,} answers stored{open_}.")
    if surprising:
        lines = ", ".join(map(str, surprising[:10])) + (" and more" if len(surprising) > 10 else "")
        click.echo(f"Look again at line {lines}: everything else that is known speaks against the answer.")
    click.echo(_standing(survey))


def _store(survey: Survey, asked: Asked, answer: Answer) -> int:
    from resolver.mpi import labels

    return labels.put(survey.index, labels.WHY, lambda change: labels.answer(change, survey.run_id, asked, answer))


def _standing(survey: Survey) -> str:
    found = survey.estimate
    return f"precision {_figure(found.precision)}, recall {_figure(found.recall)}"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "none"
    # Rounded away from certainty on the low side, and outwards on both.
    value, low = (math.floor(one * 1e4 + 1e-9) / 1e4 for one in (figure.value, figure.low))
    return f"{value:.4f} ({low:.4f} to {math.ceil(figure.high * 1e4 - 1e-9) / 1e4:.4f})"


class _Session:
    """Asks until the estimate is tight, nothing is left, or the person has had enough."""

    def __init__(self, survey: Survey, until: float, most: int, what: str) -> None:
        self.survey, self.until, self.most, self.what = survey, until, most, what
        self.answered: list[tuple[Asked, int]] = []
        self.width = max(min(shutil.get_terminal_size((80, 24)).columns, 120), NARROWEST)

    def ask(self) -> None:
        again: Asked | None = None
        self._say(
            "Fields: = same, ~ alike, x different. Precision and recall are of the run as it is, of scored pairs:"
        )
        self._say(_standing(self.survey))
        while True:
            if len(self.answered) >= self.most:
                return self._end(f"{self.most:,} questions are answered, as many as --max allows.")
            if again is None and self.survey.tight(self.until):
                return self._end(f"The estimate is as tight as asked: precision and recall to ±{self.until:g}.")
            asked = again or self.survey.next()
            if asked is None:
                return self._end("Nothing is left to ask: every open pair of this run is answered.")
            again = None
            self._show(asked)
            key = self._key()
            if key == "q":
                return self._end("Stopped.")
            if key == "b":
                again = self._back() or asked
            elif not self._kept(asked, key):
                again = asked

    def _key(self) -> str:
        self._say("same person?  y yes  n no  u unsure  b back  q quit", bold=True)
        while True:
            key = click.getchar().lower()
            if key in ("\x04", "\x1b", ""):  # Ctrl-D, Escape, end of input
                return "q"
            if key == "\x03":
                raise KeyboardInterrupt
            if key in "ynubq":
                return key

    def _kept(self, asked: Asked, key: str) -> bool:
        """Store an answer; False where the person thinks again."""
        answer: Any = KEYS[key]
        if answer != "unsure" and self.survey.surprises(asked, answer == "same"):
            self._say(f"Everything else speaks against it: {key} again to keep it, any other key to look.")
            if click.getchar().lower() != key:
                return False
        try:
            self.answered.append((asked, _store(self.survey, asked, answer)))
            self.survey.hear()
        except UsageError as error:
            self.survey.passed.add(self._rids(asked))
            self.survey.hear()
            self._say(f"Not stored, going on: {error}")
            return True
        self._say(f"{answer}; {len(self.answered):,} answered")
        self._say(_standing(self.survey))
        return True

    def _back(self) -> Asked | None:
        """Undo the last answer of this session; its question."""
        from resolver.mpi import labels, undo

        if not self.answered:
            self._say("There is no answer of this session to take back.")
            return None
        asked, event = self.answered[-1]
        try:
            labels.put(self.survey.index, "taken back", lambda change: undo.undo(change, event))
        except UsageError as error:
            self._say(f"It can't be taken back: {error}")
            return None
        self.answered.pop()
        self.survey.hear()
        self._say("Taken back.")
        return asked

    def _rids(self, asked: Asked) -> tuple[int, int]:
        one, other = sorted(self.survey.run.rid(record, "A record") for record in (asked.left, asked.right))
        return one, other

    def _end(self, why: str) -> None:
        self._say("")
        self._say(why, bold=True)
        self._say(_standing(self.survey))
        if self.answered:
            stored, again = amounts.many(len(self.answered), "answer"), shlex.quote(self.what)
            self._say(f"{stored} stored. The next run uses them: resolver run {again}")

    def _show(self, asked: Asked) -> None:
        from resolver.label import sides

        shown = sides.lay(self.survey.run, asked.left, asked.right)
        side = (self.width - LABEL - 4) // 2
        self._say("")
        self._say(f"{'':{LABEL}}  {_fit(shown.left, side)}  {_cut(shown.right, side)}", bold=True)
        for row in shown.rows:
            self._row(row, side)
        self._histories(shown, side)

    def _row(self, row: Row, side: int) -> None:
        mark = MARKS[row.state]
        left, right = (
            self._marked(text, spans, side, row.state)
            for text, spans in zip((row.left, row.right), row.differing, strict=True)
        )
        click.echo(f"{_fit(row.about, LABEL - 1)}{mark}  {left}  {right}".rstrip())

    def _marked(self, text: str, spans: tuple[tuple[int, int], ...], side: int, state: str) -> str:
        """A value cut to its column; what differs stands out."""
        cut = _fit(text, side)
        if state in ("same", "missing"):
            return click.style(cut, dim=True) if state == "missing" else cut
        if state == "differs":
            return click.style(cut, fg="red")
        result, at = [], 0
        for begin, end in spans:
            begin, end = min(begin, side), min(end, side)
            result += [cut[at:begin], click.style(cut[begin:end], fg="yellow", bold=True) if end > begin else ""]
            at = end
        return "".join(result) + cut[at:]

    def _histories(self, shown: Sides, side: int) -> None:
        for about, left, right, both in shown.histories:
            if len(left) <= 6 and len(right) <= 6:  # counts fit beside what both have
                click.echo(_cut(f"{_fit(about, LABEL)}  {left} and {right}; {both}", self.width))
            else:
                for head, text in ((about, f"left:  {left}"), ("", f"right: {right}"), ("", both)):
                    if text:
                        click.echo(_cut(f"{_fit(head, LABEL)}  {text}", self.width))

    def _say(self, text: str, bold: bool = False) -> None:
        click.echo(click.style(text, bold=True) if bold else text)


def _fit(text: str, width: int) -> str:
    return _cut(text, width).ljust(width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
