"""A network written as NIR and read by other frameworks gives the same spikes and logits, step by step."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from export_runs import trained
from torch import Tensor

from snnhll.assemble import load
from snnhll.cli.main import main
from snnhll.data import open_images
from snnhll.data.pixels import to_unit
from snnhll.errors import UserError
from snnhll.networks.network import Network

nir = pytest.importorskip("nir")

from snnhll.export.nir_format import DT, graph, write_nir  # noqa: E402

SPECS = ["64-12-9-n", "4C3-6C3s2-FC8-FCn"]


def network_of(make_network: Any, spec: str, norm: str = "batch", **neuron: Any) -> Network:
    """A network whose normalisation has seen data, with hard reset, in single precision as files have it."""
    made: Network = make_network(spec, norm, dtype=torch.float32, **({"reset": "hard"} | neuron))
    made.train()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(5):
            made(torch.rand(16, 1, 8, 8, generator=draw))
    return made.eval()


def ours(network: Network, image: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes of the last layer [T, ...] and logits of every step [T, classes] for one image."""
    with torch.no_grad():
        spikes = network.spikes(image)[:, 0]
        return spikes, network.classify(spikes.unsqueeze(1))[:, 0]


def until_last_neuron(whole: Any) -> Any:
    """The graph without its readout: its output is the spikes of the last layer."""
    following = dict(whole.edges)
    last, names = "", ["input"]
    while names[-1] in following:
        names.append(following[names[-1]])
        last = names[-1] if names[-1].startswith("neuron") else last
    names = names[: names.index(last) + 1]
    nodes = {name: whole.nodes[name] for name in names}
    nodes["output"] = nir.Output(nodes[last].output_type)
    chain = [*names, "output"]
    return nir.NIRGraph(nodes, list(pairwise(chain)))


def run_norse(read: Any, x: Tensor, steps: int) -> Tensor:
    norse = pytest.importorskip("norse.torch")
    module, state, out = norse.from_nir(read, dt=DT), None, []
    with torch.no_grad():
        for _ in range(steps):
            y, state = module(x, state)
            out.append(y)
    return torch.stack(out)


def run_snntorch(read: Any, x: Tensor, steps: int) -> Tensor:
    importer = pytest.importorskip("snntorch.import_nir")
    module, out = importer.import_from_nir(read), []
    with torch.no_grad():
        for _ in range(steps):
            y = module(x)
            out.append(y[0] if isinstance(y, tuple) else y)
    return torch.stack(out)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("norm", ["batch", "none", "weight"])
@pytest.mark.parametrize("reader", [run_norse, run_snntorch])
def test_round_trip(spec: str, norm: str, reader: Any, make_network: Any, tmp_path: Path) -> None:
    network = network_of(make_network, spec, norm)
    read = nir.read(write_nir(network, tmp_path / "network.nir"))
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    x = network.encode(image)[0, 0]
    x = x.flatten() if network.blocks[0].layer.kind == "linear" else x
    spikes, logits = ours(network, image)
    assert 0.02 < spikes.mean() < 0.98
    found = reader(until_last_neuron(read), x, network.steps)
    assert torch.equal(found.view_as(spikes), spikes)
    torch.testing.assert_close(reader(read, x, network.steps).view_as(logits), logits, rtol=1e-4, atol=1e-4)


def test_the_file_says_what_the_network_receives(make_network: Any, tmp_path: Path) -> None:
    read = nir.read(write_nir(network_of(make_network, SPECS[0]), tmp_path / "network.nir"))
    assert read.metadata["encoding"] == "direct"
    assert int(read.metadata["steps"]) == 5
    assert float(read.metadata["dt"]) == DT
    assert read.metadata["pixel_mean"].tolist() == [0.5]


@pytest.mark.parametrize("encoding", ["first_spike", "temporal_switch", "poisson"])
def test_the_file_names_the_code_as_the_configuration_does(encoding: str, make_rule: Any) -> None:
    network = make_rule(f"encoding={encoding}", "neuron.reset=hard", "architecture.spec=64-12-n").network.eval()
    assert graph(network).metadata["encoding"] == encoding


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "neuron.reset=hard": ("64-12-n", {"reset": "soft"}),
    "layer 1: NIR's neuron is LIF": ("64-12-n", {"decay": 1.0}),
    "no maximum pooling": ("4C3-P2-FCn", {}),
}


@pytest.mark.parametrize("message", list(REFUSED))
def test_what_nir_cannot_hold_is_named(message: str, make_network: Any) -> None:
    spec, neuron = REFUSED[message]
    with pytest.raises(UserError, match=message):
        graph(network_of(make_network, spec, **neuron))


@pytest.mark.parametrize("reader", [run_norse, run_snntorch])
@pytest.mark.parametrize("spec", ["64-24-16-n", "8C3s2-FC16-FCn"])
def test_a_run_trained_and_exported_by_the_command_line_spikes_alike_elsewhere(
    spec: str, reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"architecture.spec={spec}", "neuron.reset=hard", "trainer.steps=6", "data.limit=20")
    run = trained(tmp_path, monkeypatch, *overrides)
    with pytest.raises(SystemExit) as exit_:
        main(["export", str(run), "--to", "nir"])
    assert not exit_.value.code
    network, read = load(run), nir.read(run / "network.nir")
    digits = open_images({"_target_": "snnhll.data.digits.load", "root": "", "download": False})
    whole = until_last_neuron(read)
    for image in to_unit(digits.test_images[:10]).unsqueeze(1):
        mean, std = (torch.from_numpy(read.metadata[f"pixel_{name}"]).view(1, -1, 1, 1) for name in ("mean", "std"))
        x = ((image - mean) / std)[0]  # what the file says the network receives
        x = x.flatten() if network.blocks[0].layer.kind == "linear" else x
        spikes, _ = ours(network, image)
        assert torch.equal(reader(whole, x, network.steps).view_as(spikes), spikes)
