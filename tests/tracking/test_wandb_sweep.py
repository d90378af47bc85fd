"""A sweep in Weights & Biases: one group, a job type for each row, and the table as one more run."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from snnhll.reports.tables import of_plan
from snnhll.results import Result
from snnhll.sweeps import definition
from snnhll.sweeps.jobs import Plan, plan
from snnhll.sweeps.runner import labelled
from snnhll.tracking.wandb import WandbTracker
from snnhll.tracking.wandb_table import log_table


class FakeWandb(SimpleNamespace):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Settings=lambda **_: None, Image=lambda picture: picture, Table=lambda **table: table)
        self.runs: list[dict[str, Any]] = []
        self.logged: dict[str, Any] = {}

    def init(self, **arguments: Any) -> Any:
        self.runs.append(arguments)
        return SimpleNamespace(
            log=lambda values, **_: self.logged.update(values),
            finish=lambda exit_code=None: None,
            summary=SimpleNamespace(update=dict),
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A sweep of two rows and one seed; nothing of it has run."""
    folder = tmp_path_factory.mktemp("study")
    file = folder / "two_losses.yaml"
    file.write_text(
        "rows:\n  - {name: a, overrides: [loss=pred], published: 97.0}\n  - {name: b, overrides: [loss=sim]}\n"
    )
    return plan(definition.read(str(file)), [f"output_dir={folder}", "seed=0"])


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_runs_of_a_sweep_are_one_group_with_a_job_type_for_each_row(wandb: FakeWandb, study: Plan) -> None:
    for job in study.jobs:
        told = labelled(job.config, study.sweep.name, job.row.name)["tracking"]
        tracker = WandbTracker(**{k: v for k, v in told.items() if k not in ("name", "_target_")})
        tracker.start(job.config, job.folder.path)
        tracker.finish(Result("finished", "", [], "digits", "mlp", "local", "pred", 0, 3, ""), [])
    assert [(run["group"], run["job_type"]) for run in wandb.runs] == [("two_losses", "a"), ("two_losses", "b")]
    assert len({run["id"] for run in wandb.runs}) == 2


def test_a_group_of_the_users_own_is_kept_and_other_trackers_are_left_alone() -> None:
    own = {"tracking": {"name": "wandb", "group": "mine", "job_type": None}}
    assert labelled(own, "table_3_5", "sim")["tracking"]["group"] == "mine"
    none = {"tracking": {"name": "none"}}
    assert labelled(none, "table_3_5", "sim") == none


def test_the_table_is_uploaded_under_an_id_that_stays(wandb: FakeWandb, study: Plan) -> None:
    for _ in range(2):
        log_table(of_plan(study), study.jobs[0].config)
    first, second = wandb.runs
    assert first["id"] == second["id"]
    assert (first["group"], first["job_type"]) == ("two_losses", "table")
    columns = wandb.logged["table"]["columns"]
    assert "published" in columns
    assert [line[columns.index("row")] for line in wandb.logged["table"]["data"]] == [r.name for r in study.sweep.rows]
    assert wandb.logged["bars"].shape[2] == 4
    assert wandb.logged["bars"].min() < wandb.logged["bars"].max()


def test_no_table_is_uploaded_under_another_tracker(wandb: FakeWandb, study: Plan) -> None:
    log_table(of_plan(study), study.jobs[0].config | {"tracking": {"name": "none"}})
    assert wandb.runs == []
