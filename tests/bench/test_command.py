"""snnhll bench: arguments, plan, tables and JSON, with measurements made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from snnhll.bench import tables
from snnhll.bench.contest import OURS, PEERS, SHORT_LIST, Measurement
from snnhll.bench.rounds import Row, WorkerError
from snnhll.bench.works import WORKS
from snnhll.cli import bench
from snnhll.errors import UserError

MLP = WORKS["mlp"]


@pytest.fixture(autouse=True)
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: name)
    monkeypatch.setattr(bench.metadata, "version", lambda name: "1.0")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the processes by made-up answers; returns the requests that came."""
    requests: list[dict[str, Any]] = []

    def run(request: dict[str, Any], threads: int, warn: object) -> dict[str, Any]:
        requests.append(request)
        if request["kind"] == "agreement":
            return {"agreements": [{"reset": "hard", "rates": [0.2], "different": [0]}]}
        if request["kind"] == "costs":
            return {"learn": [0.1, 0.3, 0.2], "write": [0.01, 0.02], "read": [0.03, 0.04]}
        if request["kind"] == "pipeline":
            return {"samples_per_second": 170.0 if request["parts"] else 100.0}
        if request["kind"] == "floor":
            return {"conv": 1e11, "linear": 5e10}
        own = request["measurement"]["framework"] == OURS
        return {"samples_per_second": 400.0 if own else 100.0, "peak_memory_bytes": 2**20, "baseline": "built model"}

    monkeypatch.setattr(bench, "in_fresh_process", run)
    return requests


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["mpl"], ["'mpl'", "'mlp'"]),
        (["--against", "norsee"], ["'norsee'", "'norse'"]),
        (["--setting", "pred_sim rate fp23"], ["'pred_sim rate fp23'", "pred_sim rate fp32"]),
        (["--precision", "fp16"], ["'fp16'", "'bf16'"]),
        (["--T", "0"], ["--T", "'0'", "at least 1"]),
        (["--batch", "1"], ["--batch", "at least 2"]),
        (["--rounds", "x"], ["--rounds", "'x'"]),
        (["--treads", "2"], ["--treads"]),
        (["--setting", "default"], ["--against"]),
        (["--rounds", "0"], ["--rounds 0", "--stages"]),
    ],
)
def test_a_mistake_is_named_in_one_line(arguments: list[str], names: list[str]) -> None:
    with pytest.raises(UserError) as error:
        bench.main(arguments)
    assert "\n" not in str(error.value)
    for name in names:
        assert name in str(error.value)


def test_a_missing_framework_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"norse is not installed.*snnhll\[bench\]"):
        bench.parse(["mlp", "--against", "norse"])


def test_the_plan_crosses_networks_steps_batches_and_contestants() -> None:
    planned = bench.plan(bench.parse(["mlp", "conv", "--T", "10,40", "--batch", "16,64", "--against", ",".join(PEERS)]))
    per_task = len(SHORT_LIST) - 2 + 2 * len(PEERS)
    assert len(planned) == len(set(planned)) == 2 * 2 * 2 * per_task
    assert {m.setting for m in planned} == set(SHORT_LIST)


def test_precision_and_setting_choose() -> None:
    fp32 = bench.plan(bench.parse(["mlp", "--precision", "fp32", "--against", "norse"]))
    assert {m.setting for m in fp32 if m.framework == OURS} == {
        *(f"pred_sim {mode} fp32" for mode in ("rate", "accumulate", "final", "online")),
        "pred rate fp32",
        "hsic rate fp32",
        "bptt fp32",
    }
    assert {m.setting for m in fp32 if m.framework == "norse"} == {"default"}
    two = bench.plan(bench.parse(["mlp", "--setting", "bptt fp32", "default", "--against", "norse"]))
    assert [(m.framework, m.setting) for m in two] == [(OURS, "bptt fp32"), ("norse", "default")]


def test_scaling_grows_one_thing_at_a_time() -> None:
    arguments = ["conv", "mlp", "--scaling", "--setting", "pred_sim online bf16"]
    base, *grown = bench.plan(bench.parse(arguments))
    assert (base.work, base.T, base.batch) == (WORKS["conv"], 10, 64)
    assert [(m.work.name, m.T, m.batch) for m in grown] == [
        ("conv", 20, 64),
        ("conv", 40, 64),
        ("conv", 10, 16),
        ("conv width x2", 10, 64),
        ("conv depth x2", 10, 64),
    ]


def test_json_prints_the_list_and_nothing_else(answers: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    code = bench.main(["mlp", "--against", "norse", "--rounds", "2", "--setting", "bptt fp32", "default", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(row["framework"], row["samples_per_second"], row["rounds"]) for row in rows] == [
        (OURS, 400.0, 2),
        ("norse", 100.0, 2),
    ]
    assert [request["kind"] for request in answers] == ["agreement"] + ["measure"] * 4


def test_a_failed_measurement_and_a_difference_show_in_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(request: dict[str, Any], threads: int, warn: object) -> dict[str, Any]:
        if request["kind"] == "measure" and request["measurement"]["setting"] == "bptt bf16":
            raise WorkerError("MemoryError")
        if request["kind"] == "agreement":
            return {"agreements": [{"reset": "hard", "rates": [0.2], "different": [3]}]}
        return {"samples_per_second": 1.0, "peak_memory_bytes": 1, "baseline": "built model"}

    monkeypatch.setattr(bench, "in_fresh_process", fails)
    common = ["mlp", "--rounds", "1", "--json"]
    assert bench.main([*common, "--setting", "bptt fp32"]) == 0
    assert bench.main([*common, "--setting", "bptt fp32", "bptt bf16"]) == 1
    assert bench.main([*common, "--setting", "bptt fp32", "--against", "norse"]) == 1


def test_the_table_sets_us_against_the_best_peer(answers: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["mlp", "--against", "norse,snntorch", "--rounds", "1"])
    out = capsys.readouterr().out
    ours = next(line for line in out.splitlines() if "pred_sim rate bf16" in line)
    assert ours.split()[-3:] == ["4.00", "4.00", "1.00"]
    assert "built model" in out
    # (784 x 1024 + 1024 x 10) products, forward and gradient, 64 images, at 50 GFLOP/s; a step takes 64/400 s
    least = 2 * 64 * 2 * (784 * 1024 + 1024 * 10) / 5e10
    assert f"{least * 1e3:.2f} ms" in out
    assert f"{least / (64 / 400):.0%} of it" in out


def test_the_best_peer_is_the_fastest_and_the_leanest_of_the_same_task() -> None:
    def row(framework: str, setting: str, speed: float, peak: int, T: int = 10) -> Row:
        return Row(Measurement(MLP, framework, setting, T, 64), [speed], [peak])

    rows = [
        row(OURS, "bptt fp32", 900.0, 1),
        row("norse", "default", 50.0, 30),
        row("snntorch", "default", 70.0, 20),
        row("snntorch", "bf16 channels_last", 90.0, 10),
    ]
    assert tables.fastest(rows, "default") == 70.0
    assert tables.fastest(rows, "bf16 channels_last") == 90.0
    assert tables.leanest(rows) == 10
    assert tables.fastest(rows[:1], "default") is None
    other_T = row(OURS, "bptt fp32", 900.0, 1, T=40)
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tables.comparison("mlp", [*rows, other_T]))
    lines = [line.split() for line in console.export_text().splitlines() if "bptt" in line]
    assert lines[0][-3:] == ["12.86", "10.00", "0.10"]
    assert lines[1][-1] == "0"  # no peer ran at T = 40: the line ends with its own peak


def test_growth_has_a_line_a_contestant_and_a_column_a_point(
    answers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bench.main(["mlp", "conv", "--scaling", "--rounds", "1", "--against", "norse"])
    out = capsys.readouterr().out
    assert [r["work"]["name"] for r in answers if r["kind"] == "agreement"] == ["mlp"]
    assert out.count("400, 1") == 12
    assert out.count("100, 1") == 6
    for point in ("T 20, batch 64", "T 40, batch 64", "T 10, batch 16", "mlp width x2", "mlp depth x2"):
        assert point in out


# Pipeline stages


def test_stages_are_measured_beside_one_process_and_modelled_from_the_times_of_their_layers(
    answers: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts of 0.1, 0.3 and 0.2 s: cut behind the second they take 0.42 and 0.24 s, behind the first 0.11 and 0.53."""
    assert bench.main(["conv", "--stages", "2", "--rounds", "2", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [request["kind"] for request in answers] == ["costs", *["pipeline"] * 4]
    assert [request.get("parts") for request in answers[1:]] == [[], [(0, 2), (2, 3)]] * 2
    assert found["stages"] == [[1, 2], [3]]
    assert found["stage_seconds"] == pytest.approx([0.42, 0.24])
    assert found["modelled_speedup"] == pytest.approx(0.6 / 0.42)
    assert found["measured_speedup"] == pytest.approx(1.7)


def test_stages_that_are_only_modelled_are_not_run(
    answers: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["conv", "--stages", "3", "--rounds", "0"]) == 0
    assert [request["kind"] for request in answers] == ["costs"]
    said = " ".join(capsys.readouterr().out.split())
    assert "2 2 300.00 30.00 20.00 350.00" in said
    assert f"slowest of 3 stages 350.0 ms: {0.6 / 0.35:.2f} times as fast" in said
    assert "measured" not in said


def test_stages_are_those_of_every_precision_that_is_asked_for(
    answers: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["conv", "--stages", "2", "--rounds", "0", "--precision", "bf16,fp32"]) == 0
    settings = [request["measurement"]["setting"] for request in answers]
    assert settings == ["pred_sim rate bf16", "pred_sim rate fp32"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mlp", "--stages", "3"], "mlp has 2 to 2"),
        (["conv", "--stages", "2", "--scaling"], "leave --against and --scaling away"),
        (["conv", "--stages", "2", "--setting", "bptt fp32"], "'bptt fp32'"),
        (["conv", "--stages", "2", "--setting", "pred_sim online bf16"], "'pred_sim online bf16'"),
    ],
)
def test_what_has_no_stages_is_not_measured(answers: list[dict[str, Any]], arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        bench.main(arguments)
    assert answers == []
