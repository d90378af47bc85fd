"""Tables of sweeps and of any runs: what is averaged, what is marked, what is left out."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from snnhll.cli.main import main
from snnhll.errors import UserError
from snnhll.reports.formats import columns, ours
from snnhll.reports.tables import TableRow, of_plan, of_runs
from snnhll.sweeps import definition
from snnhll.sweeps.jobs import Plan, plan

Finish = Callable[..., Path]
PRED, SIM, CONTRAST = (0.91, 0.93, 0.92), (0.80, 0.83, 0.81), (0.7, 0.75, 0.8)


def rows_of(sweep: Plan) -> dict[str, TableRow]:
    return {row.name: row for row in of_plan(sweep).rows}


def fill(sweep: Plan, finish: Finish, row: str, accuracies: tuple[float, ...]) -> None:
    jobs = [job for job in sweep.jobs if job.row.name == row]
    for job, accuracy in zip(jobs, accuracies, strict=False):
        finish(job, accuracy)


def test_a_complete_row_is_the_mean_and_sample_std_over_its_seeds_in_percent(sweep: Plan, finish: Finish) -> None:
    fill(sweep, finish, "pred", PRED)
    row = rows_of(sweep)["pred"]
    assert (row.status, row.n, row.n_wanted) == ("finished", 3, 3)
    assert row.mean == pytest.approx(92.0)
    assert row.std == pytest.approx(100 * statistics.stdev(PRED))
    assert row.difference == pytest.approx(2.0)
    assert row.wall_seconds == pytest.approx(101.0)
    assert row.peak_memory_bytes == 2**20 * 202
    assert (row.epochs, row.commit) == (3, "0123456789ab")
    assert row.details["test accuracy in %, epoch best on validation"] == pytest.approx({0: 92.0, 1: 94.0, 2: 93.0})
    assert row.details["nJ an image"] == {0: 90.0, 1: 91.0, 2: 92.0}


def test_an_unfinished_row_is_never_shown_as_a_whole_one(sweep: Plan, finish: Finish) -> None:
    fill(sweep, finish, "pred", PRED)
    fill(sweep, finish, "sim", SIM[:2])
    finish(sweep.jobs[5], None, status="running")
    finish(sweep.jobs[6], 0.99)
    finish(sweep.jobs[7], None, status="failed", error="it broke")
    table = of_plan(sweep)
    rows = {row.name: row for row in table.rows}
    assert {name: row.status for name, row in rows.items()} == {
        "pred": "finished",
        "sim": "2/3 seeds",
        "contrast": "failed",
        "quoted": "published only",
    }
    assert ours(table, rows["pred"]) == "92.00 ± 1.00 (n=3)"
    assert ours(table, rows["sim"]) == "81.50 ± 2.12 (2/3 seeds)"
    assert ours(table, rows["contrast"]) == "99.00 (1/3 seeds, failed)"
    assert ours(table, rows["quoted"]) == "not run here"
    assert (rows["sim"].difference, rows["contrast"].best, rows["sim"].p) == (None, False, None)
    assert any("contrast, seed 1: it broke" in note for note in table.notes)


def test_a_row_that_only_failed_and_one_that_has_not_begun(sweep: Plan, finish: Finish) -> None:
    finish(sweep.jobs[0], None, status="failed", error="it broke")
    table = of_plan(sweep)
    assert [ours(table, row) for row in table.rows] == ["failed", "0/3 seeds", "0/3 seeds", "not run here"]


def test_the_best_complete_row_is_marked_and_the_others_tested_against_it(sweep: Plan, finish: Finish) -> None:
    fill(sweep, finish, "pred", PRED)
    fill(sweep, finish, "sim", SIM)
    fill(sweep, finish, "contrast", CONTRAST)
    rows = rows_of(sweep)
    assert {name for name, row in rows.items() if row.best} == {"pred"}
    assert rows["pred"].p is None
    p_sim, p_contrast = (stats.ttest_rel(values, PRED).pvalue for values in (SIM, CONTRAST))
    assert p_sim < p_contrast
    assert rows["sim"].p == pytest.approx(2 * p_sim)  # of two comparisons, the stronger one counts twice
    assert rows["contrast"].p == pytest.approx(max(2 * p_sim, p_contrast))


def test_runs_on_other_data_than_the_published_ones_give_no_difference_and_say_so(
    tmp_path: Path, finish: Finish
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("data: mnist\nseeds: 1\nrows:\n  - {name: a, overrides: [loss=pred], published: 97.0}\n")
    small = plan(definition.read(str(file)), [f"output_dir={tmp_path}", "scale=smoke"])
    finish(small.jobs[0], 0.9)
    table = of_plan(small)
    assert table.rows[0].difference is None
    assert table.rows[0].published == 97.0
    assert "digits" in table.caveat
    assert any("digits" in note for note in table.notes)


def test_smaller_runs_than_the_published_ones_say_so(tmp_path: Path, finish: Finish) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("data: digits\nseeds: 1\nrows:\n  - {name: a, overrides: [loss=pred], published: 97.0}\n")
    for scale, said in (("cpu", True), ("paper", False)):
        study = plan(definition.read(str(file)), [f"output_dir={tmp_path / scale}", f"scale={scale}"])
        finish(study.jobs[0], 0.9)
        table = of_plan(study)
        assert ("scale=cpu" in table.caveat) == any("scale=cpu" in note for note in table.notes) == said


def test_lost_accuracy_is_clean_minus_noisy_and_less_is_better_within_a_task(tmp_path: Path, finish: Finish) -> None:
    file = tmp_path / "study.yaml"
    drops = {
        "a": ("gaussian", 0.9, 0.7),
        "b": ("gaussian", 0.8, 0.75),
        "c": ("blur", 0.9, 0.88),
        "d": ("blur", 0.9, 0.5),
    }
    lines = "".join(
        f"  - {{name: {name}, overrides: [loss={loss}], noise: [noise={noise}]}}\n"
        for (name, (noise, _, _)), loss in zip(drops.items(), ("pred", "sim", "contrast", "pred_sim"), strict=True)
    )
    file.write_text(f"metric: accuracy_drop\nseeds: 1\nrows:\n{lines}")
    study = plan(definition.read(str(file)), [f"output_dir={tmp_path / 'out'}"])
    assert all(job.state() == "waiting" for job in study.jobs)
    for job, (_, clean, noisy) in zip(study.jobs, drops.values(), strict=True):
        finish(job, clean)
        assert job.state() == "interrupted"
        finish(job, clean, noisy=noisy)
        assert job.state() == "finished"
    table = of_plan(study)
    assert [row.mean for row in table.rows] == pytest.approx([20.0, 5.0, 2.0, 40.0])
    assert [row.best for row in table.rows] == [False, True, True, False]
    assert columns(table)["clean"] == ["90.00", "80.00", "90.00", "90.00"]
    assert columns(table)["noisy"] == ["70.00", "75.00", "88.00", "50.00"]


def test_another_metric_hides_published_figures_of_something_else(sweep: Plan, finish: Finish) -> None:
    fill(sweep, finish, "pred", PRED)
    seconds = of_plan(sweep, "wall_seconds").rows[0]
    assert (seconds.mean, seconds.published) == (pytest.approx(101.0), None)
    validated = of_plan(sweep, "test_accuracy_best_val").rows[0]
    assert (validated.mean, validated.published) == (pytest.approx(93.0), 90.0)
    with pytest.raises(UserError, match="Did you mean 'test_accuracy'"):
        of_plan(sweep, "test_acuracy")


def test_published_test_accuracies_stand_beside_test_accuracies_alone(sweep: Plan, finish: Finish) -> None:
    for job, accuracy in zip(sweep.jobs[:3], PRED, strict=True):
        finish(job, accuracy, train_accuracy=0.99, val_accuracy=0.95)
    for metric in ("train_accuracy", "val_accuracy", "accuracy_drop"):
        table = of_plan(sweep, metric)
        assert [(row.published, row.difference) for row in table.rows] == [(None, None)] * 4, metric
        assert not any("published" in heading for heading in columns(table))


@pytest.mark.parametrize(
    ("metric", "where"),
    [
        ("test_accuracy", "; last epoch, on the test images."),
        ("test_accuracy_best_val", "; the epoch best on validation, on the test images."),
        ("val_accuracy", "; last epoch, on the validation images."),
        ("train_accuracy", "; last epoch, on the training images while learning from them."),
        ("energy_nj_per_image", "; last epoch, on the test images."),
        ("wall_seconds", "."),
        ("peak_memory_bytes", "."),
    ],
)
def test_the_note_says_when_and_on_which_images_the_number_was_measured(
    metric: str, where: str, sweep: Plan, finish: Finish
) -> None:
    finish(sweep.jobs[0], 0.91, train_accuracy=0.99, val_accuracy=0.95)
    (note,) = [note for note in of_plan(sweep, metric).notes if note.startswith("Ours: ")]
    assert note == f"Ours: mean ± sample standard deviation over n seeds{where}"


def test_any_runs_are_compared_by_what_they_differ_in(sweep: Plan, finish: Finish) -> None:
    fill(sweep, finish, "pred", PRED)
    fill(sweep, finish, "sim", SIM)
    fill(sweep, finish, "contrast", CONTRAST[:2])
    folders = [job.folder.path for job in sweep.jobs if job.folder.path.exists()]
    table = of_runs(folders, "test_accuracy", [])
    assert [(row.name, row.n, row.n_wanted) for row in table.rows] == [
        ("loss.name=pred", 3, 3),
        ("loss.name=sim", 3, 3),
        ("loss.name=contrast", 2, 2),
    ]
    assert table.rows[0].best
    assert [row.p for row in table.rows] == [None, pytest.approx(stats.ttest_rel(SIM, PRED).pvalue), None]


@pytest.mark.parametrize(("rule", "name"), [("local", "pred"), ("bptt", "bptt")])
def test_runs_that_differ_in_nothing_are_named_by_what_learns(
    rule: str, name: str, sweep: Plan, finish: Finish
) -> None:
    folders = [
        finish(replace(job, config=job.config | {"rule": {"name": rule}}), accuracy)
        for job, accuracy in zip(sweep.jobs[:3], PRED, strict=True)
    ]
    (row,) = of_runs(folders, "test_accuracy", []).rows
    assert (row.name, row.n) == (f"digits, small, {name}", 3)


def test_a_group_that_mixes_other_settings_says_so_and_counts_every_run(sweep: Plan, finish: Finish) -> None:
    fill(sweep, finish, "pred", PRED)
    fill(sweep, finish, "sim", SIM)
    folders = [job.folder.path for job in sweep.jobs if job.folder.path.exists()]
    (row,) = of_runs(folders, "test_accuracy", ["trainer.steps"]).rows
    assert (row.name, row.n) == ("trainer.steps=10", 6)
    assert row.mean == pytest.approx(100 * statistics.fmean(PRED + SIM))
    table = of_runs(folders, "test_accuracy", ["trainer.steps"])
    assert any("differ in" in note and "loss.name" in note for note in table.notes)


@pytest.mark.parametrize(("seconds", "said"), [(7200.0, "2.0 h"), (20.0, "20 s")])
def test_effort_is_told_in_units_that_say_something(seconds: float, said: str, sweep: Plan, finish: Finish) -> None:
    finish(sweep.jobs[0], 0.9, wall_seconds=seconds)
    assert any(note.startswith(f"1 run, {said} in all, on ") for note in of_plan(sweep, "test_accuracy").notes)


def test_groups_and_folders_that_do_not_exist_are_mistakes(sweep: Plan, finish: Finish, tmp_path: Path) -> None:
    folder = finish(sweep.jobs[0], 0.9)
    with pytest.raises(UserError, match=r"trainer\.step: no such key.*Did you mean 'trainer\.steps'"):
        of_runs([folder], "test_accuracy", ["trainer.step"])
    with pytest.raises(UserError, match="no run here"):
        of_runs([tmp_path], "test_accuracy", [])


def test_json_on_standard_output_keeps_the_contract(
    sweep: Plan, finish: Finish, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(sweep, finish, "pred", PRED)
    finish(sweep.jobs[3], 0.8)
    with pytest.raises(SystemExit) as end:
        main(["report", str(sweep.sweep.path), *sweep.overrides, "--format", "json"])
    assert end.value.code == 0
    table = json.loads(capsys.readouterr().out)
    assert list(table) == ["table", "commit", "rows"]
    assert (table["table"], table["commit"]) == ("study", "0123456789ab")
    contract = [
        "name",
        "published",
        "reference",
        "mean",
        "std",
        "n",
        "n_wanted",
        "status",
        "epochs",
        "wall_seconds",
        "peak_memory_bytes",
    ]
    assert all(list(row) == contract for row in table["rows"])
    pred, sim, _, quoted = table["rows"]
    assert pred == {
        "name": "pred",
        "published": 90.0,
        "reference": "A & B 2020",
        "mean": pytest.approx(92.0),
        "std": pytest.approx(1.0),
        "n": 3,
        "n_wanted": 3,
        "status": "finished",
        "epochs": 3,
        "wall_seconds": pytest.approx(101.0),
        "peak_memory_bytes": 2**20 * 202,
    }
    assert (sim["n"], sim["n_wanted"], sim["std"], sim["status"]) == (1, 3, None, "1/3 seeds")
    assert (quoted["published"], quoted["mean"], quoted["n_wanted"]) == (95.25, None, 0)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "table_3_5"),
        (["table_3_5", "--format", "mdd"], "Did you mean 'md'"),
        (["table_3_5", "--fromat", "md"], "Did you mean '--format'"),
        (["table_3_5", "--out"], "--out: expected a value"),
        (["tabel_3_5"], "Did you mean 'table_3_5'"),
        (["table_3_5", "--metric", "test_acc"], "Did you mean 'test_accuracy'"),
        (["table_3_5", "--group-by", "loss.name"], "--group-by"),
        (["nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert part in message
