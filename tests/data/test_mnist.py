from __future__ import annotations

import gzip
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from snnhll.data import download, fashion_mnist, mnist
from snnhll.data.idx import FILES
from snnhll.errors import UserError

LOADERS = {"MNIST": mnist.load, "FashionMNIST": fashion_mnist.load}


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parts = (
        rng.integers(0, 256, (30, 28, 28)),
        np.arange(30) % 10,
        rng.integers(0, 256, (20, 28, 28)),
        np.arange(20) % 10,
    )
    return dict(zip(FILES, parts, strict=True))


def write(root: Path, dataset: str, arrays: dict[str, np.ndarray]) -> Path:
    raw = root / dataset / "raw"
    raw.mkdir(parents=True)
    for name, array in arrays.items():
        (raw / name).write_bytes(idx_bytes(array))
    return raw


@pytest.mark.parametrize("dataset", LOADERS)
def test_reads_torchvisions_layout(tmp_path: Path, arrays: dict[str, np.ndarray], dataset: str) -> None:
    write(tmp_path, dataset, arrays)
    images = LOADERS[dataset](tmp_path, download=False)
    train, train_labels, test, test_labels = (torch.from_numpy(arrays[name]) for name in FILES)
    assert torch.equal(images.train_images, train.unsqueeze(1).to(torch.uint8))
    assert torch.equal(images.train_labels, train_labels)
    assert torch.equal(images.test_images, test.unsqueeze(1).to(torch.uint8))
    assert torch.equal(images.test_labels, test_labels)
    assert len(images.classes) == 10


@pytest.mark.parametrize("kept", [0, 3, 10, 100, -1])
@pytest.mark.parametrize("damaged", FILES)
def test_a_truncated_file_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], damaged: str, kept: int) -> None:
    file = write(tmp_path, "MNIST", arrays) / damaged
    content = file.read_bytes()
    file.write_bytes(content[:kept] if len(content) > kept else content[:-1])
    with pytest.raises(UserError, match="delete it and run `snnhll data mnist`") as error:
        mnist.load(tmp_path, download=True)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_idx_file_is_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    file = write(tmp_path, "MNIST", arrays) / FILES[2]
    file.write_bytes(b"<!DOCTYPE html>" + file.read_bytes())
    with pytest.raises(UserError, match=FILES[2]):
        mnist.load(tmp_path, download=True)


def test_labels_of_another_set_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write(tmp_path, "MNIST", {**arrays, FILES[1]: arrays[FILES[3]]})
    with pytest.raises(UserError, match="30 training images but labels of shape \\[20\\]"):
        mnist.load(tmp_path, download=True)


def test_without_network_set_and_folder_are_named_and_nothing_is_left(tmp_path: Path, no_network: None) -> None:
    root = tmp_path / "sets"
    with pytest.raises(UserError, match="snnhll data mnist") as error:
        mnist.load(root, download=True)
    assert str(root / "MNIST" / "raw") in str(error.value)
    assert "Name or service not known" in str(error.value)
    assert "\n" not in str(error.value)
    assert not root.exists()


def test_a_server_that_never_answers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(download, "TIMEOUT", 0.05)
        with pytest.raises(UserError, match="timed out"):
            mnist.load(tmp_path, download=True)
    assert socket.getdefaulttimeout() is None


def test_downloading_can_be_forbidden(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.download=true"):
        fashion_mnist.load(tmp_path, download=False)


@pytest.fixture
def mirror(tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server with the files of `arrays`, in the place of MNIST's mirrors."""
    datasets = pytest.importorskip("torchvision.datasets")
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name, array in arrays.items():
        content = gzip.compress(idx_bytes(array))
        (served / f"{name}.gz").write_bytes(content)
        resources.append((f"{name}.gz", hashlib.md5(content, usedforsecurity=False).hexdigest()))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        server.shutdown()


def test_a_missing_set_is_downloaded(tmp_path: Path, arrays: dict[str, np.ndarray], mirror: Path) -> None:
    images = mnist.load(tmp_path / "sets", download=True)
    assert images.train_images.squeeze(1).numpy().tolist() == arrays[FILES[0]].tolist()


def test_a_damaged_download_is_refused(tmp_path: Path, mirror: Path) -> None:
    with (mirror / f"{FILES[0]}.gz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="downloading failed"):
        mnist.load(tmp_path / "sets", download=True)
