"""The network as it is written to ONNX gives the logits of the trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_runs import trained

from snnhll.assemble import load
from snnhll.cli.main import main
from snnhll.config import NotInstalledError, options
from snnhll.data import open_images
from snnhll.data.pixels import to_unit
from snnhll.errors import UserError
from snnhll.export.onnx_format import Unrolled, write_onnx
from snnhll.networks.network import Network


def compare(network: Network, path: Path, images: torch.Tensor) -> None:
    """The logits of the file are those of the network, up to the rounding of a differently ordered sum."""
    (logits,) = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    expected = network(images).detach().numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("spec", ["64-12-n", "4C3-P2-6C3s2-FC8-FCn", "4C3-4SEW3-6MS3s2-FCn"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unrolled_network_gives_the_same_logits(
    spec: str, dtype: torch.dtype, make_network: Any, make_batch: Any
) -> None:
    network = make_network(spec, "batch", dropout=0.3, dtype=dtype)
    images, _ = make_batch(dtype=dtype)
    network(images)  # statistics of the normalisation
    unrolled = Unrolled(network)
    torch.testing.assert_close(unrolled(images), network.eval()(images))
    assert unrolled.network is not network


def test_without_the_packages_one_line_says_what_to_install(
    make_network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snnhll.export.onnx_format.NEEDED", ("no_such_package",))
    with pytest.raises(NotInstalledError, match=r"--to onnx: not installed; pip install 'snnhll\[onnx\]'"):
        write_onnx(make_network("64-12-n"), tmp_path / "x.onnx", (1, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_codes_that_a_graph_cannot_hold_are_refused(
    make_rule: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snnhll.export.onnx_format.NEEDED", ())
    rule = make_rule("encoding=latency", "architecture.spec=64-6-n")
    with pytest.raises(UserError, match="--to onnx writes networks with encoding=direct"):
        write_onnx(rule.network, tmp_path / "x.onnx", (1, 8, 8))


@pytest.mark.parametrize("spec", ["64-12-n", "4C3-P2-6C3s2-FC8-FCn", "4C3-4SEW3-6MS3s2-P2-FCn"])
def test_the_file_gives_the_same_logits_for_any_number_of_images(
    spec: str, make_network: Any, make_batch: Any, tmp_path: Path
) -> None:
    network = make_network(spec, "batch", dropout=0.3, dtype=torch.float32)
    network(make_batch(dtype=torch.float32)[0])  # statistics of the normalisation
    path = write_onnx(network.eval(), tmp_path / "network.onnx", (1, 8, 8))
    onnx.checker.check_model(path)
    for count in (1, 7):
        images, _ = make_batch(count, dtype=torch.float32, seed=count)
        compare(network, path, images)


def test_a_network_of_bfloat16_is_written_in_float32(make_network: Any, make_batch: Any, tmp_path: Path) -> None:
    network = make_network("4C3-P2-FCn", "batch", dtype=torch.bfloat16)
    images, _ = make_batch(dtype=torch.float32)
    network(images)  # statistics of the normalisation
    path = write_onnx(network.eval(), tmp_path / "network.onnx", (1, 8, 8))
    assert network.precision == torch.bfloat16
    network.precision = torch.float32
    compare(network, path, images)


@pytest.mark.parametrize("neuron", [name for name in options("neuron") if name != "hodgkin_huxley"])
def test_every_neuron_can_be_written(neuron: str, make_rule: Any, make_batch: Any, tmp_path: Path) -> None:
    """hodgkin_huxley alike, but its integration steps make a graph of some ten thousand nodes."""
    rule = "frozen" if neuron == "competitive" else "bptt"
    network = make_rule(
        f"neuron={neuron}", f"rule={rule}", "architecture.spec=64-6-n", "trainer.steps=2"
    ).network.eval()
    compare(network, write_onnx(network, tmp_path / "network.onnx", (1, 8, 8)), make_batch(dtype=torch.float32)[0])


def test_a_trained_run_becomes_a_file_that_classifies_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, monkeypatch, "architecture.spec=8C3-P2-FC16-FCn", "trainer.steps=4", "data.limit=20")
    with pytest.raises(SystemExit) as exit_:
        main(["export", str(run), "--to", "onnx"])
    assert not exit_.value.code
    digits = open_images({"_target_": "snnhll.data.digits.load", "root": "", "download": False})
    compare(load(run), run / "network.onnx", to_unit(digits.test_images))
    assert [path.name for path in run.glob("network*")] == ["network.onnx"]  # the weights are in it
