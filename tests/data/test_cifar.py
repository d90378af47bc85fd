from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from snnhll.data import cifar10, cifar100
from snnhll.errors import UserError


def dump(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """A small CIFAR-10 in the layout of the archive; batch number n holds two images of class n."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, file in enumerate(["test_batch", *(f"data_batch_{n}" for n in range(1, 6))]):
        dump(folder / file, {"data": rng.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": [number, number]})
    dump(folder / "batches.meta", {"label_names": [f"kind {n}" for n in range(10)]})
    return folder


def test_cifar10_is_the_batches_in_order(tmp_path: Path, batches: Path) -> None:
    images = cifar10.load(tmp_path, download=False)
    assert images.train_labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert images.test_labels.tolist() == [0, 0]
    assert images.classes[3] == "kind 3"
    assert images.variant == ""
    raw = pickle.loads((batches / "data_batch_3").read_bytes())["data"]
    # a row holds 1024 red, 1024 green, 1024 blue values, each row by row
    assert int(images.train_images[5, 2, 7, 9]) == raw[1, 2 * 1024 + 7 * 32 + 9]
    assert images.train_images[4].flatten().tolist() == raw[0].tolist()


def python2_batch(data: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2 wrote for {"data": data, "labels": labels}: byte strings, numpy under its old names."""
    rows, columns = (b"M" + struct.pack("<H", n) for n in data.shape)
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = (
        b"(K\x01" + rows + columns + b"\x86" + dtype + b"\x89T" + struct.pack("<i", data.size) + data.tobytes() + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + state + b"U\x06labels" + numbers + b"u."


@pytest.mark.filterwarnings("error")
def test_the_pickles_of_the_archive_were_written_by_python_2(tmp_path: Path, batches: Path) -> None:
    data = np.random.default_rng(1).integers(0, 256, (2, 3072), dtype=np.uint8)
    (batches / "test_batch").write_bytes(python2_batch(data, [7, 8]))
    images = cifar10.load(tmp_path, download=False)
    assert images.test_images.flatten(1).tolist() == data.tolist()
    assert images.test_labels.tolist() == [7, 8]


def test_cifar100_uses_the_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    data = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    for file, labels in {"train": [99, 0], "test": [5, 6]}.items():
        dump(folder / file, {"data": data, "fine_labels": labels, "coarse_labels": [1, 2]})
    dump(folder / "meta", {"fine_label_names": [str(n) for n in range(100)], "coarse_label_names": ["x"] * 20})
    images = cifar100.load(tmp_path, download=False)
    assert images.train_labels.tolist() == [99, 0]
    assert images.test_labels.tolist() == [5, 6]
    assert len(images.classes) == 100


@pytest.mark.parametrize("file", ["data_batch_2", "test_batch", "batches.meta"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, batches: Path, file: str, share: float) -> None:
    content = (batches / file).read_bytes()
    (batches / file).write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="delete it and run `snnhll data cifar10`") as error:
        cifar10.load(tmp_path, download=True)
    assert str(batches / file) in str(error.value)
    assert "\n" not in str(error.value)


class Touch:
    """Pickles to a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_batch_with_code_in_it_is_refused_and_not_run(tmp_path: Path, batches: Path) -> None:
    dump(batches / "data_batch_1", {"data": Touch(tmp_path / "ran"), "labels": [0, 0]})
    with pytest.raises(UserError, match="data_batch_1 is truncated or damaged"):
        cifar10.load(tmp_path, download=True)
    assert not (tmp_path / "ran").exists()


def write_jpegs(root: Path) -> None:
    for part in ("train", "test"):
        for level, name in enumerate(("cat", "dog")):
            folder = root / "cifar10-jpeg" / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), (100 * level, 0, 0)).save(folder / "0001.jpg")


def test_jpeg_folders_stand_in_and_say_so(tmp_path: Path) -> None:
    write_jpegs(tmp_path)
    images = cifar10.load(tmp_path, download=False)
    assert (images.name, images.variant) == ("cifar10", "CIFAR-10 (JPEG)")
    assert images.classes == ("cat", "dog")
    assert images.shape == (3, 32, 32)


def test_the_original_wins_over_jpeg_folders(tmp_path: Path, batches: Path) -> None:
    write_jpegs(tmp_path)
    assert cifar10.load(tmp_path, download=False).variant == ""


def test_without_network_the_set_is_named(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(UserError, match="snnhll data cifar100") as error:
        cifar100.load(tmp_path, download=True)
    assert str(tmp_path / "cifar-100-python") in str(error.value)
