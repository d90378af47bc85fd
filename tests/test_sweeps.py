"""Sweeps: files and their mistakes, jobs and their states, runs that are killed, held or fail, time left."""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig

from snnhll.cli import sweep as sweep_command
from snnhll.cli.main import main
from snnhll.config import conf_dir, identity
from snnhll.errors import UserError
from snnhll.reports.formats import as_json
from snnhll.reports.tables import of_plan
from snnhll.results import RunFolder
from snnhll.sweeps import definition, estimate, jobs, launch, memo, noise, runner
from snnhll.tracking.tracker import Tracker

TINY = [
    "data.limit=8",
    "trainer.epochs=2",
    "trainer.steps=2",
    "architecture.spec=4C3-P2-FCn",
    "tracking=none",
    "trainer.eval_batch_size=2000",
]
SWEEP = """
title: two losses
data: digits
seeds: 2
rows:
  - {name: pred, overrides: [loss=pred], published: 50.0, reference: someone}
  - {name: sim, overrides: [loss=sim]}
  - {name: quoted, published: 60.0, reference: someone else}
"""
BAD_NETWORK = "  - {name: too deep, overrides: [architecture.spec=4C3-P16-FCn]}\n"


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of a run are another test's concern, and most of a tiny run's time."""
    monkeypatch.setattr("snnhll.reports.run_pictures.draw_run", lambda *_: [])


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[[str], Path]:
    """A function from the text of a sweep to its file."""

    def write(text: str = SWEEP) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def planned(file: Path, out: Path, *overrides: str) -> jobs.Plan:
    return jobs.plan(definition.read(str(file)), [*TINY, f"output_dir={out}", *overrides])


@functools.cache
def shipped(name: str, *overrides: str) -> jobs.Plan:
    """Return the plan of a shipped sweep; composing many jobs takes seconds."""
    return jobs.plan(definition.read(name), overrides)


def outcome(plan: jobs.Plan) -> dict[str, Any]:
    """Return the table of a plan without what a clock or an allocator measured, and the state of the checkout."""
    table = as_json(of_plan(plan))
    del table["commit"]
    for row in table["rows"]:
        del row["wall_seconds"], row["peak_memory_bytes"]
    return table


def test_a_sweep_runs_every_row_and_seed_and_repeats_nothing(sweep_file: Any, tmp_path: Path) -> None:
    plan = planned(sweep_file(), tmp_path / "out")
    assert [(job.row.name, job.seed) for job in plan.jobs] == [("pred", 0), ("pred", 1), ("sim", 0), ("sim", 1)]
    assert {job.state() for job in plan.jobs} == {"waiting"}
    assert runner.work(plan.jobs, "mine", runner.Announcer()) == {}
    assert {job.state() for job in plan.jobs} == {"finished"}
    for job in plan.jobs:
        result = job.folder.result()
        assert result is not None
        assert result.config_hash == identity(job.config)
        assert (result.loss, result.seed) == (job.config["loss"]["name"], job.seed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert runner.work(plan.jobs, "mine", runner.Announcer()) == {}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_the_jobs_are_the_runs_that_train_would_make(sweep_file: Any, tmp_path: Path) -> None:
    from snnhll.config import compose, run_name

    job = planned(sweep_file(), tmp_path).jobs[1]
    assert job.folder.path == tmp_path / run_name(compose(job.overrides))


def test_a_sweep_killed_twice_ends_with_the_table_of_one_never_killed(sweep_file: Any, tmp_path: Path) -> None:
    file, chance = sweep_file(SWEEP.replace("seeds: 2", "seeds: 1")), os.urandom(4).hex()
    draw = random.Random(chance)
    whole, broken = (planned(file, tmp_path / name, "trainer.epochs=6") for name in ("whole", "broken"))
    runner.work(whole.jobs, "mine", runner.Announcer())
    program = (
        "import sys, torch, snnhll.reports.run_pictures, snnhll.cli.sweep; torch.set_num_threads(1)\n"
        "snnhll.reports.run_pictures.draw_run = lambda *_: []; snnhll.cli.sweep.measured_speed = lambda _: None\n"
        "from snnhll.cli.main import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "sweep", str(file), *TINY, "trainer.epochs=6"]
    command.append(f"output_dir={tmp_path / 'broken'}")
    kills = sorted(draw.sample(range(1, 10), 2))  # after that many epochs of the twelve
    for epochs in kills:
        worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while epochs_done(broken) < epochs and worker.poll() is None:
            time.sleep(draw.uniform(0.001, 0.02))
        worker.send_signal(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL, f"chance {chance}: the sweep ended before it was killed at {epochs}"
    assert {job.state() for job in broken.jobs} != {"finished"}
    finished = [job.folder.path / "result.json" for job in broken.jobs if job.state() == "finished"]
    kept = {path: path.read_bytes() for path in finished}
    assert runner.work(broken.jobs, "mine", runner.Announcer()) == {}
    assert {path: path.read_bytes() for path in finished} == kept
    assert outcome(broken) == outcome(whole), f"chance {chance}, killed after {kills} epochs"


def epochs_done(plan: jobs.Plan) -> int:
    return sum(len(job.folder.metrics()) for job in plan.jobs)


def test_a_failed_job_stops_no_other_and_says_why(
    sweep_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = sweep_file(SWEEP.replace("rows:\n", "rows:\n" + BAD_NETWORK)), tmp_path / "out"
    tiny = [o for o in TINY if not o.startswith("architecture.spec")]
    arguments = ["sweep", str(file), *tiny, f"output_dir={out}"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 1
    printed = capsys.readouterr()
    assert "too deep seed 0" in printed.err
    assert "layer 2 (P16)" in printed.err
    with pytest.raises(SystemExit):
        main(["report", str(file), f"output_dir={out}", "--format", "json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "too deep": "failed",
        "pred": "finished",
        "sim": "finished",
        "quoted": "published only",
    }
    failed = [p.parent for p in out.glob("*/result.json") if json.loads(p.read_text())["status"] == "failed"]
    assert len(failed) == 2
    assert all("layer 2 (P16)" in (folder / "error.txt").read_text() for folder in failed)


def test_a_row_that_quotes_nothing_runs_even_without_overrides(sweep_file: Any) -> None:
    rows = (
        "rows: [{name: plain}, {name: noisy, noise: [noise=gaussian], published: 1.0}, {name: quoted, published: 60}]\n"
    )
    sweep = definition.read(str(sweep_file("data: digits\noverrides: [loss=pred]\n" + rows)))
    assert [row.overrides for row in sweep.rows] == [[], [], None]


def test_a_run_that_another_worker_holds_is_left_and_taken_up_when_that_worker_ends(
    sweep_file: Any, tmp_path: Path
) -> None:
    plan = planned(sweep_file(), tmp_path / "out", "seed=0")
    held, free = plan.jobs
    lock = RunFolder.create(held.folder.path).lock()
    lock.__enter__()
    order: list[str] = []

    class Order(runner.Announcer):
        def begins(self, job: Any, place: int, total: int) -> Tracker:
            order.append(f"{place}/{total} {job.label}")
            return Tracker()

        def waits(self, jobs: Any) -> None:
            order.append(f"waits for {[job.label for job in jobs]}, {free.label} {free.state()}")

    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            lock.__exit__(None, None, None)

    assert held.state() == "running"
    failures = runner.work(plan.jobs, "mine", Order(), pause)
    assert failures == {}
    waiting = "waits for ['pred seed 0'], sim seed 0 finished"
    assert order == ["1/2 sim seed 0", waiting, waiting, "2/2 pred seed 0"]
    assert held.state() == "finished"


NOISY = "metric: accuracy_drop\nseeds: 1\nrows:\n" + "".join(
    f"  - {{name: {name}, overrides: [loss=pred], noise: [noise=gaussian, noise.std={std}]}}\n"
    for name, std in (("weak", 0.1), ("strong", 0.6))
)


def test_a_launched_run_is_evaluated_under_the_noise_of_every_row_that_shares_it(
    sweep_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(sweep_file(NOISY), tmp_path / "out")
    tasks = launch.tasks_of(plan.jobs)
    assert len(tasks) == 1
    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(job=SimpleNamespace(num=0)))
    launch.perform("mine", tasks, {"threads": 1})
    assert [job.state() for job in plan.jobs] == ["finished", "finished"]


def test_rows_that_share_a_run_train_it_once_even_when_repeated_by_force(sweep_file: Any, tmp_path: Path) -> None:
    file = sweep_file(NOISY)
    begun: list[str] = []

    class Epochs(runner.Tracker):
        def start(self, config: Any, run_dir: Path) -> None:
            begun.append(run_dir.name)

    class Heard(runner.Announcer):
        def begins(self, job: jobs.Job, place: int, total: int) -> runner.Tracker:
            return Epochs()

    for force, trained in (("false", 1), ("false", 0), ("true", 1)):
        begun.clear()
        plan = planned(file, tmp_path / "out", f"force={force}")
        assert runner.work(plan.jobs, "mine", Heard()) == {}
        assert len(begun) == trained
    table = of_plan(plan)
    run = plan.jobs[0].folder
    result = run.result()
    assert result is not None
    assert result.test_accuracy is not None
    for row, std in zip(table.rows, ("0.1", "0.6"), strict=True):
        noisy = noise.noisy_accuracy(run.path, ["noise=gaussian", f"noise.std={std}"])
        assert noisy is not None
        assert row.values[0] == pytest.approx(100 * (result.test_accuracy - noisy))
        assert row.details["noisy"][0] == pytest.approx(100 * noisy)


def test_accuracy_under_noise_is_measured_again_after_the_weights_changed(sweep_file: Any, tmp_path: Path) -> None:
    plan = planned(sweep_file(), tmp_path / "out", "seed=0")
    runner.work(plan.jobs[:1], "mine", runner.Announcer())
    run, blur = plan.jobs[0].folder.path, ["noise=blur"]
    assert noise.noisy_accuracy(run, blur) is None
    measured = noise.measure_noise(run, blur, plan.jobs[0].config)
    assert noise.noisy_accuracy(run, blur) == measured
    kept = shutil.copytree(run, tmp_path / "kept", ignore=shutil.ignore_patterns("*.pt"))  # as an archive keeps it
    assert noise.noisy_accuracy(kept, blur) == measured
    result = plan.jobs[0].folder.result()
    assert result is not None
    result.wall_seconds = (result.wall_seconds or 0) + 1  # another training
    plan.jobs[0].folder.write_result(result)
    assert noise.noisy_accuracy(run, blur) is None


def test_noise_is_evaluated_where_the_job_runs(
    sweep_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(sweep_file(NOISY), tmp_path / "out", "seed=0", "device=cpu", "threads=1", "data.root=another place")
    asked: list[list[str]] = []

    def evaluations(run: Path, choices: list[list[str]], own: Any) -> list[dict[str, Any]]:
        asked.extend(choices)
        return [{"test_accuracy": 0.5, "layer_test_accuracy": [], "firing_rates": []}]

    monkeypatch.setattr("snnhll.evaluation.evaluations", evaluations)
    assert runner.work(plan.jobs[:1], "mine", runner.Announcer()) == {}
    assert asked == [[*plan.jobs[0].row.noise, "device=cpu", "threads=1", 'data.root="another place"']]


MISTAKES = {
    "rows:\n  - {name: a, overrides: [loss=pred_smi]}": ["row 1 (a)", "loss=pred_smi", "Did you mean"],
    "rows:\n  - {name: a}\n  - {name: b, overrides: [trainer.epoch=2]}": ["row 2 (b)", "trainer.epoch", "epochs"],
    "rows:\n  - {name: a, overrides: [optimizer.lr=fast]}": ["row 1 (a)", "optimizer.lr", "fast"],
    "rows:\n  - {name: a, overrides: [data.validation=2]}": ["row 1 (a)", "data.validation", "2"],
    "rows:\n  - {name: a, override: [loss=sim]}": ["row 1 (a)", "override", "Did you mean 'overrides'"],
    "rows:\n  - {name: a, overrides: loss=sim}": ["row 1 (a)", "overrides", "loss=sim"],
    "rows:\n  - {name: a, published: high}": ["row 1 (a)", "published", "high"],
    "rows:\n  - {name: a}\n  - {name: a}": ["row 2 (a)", "same name"],
    "rows:\n  - {overrides: [loss=sim]}": ["row 1", "name"],
    "rows: []": ["rows"],
    "rows: {a: 1}": ["rows"],
    "row:\n  - {name: a}": ["row", "Did you mean 'rows'"],
    "seeds: some\nrows:\n  - {name: a}": ["seeds", "some"],
    "seeds: [1, 1]\nrows:\n  - {name: a}": ["seeds", "[1, 1]"],
    "seeds: 0\nrows:\n  - {name: a}": ["seeds", "0"],
    "metric: speed\nrows:\n  - {name: a}": ["metric", "speed"],
    "metric: accuracy_drop\nrows:\n  - {name: a, overrides: [loss=sim]}": ["row 1 (a)", "noise"],
    "rows:\n  - {name: a, overrides: [], noise: [noise=gausian]}": ["row 1 (a)", "noise=gausian", "'gaussian'"],
    "rows:\n  - {name: a, overrides: [loss.weighting=gradnrom]}": ["row 1 (a)", "loss.weighting", "'gradnorm'"],
    "rows: [{name: a": ["YAML"],
    "just text": ["just text"],
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_sweep_file_is_one_line_that_names_file_row_and_mistake(
    text: str, sweep_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file(text)
    with pytest.raises(SystemExit) as end:
        main(["sweep", str(file), f"output_dir={tmp_path / 'out'}", "tracking=none"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in (str(file), *MISTAKES[text]):
        assert part in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["tabel_3_5"], ["tabel_3_5", "Did you mean 'table_3_5'"]),
        (["nowhere.yaml"], ["nowhere.yaml", "no such sweep file"]),
        (["table_3_2", "nothing"], ["nothing", "not a sweep"]),
        (["table_3_2", "--dryrun"], ["--dryrun", "Did you mean '--dry-run'"]),
        (["table_3_2", "seed=a"], ["seed=a", "whole numbers"]),
        (["table_3_2", "scale=tiny"], ["scale=tiny", "cpu"]),
        (["table_3_2", "launcher=joblob"], ["launcher=joblob", "joblib"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["sweep", *arguments])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert all(part in message for part in parts), message


def test_a_launcher_that_is_not_installed_is_one_line_that_says_what_to_install(
    sweep_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "conf"
    shutil.copytree(conf_dir(), copied)
    (copied / "launcher" / "nebula.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/launcher: nebula\n"
    )
    monkeypatch.setattr("snnhll.config.conf_dir", lambda: copied)
    file, out = sweep_file(), f"output_dir={tmp_path / 'out'}"
    for command in (["sweep", str(file)], ["sweep", str(file), "--dry-run"], ["-m", "seed=0,1"], ["train"]):
        with pytest.raises(SystemExit) as end:
            main([*command, *TINY, out, "launcher=nebula"])
        assert end.value.code == 2
        assert capsys.readouterr().err == "snnhll: launcher=nebula: not installed; pip install 'snnhll[nebula]'.\n"
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_states_and_runs_nothing(
    sweep_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = sweep_file(), tmp_path / "out"
    plan = planned(file, out)
    first, second, third, fourth = plan.jobs
    runner.work([first], "mine", runner.Announcer())
    shutil.copytree(first.folder.path, second.folder.path)
    stored = json.loads((second.folder.path / "result.json").read_text())
    (second.folder.path / "result.json").write_text(json.dumps(stored | {"status": "running"}))
    shutil.copytree(first.folder.path, third.folder.path)
    (third.folder.path / "result.json").write_text(json.dumps(stored | {"status": "failed", "error": "x"}))
    before = sorted(out.rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(["sweep", str(file), *TINY, f"output_dir={out}", "--dry-run"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:5]] == ["finished", "interrupted", "failed", "waiting"]
    assert "4 jobs: 1 finished, 1 interrupted, 1 failed, 1 waiting; about" in lines[5]
    assert sorted(out.rglob("*")) == before
    assert fourth.state() == "waiting"


def test_time_left_follows_runs_of_the_row_then_the_speed_of_the_network_then_a_measurement(
    sweep_file: Any, tmp_path: Path
) -> None:
    plan = planned(sweep_file(), tmp_path / "out", "data=mnist", "data.limit=100", "trainer.epochs=10")
    pred0, _, sim0, sim1 = plan.jobs
    asked: list[str] = []

    def speed(config: Any) -> float:
        asked.append(config["loss"]["name"])
        return 450.0

    # 10 epochs of 1000 images, a tenth of them held out, at 450 a second
    unmeasured = estimate.PICTURES + estimate.EVALUATION * 10 * 900 / 450
    assert estimate.seconds_left(plan.jobs) == [None] * 4
    assert estimate.seconds_left(plan.jobs, speed) == pytest.approx([unmeasured] * 4)
    assert asked == ["pred", "sim"]
    write_run(pred0, "finished", epochs=10, wall_seconds=80.0, speed=300.0)
    write_run(sim0, "running", epochs=4, wall_seconds=None, speed=900.0)
    whole_sim = estimate.PICTURES + estimate.EVALUATION * 10 * 900 / 900
    assert estimate.seconds_left(plan.jobs, speed) == pytest.approx([0.0, 80.0, 0.6 * whole_sim, whole_sim])
    assert estimate.seconds_left([sim1, sim1], speed) == pytest.approx([unmeasured, 0.0])
    asked.pop()
    assert asked == ["pred", "sim"]


def write_run(job: jobs.Job, status: str, epochs: int, wall_seconds: float | None, speed: float) -> None:
    from snnhll.experiment import _blank

    folder = RunFolder.create(job.folder.path)
    result = _blank(job.config, job.folder.path, job.overrides)
    result.status, result.wall_seconds = status, wall_seconds  # type: ignore[assignment]
    folder.write_result(result)
    (folder.path / "config.yaml").write_text("written: true\n")
    for epoch in range(epochs):
        folder.append_metrics({"epoch": epoch, "samples_per_second": speed})


def test_the_measured_speed_is_that_of_training(sweep_file: Any, tmp_path: Path) -> None:
    plan = planned(sweep_file(), tmp_path / "out", "seed=0", "trainer.epochs=4", "data.limit=100")
    speed = estimate.measured_speed(plan.jobs[0].config)
    runner.work(plan.jobs[:1], "mine", runner.Announcer())
    assert speed is not None
    assert 0.1 < speed / plan.jobs[0].folder.metrics()[-1]["samples_per_second"] < 10


def test_seeds_come_from_the_command_line_then_the_scale_then_the_file(sweep_file: Any, tmp_path: Path) -> None:
    file = sweep_file(SWEEP.replace("seeds: 2", "seeds: [5, 3, 8]"))
    assert planned(file, tmp_path).seeds == [5, 3, 8]
    assert planned(file, tmp_path, "scale=smoke").seeds == [5, 3]
    assert planned(file, tmp_path, "scale=smoke", "seed=7,9,11").seeds == [7, 9, 11]


def test_a_key_of_what_the_rows_choose_can_be_set(sweep_file: Any, tmp_path: Path) -> None:
    file = sweep_file("rows:\n  - {name: sparse, overrides: [rule=dfa]}\n")
    plan = planned(file, tmp_path, "scale=smoke", "rule.sparsity=0.5")
    assert [job.config["rule"]["sparsity"] for job in plan.jobs] == [0.5, 0.5]
    assert plan.scale == "smoke"


def test_codes_of_the_input_have_a_speed_of_their_own(sweep_file: Any, tmp_path: Path) -> None:
    rows = "".join(f"  - {{name: {code}, overrides: [encoding={code}]}}\n" for code in ("direct", "population"))
    speeds = {"direct": 900.0, "population": 90.0}
    plan = planned(sweep_file(f"rows:\n{rows}"), tmp_path, "seed=0")
    direct, population = estimate.seconds_left(plan.jobs, lambda config: speeds[config["encoding"]["name"]])
    assert direct is not None
    assert population is not None
    assert population - estimate.PICTURES == pytest.approx(10 * (direct - estimate.PICTURES))


def test_a_launcher_that_breaks_off_before_a_repetition_has_failed(
    sweep_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: Any) -> None:
        raise UserError("no workers")

    monkeypatch.setattr(sweep_command, "launch", breaks_off)
    file, out = sweep_file(), tmp_path / "out"
    for job in planned(file, out).jobs:
        write_run(job, "finished", epochs=1, wall_seconds=1.0, speed=1.0)
    assert sweep_command._launched(planned(file, out), []) == {}
    again = planned(file, out, "force=true")
    assert sweep_command._launched(again, []).keys() == {job.label for job in again.jobs}


AT_SCALE = {
    "paper": definition.names(),
    "cpu": ["table_3_3", "table_4_4"],
    "smoke": ["table_3_4"],  # reproduce-all runs every table at this scale
}


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for scale, names in AT_SCALE.items() for name in names])
def test_every_shipped_sweep_composes_and_checks_at_every_scale(name: str, scale: str) -> None:
    plan = shipped(name, f"scale={scale}", "seed=0")  # its seeds differ in nothing else
    jobs.check_jobs(plan)
    assert all(row.overrides is None or len(plan.of(row)) == 1 for row in plan.sweep.rows)
    data = {job.config["data"]["name"] for job in plan.jobs}
    wanted = {row.data or plan.sweep.data for row in plan.sweep.rows if row.overrides is not None}
    assert data == ({"digits"} & data if scale == "smoke" else wanted)


def test_paper_scale_is_the_setting_without_a_scale() -> None:
    with_scale, without = shipped("table_3_2", "scale=paper"), shipped("table_3_2")
    assert [job.folder.path for job in without.jobs] == [job.folder.path for job in with_scale.jobs]


def test_tables_share_the_runs_they_have_in_common() -> None:
    ablation, comparison = (shipped(name, "scale=paper") for name in ("table_3_5", "table_3_4"))
    assert {j.folder.path for j in ablation.jobs} & {j.folder.path for j in comparison.jobs} == {
        j.folder.path for j in comparison.jobs if j.config["architecture"]["name"] == "vgg8"
    }


def test_shipped_sweeps_quote_the_published_figures() -> None:
    published = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text())
    assert set(published) == set(definition.tables())
    for name, table in published.items():
        plan = shipped(name, "scale=paper")
        sweep = plan.sweep
        quoted = [row for row in sweep.rows if row.about.get("rule") != "hll"]  # those are ours alone
        for row, printed in zip(quoted, table["rows"], strict=True):
            assert row.published == printed.get("accuracy", printed.get("drop"))
            assert (row.data or sweep.data) == printed.get("data", table.get("data"))
            if "ref" in printed:
                assert (row.reference, row.overrides) == (printed["ref"], None)
            for key in ("rule", "encoding", "network", "T"):
                assert key not in printed or row.about.get(key, row.name) == printed[key]
            if "loss" in printed:
                weights = plan.of(row)[0].config["loss"]["weights"]
                assert {k: w for k, w in weights.items() if w} == printed["weights"]
            if "kernel" in printed:
                assert f"kernel={printed['kernel']}" in (row.overrides or [])
            if "values" in printed:
                assert list(row.about.values()) == printed["values"]


def test_every_quoted_row_runs_by_a_preset_or_says_why_not() -> None:
    """Rows of other people's work in tables 3-2 to 4-3; a row that two tables quote runs once."""
    published = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text())
    tables = ("table_3_2", "table_3_3", "table_3_4", "table_4_2", "table_4_3")
    quoted = {
        (published[table]["data"], row["accuracy"])
        for table in tables
        for row in published[table]["rows"]
        if "ref" in row
    }
    cited = definition.read("cited")
    assert {(row.data, row.published) for row in cited.rows} == quoted
    assert len(cited.rows) == len(quoted)
    presets = {f"experiment=cited/{path.stem}" for path in (conf_dir() / "experiment" / "cited").glob("*.yaml")}
    assert {override for row in cited.rows for override in row.overrides or []} == presets
    assert all(row.overrides is not None or row.about.get("why not") for row in cited.rows)


def test_a_report_knows_the_overrides_of_the_last_sweep(sweep_file: Any, tmp_path: Path) -> None:
    plan = planned(sweep_file(), tmp_path / "out", "loss.weights.pred=0.5")
    assert memo.recall(tmp_path / "out", plan.sweep) == []
    memo.remember(plan)
    assert memo.recall(tmp_path / "out", plan.sweep) == plan.overrides
    other = sweep_file(SWEEP).rename(tmp_path / "other.yaml")
    (tmp_path / "elsewhere").mkdir()
    namesake = other.rename(tmp_path / "elsewhere" / "mine.yaml")
    assert memo.recall(tmp_path / "out", definition.read(str(namesake))) == []


def test_each_gpu_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    def hold(end: Any) -> None:
        with launch.held_slot(2, tmp_path) as slot:
            end.send(slot)
            time.sleep(60)

    fork = multiprocessing.get_context("fork")  # a process that imports torch anew takes seconds
    ends = [fork.Pipe() for _ in range(2)]
    workers = [fork.Process(target=hold, args=(end,)) for _, end in ends]
    for worker in workers:
        worker.start()
    slots = [end.recv() for end, _ in ends]
    assert sorted(slots) == [0, 1]
    workers[0].kill()
    workers[0].join()
    with launch.held_slot(2, tmp_path) as slot:
        assert slot == slots[0]
    workers[1].kill()
    workers[1].join()


def test_the_sweep_file_of_the_documents_works(tmp_path: Path) -> None:
    document = (Path(__file__).parents[1] / "docs" / "sweeps.md").read_text()
    file = tmp_path / "mine.yaml"
    file.write_text(document.partition("```yaml\n")[2].partition("```")[0])
    plan = jobs.plan(definition.read(str(file)))
    jobs.check_jobs(plan)
    assert [(job.row.name, job.config["architecture"]["width"]) for job in plan.jobs[::3]] == [
        ("narrow", 0.5),
        ("wide", 2),
    ]


def test_a_name_that_is_no_sweep_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'table_4_5'"):
        definition.find("table_45")


def test_a_run_holds_a_gpu_only_where_nobody_chose_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    with launch.one_gpu("auto", tmp_path) as slot:  # no GPU here
        assert slot is None or torch.cuda.is_available()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    with launch.one_gpu("auto", tmp_path) as first, launch.one_gpu("auto", tmp_path) as second:
        assert (first, second) == (0, 1)
    with launch.one_gpu("cuda:1", tmp_path) as named:
        assert named is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with launch.one_gpu("auto", tmp_path) as given:
        assert given is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [("joblib", "joblib_launcher"), ("slurm_local", "submitit_launcher"), ("ray", "ray_launcher")],
)
def test_a_launcher_gives_the_table_of_the_basic_one(
    launcher: str, plugin: str, sweep_file: Any, tmp_path: Path
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}")
    file = sweep_file(SWEEP.replace("rows:\n", "rows:\n" + BAD_NETWORK))
    tiny = [o for o in TINY if not o.startswith("architecture.spec")]
    here = jobs.plan(definition.read(str(file)), [*tiny, f"output_dir={tmp_path / 'here'}"])
    there = jobs.plan(definition.read(str(file)), [*tiny, f"output_dir={tmp_path / 'there'}"])
    assert runner.work(here.jobs, "mine", runner.Announcer()).keys() == {"too deep seed 0", "too deep seed 1"}
    launch.launch(there.jobs, "mine", [f"launcher={launcher}"])
    assert outcome(there) == outcome(here)


@pytest.mark.slow
def test_two_sweeps_at_once_train_every_run_once(sweep_file: Any, tmp_path: Path) -> None:
    file = sweep_file()
    whole, shared = (planned(file, tmp_path / name) for name in ("whole", "shared"))
    program = "import sys; from snnhll.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "sweep", str(file), *TINY, f"output_dir={tmp_path / 'shared'}"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = "".join(worker.communicate()[0] for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0]
    trained = [line for line in printed.splitlines() if line.startswith("result ")]
    assert len(trained) == len(set(trained)) == len(shared.jobs)
    assert runner.work(whole.jobs, "mine", runner.Announcer()) == {}
    assert outcome(shared) == outcome(whole)


@pytest.mark.slow
def test_the_death_of_a_worker_leaves_its_run_to_the_same_command(sweep_file: Any, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    file, longer = sweep_file(), "trainer.epochs=12"
    whole, broken = (planned(file, tmp_path / name, longer) for name in ("whole", "broken"))
    program = "import sys; from snnhll.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "sweep", str(file), *TINY, longer, f"output_dir={tmp_path / 'broken'}"]
    sweep = subprocess.Popen(
        [*command, "launcher=joblib"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while epochs_done(broken) < 3 and sweep.poll() is None:
        time.sleep(0.01)
    for worker in workers_of(sweep.pid):
        os.kill(worker, signal.SIGKILL)
    _, said = sweep.communicate()
    assert sweep.returncode == 1
    assert "the launcher broke off" in said
    assert "the same command continues the sweep" in said
    assert "Traceback" not in said
    assert {job.state() for job in broken.jobs} != {"finished"}
    assert runner.work(broken.jobs, "mine", runner.Announcer()) == {}
    assert runner.work(whole.jobs, "mine", runner.Announcer()) == {}
    assert outcome(broken) == outcome(whole)


def workers_of(pid: int) -> list[int]:
    """The processes that joblib has started under `pid`, by what Linux tells of them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"popen_loky" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
