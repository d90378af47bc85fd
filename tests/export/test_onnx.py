"""The network as it is written to ONNX gives the logits of the trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnhll.config import NotInstalledError
from snnhll.errors import UserError
from snnhll.export.onnx_format import Unrolled, write_onnx


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


def test_the_file_gives_the_same_logits(make_network: Any, make_batch: Any, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = make_network("4C3-P2-FC8-FCn", "batch", dtype=torch.float32)
    images, _ = make_batch(dtype=torch.float32)
    network(images)
    path = write_onnx(network.eval(), tmp_path / "network.onnx", (1, 8, 8))
    (logits,) = runtime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    np.testing.assert_allclose(logits, network(images).detach().numpy(), atol=1e-5)
