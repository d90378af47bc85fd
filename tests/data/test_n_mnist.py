"""Event files in the format of N-MNIST, written byte by byte, and a network that learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snnhll.assemble import Problem, build_rule
from snnhll.config import compose, settings
from snnhll.data import open_data
from snnhll.data.events import Events
from snnhll.data.n_mnist import load, read_events
from snnhll.encodings.frames import Frames
from snnhll.errors import UserError

EventTuple = tuple[int, int, int, int]  # x, y, time in µs, polarity


def write(path: Path, events: list[EventTuple]) -> None:
    """x, y, then 24 bits: polarity and time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, t, p in events))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two recordings a class and part: class c flickers in column 3c, brighter first and darker later."""
    draw = np.random.default_rng(0)
    for part in ("Train", "Test"):
        for label in range(10):
            for number in range(2):
                rows = draw.integers(0, 34, 40)
                times = np.sort(draw.integers(0, 300_000, 40))
                events = [(3 * label, int(y), int(t), int(t < 150_000)) for y, t in zip(rows, times, strict=True)]
                write(tmp_path / "N-MNIST" / part / str(label) / f"{number:05d}.bin", events)
    return tmp_path


def test_events_are_read_as_they_were_written(tmp_path: Path) -> None:
    events = [(0, 33, 5, 1), (33, 0, 70_000, 0), (7, 8, 2**23 - 1, 1)]
    write(tmp_path / "a.bin", events)
    found = read_events(tmp_path / "a.bin")
    assert list(zip(found.x, found.y, found.t, found.p, strict=True)) == events


def test_a_wrapped_clock_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", [(1, 1, 100, 1), (0, 240, 0, 0), (2, 2, 50, 0), (0, 240, 0, 0), (3, 3, 60, 1)])
    found = read_events(tmp_path / "a.bin")
    assert found.t.tolist() == [100, 50 + 2**13, 60 + 2 * 2**13]
    assert found.x.tolist() == [1, 2, 3]


def test_frames_count_the_events_of_equal_slices() -> None:
    x, y, t, p = np.array([[0, 0, 0, 1], [1, 1, 1, 0], [10, 11, 59, 60], [1, 1, 0, 1]])
    frames = Events(x, y, t, p).frames(2, 2, 3)
    expected = np.zeros((4, 2, 3))
    expected[1, 1, 0] = 2  # slice 0 is 10..34 µs (51 µs in two), brighter
    expected[2, 1, 0] = 1  # slice 1, darker
    expected[3, 0, 1] = 1  # slice 1, brighter
    assert frames.tolist() == expected.tolist()
    many = Events(*(np.zeros(300, np.int64) for _ in range(4)))
    assert many.frames(1, 1, 1).tolist() == [[[255]], [[0]]]


def test_the_set_is_read_cached_and_read_again(root: Path) -> None:
    images = load(root, bins=4)
    assert images.shape == (8, 34, 34)
    assert images.train_labels.tolist() == [label for label in range(10) for _ in range(2)]
    for image, label in zip(images.train_images, images.train_labels.tolist(), strict=True):
        assert image.sum() == 40
        assert image[:, :, 3 * label].sum() == 40
    for path in (root / "N-MNIST" / "Train").rglob("*.bin"):
        path.write_bytes(b"\0" * path.stat().st_size)  # never looked at again
    assert torch.equal(load(root, bins=4).train_images, images.train_images)
    assert load(root, bins=4).train_images.sum() == 800


def test_a_step_receives_the_events_of_its_slice(root: Path) -> None:
    images = load(root, bins=3).train_images[:2].float() / 255
    coded = Frames()(images, 3)
    assert coded.shape == (3, 2, 2, 34, 34)
    for t in range(3):
        assert torch.equal(coded[t], (images[:, 2 * t : 2 * t + 2] > 0).float())
    assert torch.equal(Frames().decode(coded), (images > 0).float())
    with pytest.raises(UserError, match=r"images of 6 channels, but trainer.steps=5 needs 10"):
        Frames()(images, 5)


def test_damaged_and_missing_files_are_named(root: Path) -> None:
    damaged = root / "N-MNIST" / "Test" / "3" / "00001.bin"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-2])
    with pytest.raises(UserError, match=r"Test/3/00001.bin is damaged: 198 bytes"):
        load(root)
    damaged.write_bytes(bytes([99]) + whole[1:])
    with pytest.raises(UserError, match=r"00001.bin is damaged: it has events outside 34x34"):
        load(root)
    for path in damaged.parent.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"no recordings in .*Test/3; unpack Train.zip and Test.zip"):
        load(root)


def test_a_network_learns_from_events(root: Path) -> None:
    overrides = [
        "data=n_mnist",
        f"data.root={root}",
        "encoding=frames",
        "trainer.steps=4",
        "trainer.batch_size=10",
        "optimizer.lr=0.01",
    ]
    config = compose([*overrides, "architecture.spec=4C5s2-P2-FC16-FCn", "architecture.dropout=0", "data.validation=0"])
    data = open_data(config["data"], batch_size=10, seed=0, device="cpu")
    torch.manual_seed(0)
    rule = build_rule(config, settings(config), Problem.of(data))
    images, labels = next(iter(data.eval_batches("train", 20)))
    right = [int(rule.step(images, labels)["correct"]) for _ in range(30)]
    assert rule.network.blocks[0].synapse.weight.shape[1] == 2
    assert right[-1] >= 18  # of 20, where chance is 2
