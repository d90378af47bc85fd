"""Tables as files and pictures: nothing lost, nothing broken by special characters, one page that needs no other."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from rich.console import Console

from snnhll.cli.main import main
from snnhll.reports import style
from snnhll.reports.figures import draw
from snnhll.reports.formats import _tex, to_csv, to_html, to_markdown, to_rich, to_tex
from snnhll.reports.html import page
from snnhll.reports.tables import Table, TableRow, of_plan, of_runs
from snnhll.sweeps import definition
from snnhll.sweeps.jobs import Plan, plan
from snnhll.sweeps.noise import keep_noise

PICTURES = ["bars", "curves", "layers", "rates", "cost"]

Finish = Callable[..., Path]


@pytest.fixture
def table(sweep: Plan, finish: Finish) -> Table:
    """`pred` complete, `sim` with two of three seeds and one failed, `contrast` not begun."""
    for job, accuracy in zip(sweep.jobs[:5], (0.91, 0.93, 0.92, 0.80, 0.83), strict=True):
        finish(job, accuracy)
    finish(sweep.jobs[5], None, status="failed", error="50% of <it> broke & | died_")
    return of_plan(sweep)


def test_markdown_has_one_line_a_row_with_as_many_cells_as_headings(table: Table) -> None:
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "92.00 ± 1.00 (n=3)" in lines[2]
    assert "81.50 ± 2.12 (2/3 seeds, failed)" in lines[3]


def test_the_command_of_a_table_runs_its_sweep_again(table: Table, sweep: Plan) -> None:
    made_by = f"snnhll sweep {sweep.sweep.path} tracking=none trainer.epochs=3"
    assert f"`{made_by}`" in to_markdown(table)
    assert f"<code>{made_by}</code>" in to_html(table)
    assert definition.read(sweep.sweep.called) == sweep.sweep
    assert definition.read("table_3_5").called == "table_3_5"


def test_csv_keeps_every_number_exactly(table: Table) -> None:
    pred, sim, _, quoted = csv.DictReader(io.StringIO(to_csv(table)))
    assert float(pred["mean"]) == table.rows[0].mean
    assert float(sim["std"]) == table.rows[1].std
    assert (sim["status"], sim["n"], sim["n_wanted"]) == ("failed", "2", "3")
    assert (quoted["published"], quoted["mean"], pred["about network"]) == ("95.25", "", "MLP")


def test_latex_escapes_what_latex_would_read_as_commands(table: Table) -> None:
    text = to_tex(table)
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert text.count("\\\\\n") == 1 + len(table.rows)
    for line in body:
        assert not re.search(r"(?<!\\)[%#_]", line.replace("table_", "").replace("study", "")), line
    headings = next(line for line in body if line.strip().startswith("row &"))
    assert all(
        len(re.findall(r"(?<!\\)&", line)) == len(re.findall(r"(?<!\\)&", headings))
        for line in body
        if line.endswith(r"\\")
    )
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")


def test_the_terminal_shows_the_marks(table: Table) -> None:
    console = Console(file=io.StringIO(), width=250)
    console.print(to_rich(table))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "92.00 ± 1.00 (n=3)" in shown
    assert "2/3 seeds, failed" in shown
    assert "50% of <it> broke & | died_" in shown


class Page(HTMLParser):
    """Collects the tags that are open, the cells and whatever a page would fetch."""

    VOID = ("meta", "br", "img", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v and not v.startswith("#")]
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


def test_the_page_is_whole_and_fetches_nothing(table: Table) -> None:
    text, found = page([table]), Page()
    found.feed(text)
    found.close()
    assert (found.open, found.fetched) == ([], [])
    assert "92.00 ± 1.00 (n=3)" in found.cells
    assert "A & B 2020" in found.cells
    assert text.count("<svg") == len(draw(table)) == 5
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_pictures_show_what_they_should(table: Table) -> None:
    pictures = draw(table)
    assert set(pictures) == {"bars", "curves", "layers", "rates", "cost"}
    bars = pictures["bars"].axes[0]
    widths = [patch.get_x() + patch.get_width() for patch in bars.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([92.0, 81.5])
    published = sorted(line.get_xdata()[0] for line in bars.lines if line.get_marker() == "D")  # type: ignore[index]
    assert published == [80.5, 90.0, 95.25]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == ["pred", "sim", "quoted"]
    curves = {line.get_label(): list(line.get_ydata()) for line in pictures["curves"].axes[0].lines}  # type: ignore[arg-type]
    assert curves["pred"] == pytest.approx([72.0, 82.0, 92.0])
    layers = {line.get_label(): list(line.get_ydata()) for line in pictures["layers"].axes[0].lines}  # type: ignore[arg-type]
    assert layers["sim"] == pytest.approx([50.0, 60.0, 81.5])


def test_rows_on_the_same_runs_are_one_curve_named_by_what_they_share(tmp_path: Path, finish: Finish) -> None:
    file = tmp_path / "study.yaml"
    lines = "".join(
        f"  - {{name: 'digits, {noise}, pred', overrides: [loss=pred], noise: [noise={noise}]}}\n"
        for noise in ("gaussian", "blur")
    )
    file.write_text(f"metric: accuracy_drop\nseeds: 1\nrows:\n{lines}")
    study = plan(definition.read(str(file)), [f"output_dir={tmp_path / 'out'}"])
    run = finish(study.jobs[0], 0.9)
    for noise in ("gaussian", "blur"):
        keep_noise(run, [f"noise={noise}"], {"test_accuracy": 0.5})
    curves = draw(of_plan(study))["curves"].axes[0]
    assert curves.get_legend_handles_labels()[1] == ["digits, pred"]


def test_the_cost_figure_tells_local_rules_from_global_ones(sweep: Plan, finish: Finish) -> None:
    """By what their classes say; a rule of the user's own that is not installed here is called neither."""
    targets = {
        "local": "snnhll.rules.local.LocalRule",
        "decolle": "snnhll.rules.decolle.DECOLLERule",
        "hebb": "snnhll.rules.hebb.HebbRule",
        "bptt": "snnhll.rules.bptt.BPTTRule",
        "mine": "absent_package.MyRule",
    }
    rules = [{"name": name, "_target_": target} for name, target in targets.items()]
    own = {"trust": ["absent_package"]}
    jobs = [
        replace(job, config=job.config | own | {"rule": rule}) for job, rule in zip(sweep.jobs, rules, strict=False)
    ]
    folders = [finish(job, 0.9) for job in jobs]
    (legend,) = draw(of_runs(folders, "test_accuracy", ["rule.name"]))["cost"].legends
    names = [text.get_text().removeprefix("rule.name=") for text in legend.get_texts()]
    assert names == ["local", "decolle", "hebb", "bptt (global)", "mine (unknown)"]
    faces = [handle.get_markerfacecolor() for handle in legend.legend_handles]  # type: ignore[union-attr]
    assert [face == "white" for face in faces] == [False, False, False, True, True]


@pytest.mark.parametrize("name", PICTURES)
def test_a_long_title_is_wrapped_into_the_figure(table: Table, name: str) -> None:
    """Also where the axes begin far right, beside long names."""
    table.title = "A TITLE, 32C5-P2-64C5-P2-FC512-FC10, T 4: LOCAL LOSSES THAT are long, " * 2
    table.rows[0].name = "a name of forty-four letters, as some of ours"
    table.rows[0].published = 95.0
    picture = draw(table)[name]
    (title,) = picture.findobj(lambda artist: isinstance(artist, Text) and artist.get_text().startswith("A TITLE"))
    picture.canvas.draw()
    box = title.get_window_extent()
    assert "\n" in title.get_text()
    assert 0 <= box.x0 < box.x1 <= picture.bbox.width
    assert box.y1 <= picture.bbox.height


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", PICTURES)
def test_long_names_stay_readable_and_inside_the_figure(table: Table, name: str) -> None:
    keys = ("encoding", "loss", "neuron", "optimizer", "rule", "schedule", "surrogate")
    names = [", ".join(f"{key}.name=option_{i}" for key in keys) for i in range(10)]
    run = table.rows[0].runs[0]
    table.rows = [
        replace(table.rows[0], name=n, runs=[replace(run, result=replace(run.result, run_dir=n))]) for n in names
    ]
    picture = draw(table)[name]
    picture.canvas.draw()
    panel = picture.axes[0]
    texts = [text for legend in picture.legends for text in legend.get_texts()]
    texts = panel.get_yticklabels() if name == "bars" else texts
    assert [text.get_text().replace("\n", " ") for text in texts] == names
    boxes = [text.get_window_extent() for text in texts]
    width, height = picture.bbox.size
    assert all(0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height for box in boxes)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert min(panel.bbox.size) > 2 * picture.dpi


@pytest.mark.parametrize(("distinct", "shortened"), [("first", True), ("fortieth", False)])
def test_the_middle_of_a_very_long_name_is_left_out_unless_it_tells_names_apart(distinct: str, shortened: bool) -> None:
    words = ["first", *(f"word{i}" for i in range(80)), "last"]
    words[40] = "fortieth"
    names = [" ".join(words), " ".join(words).replace(distinct, "other")]
    texts = style.labels(names)
    assert [len(text.split("\n")) == style.NAME_LINES for text in texts] == [shortened] * 2
    assert len(set(texts)) == 2
    assert [text.endswith("last") for text in texts] == [True] * 2
    assert [" …\n" in text for text in texts] == [shortened] * 2


def test_a_table_without_runs_shows_what_was_published(sweep: Plan) -> None:
    assert set(draw(of_plan(sweep))) == {"bars"}


def test_out_and_html_write_every_format_and_figure(table: Table, sweep: Plan, tmp_path: Path) -> None:
    out = tmp_path / "report"
    with pytest.raises(SystemExit) as end:
        main(["report", str(sweep.sweep.path), *sweep.overrides, "--out", str(out), "--html"])
    assert end.value.code == 0
    figures = {
        f"study_{name}.{kind}" for name in ("bars", "curves", "layers", "rates", "cost") for kind in ("svg", "png")
    }
    texts = {f"study.{kind}" for kind in ("md", "csv", "tex", "json")}
    assert {path.name for path in out.iterdir()} == figures | texts | {"report.html"}
    for path in out.glob("*.svg"):
        ElementTree.parse(path)
    for path in out.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_bars_of_negative_values_are_as_long_as_their_values(sweep: Plan) -> None:
    """Noise may help: then accuracy_drop is below 0."""
    table = of_plan(sweep)
    rows = [TableRow(str(value), n_wanted=1, values={0: value}) for value in (2.2, -1.1, -3.25)]
    for shown in (rows, rows[1:]):
        panel = draw(replace(table, rows=shown))["bars"].axes[0]
        low, high = panel.get_xlim()
        lengths = [bar.get_width() for bar in panel.patches if isinstance(bar, Rectangle)]
        assert lengths == pytest.approx([row.mean for row in shown])
        assert low < -3.25
        assert high >= max(0, *(row.mean for row in shown))


def test_every_letter_of_the_shipped_sweeps_is_one_that_latex_knows() -> None:
    for name in definition.names():
        sweep = definition.read(name)
        for text in (sweep.title, *(row.name for row in sweep.rows)):
            assert _tex(text).isascii(), text
