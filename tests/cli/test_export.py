"""`snnhll export`: a trained run becomes a file; bad input gets one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from cli_runs import TINY, Command, Finished, only_run, read_result

nir = pytest.importorskip("nir")


def test_a_trained_run_becomes_a_nir_file(snnhll: Command, tmp_path: Path) -> None:
    small = [o for o in TINY if not o.startswith("architecture.spec")]
    overrides = [*small, "architecture.spec=4C3s2-FCn", "neuron.reset=hard", "output_dir=runs"]
    assert snnhll("train", *overrides).code == 0
    run = only_run(tmp_path / "runs")
    answer = snnhll("export", str(run), "--to", "nir")
    assert (answer.code, answer.out.strip()) == (0, str(run / "network.nir"))
    graph = nir.read(run / "network.nir")
    assert set(graph.nodes) == {"input", "synapse1", "neuron1", "flatten", "readout", "output"}
    assert graph.nodes["synapse1"].weight.shape == (4, 1, 3, 3)
    result = read_result(run)
    arithmetic = 0.9e-3 * result["synaptic_operations_per_image"] + 4.6e-3 * result["multiply_accumulates_per_image"]
    assert result["energy_nj_per_image"] == pytest.approx(arithmetic)


MISTAKES = {
    "": "snnhll export needs --to nir or onnx, got neither.",
    "runs --to nri": "snnhll export needs --to nir or onnx, got nri. Did you mean 'nir'?",
    "--to nir": "snnhll export needs the folder of one run, got 0.",
    "nowhere --to nir": "nowhere: no run here with a checkpoint",
    "nowhere --as nir": "--as: no such flag; snnhll export knows --to FORMAT and --out FILE.",
    "nowhere --to": "--to: expected FORMAT after it.",
}


@pytest.mark.parametrize("line", list(MISTAKES))
def test_mistakes(snnhll: Command, line: str) -> None:
    answer = snnhll("export", *line.split())
    assert answer.code == 2
    (told,) = answer.err.splitlines()
    assert MISTAKES[line] in told


def test_what_the_format_cannot_hold_leaves_no_file(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(finished.folder, tmp_path / "run")
    answer = snnhll("export", str(run), "--to", "nir")
    assert answer.code == 2
    assert "train with neuron=lif neuron.reset=hard" in answer.err
    assert not (run / "network.nir").exists()


@pytest.mark.parametrize("rule", ["eqprop", "ide", "local_all"])
def test_a_network_that_does_not_classify_alone_is_refused(rule: str, snnhll: Command, tmp_path: Path) -> None:
    own = ["neuron=if", "architecture.norm=none", "architecture.dropout=0", "architecture.spec=64-9-n"]
    assert snnhll("train", *TINY, f"rule={rule}", *own, "output_dir=runs").code == 0
    for form in ("nir", "onnx"):
        answer = snnhll("export", str(only_run(tmp_path / "runs")), "--to", form)
        assert answer.code == 2
        assert f"rule={rule} classifies by more than one pass through the layers" in answer.err
    assert not list((tmp_path / "runs").glob("*/network.*"))


def test_weights_of_another_version_are_told_in_one_line(snnhll: Command, finished: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(finished.folder, tmp_path / "run")
    state = torch.load(run / "checkpoint.pt")
    module = state["rule"]["module"]
    module["called.otherwise"] = module.pop(next(iter(module)))
    torch.save(state, run / "checkpoint.pt")
    for command in (("eval", str(run)), ("export", str(run), "--to", "onnx")):
        answer = snnhll(*command)
        assert answer.code == 2
        (told,) = answer.err.splitlines()
        assert f"{run}: configuration or weights are those of another version of snnhll" in told
