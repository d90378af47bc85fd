"""Event files in the real formats are read as they were written, and become the frames of their set."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from event_writers import SETS, Event, aedat2_bytes, aedat3_bytes, aedat3_packet, bin_bytes, flicker, write
from snnhll.config import NotInstalledError
from snnhll.data import cifar10_dvs, dvs128_gesture, n_mnist
from snnhll.data.event_files import read_aedat2, read_aedat3, read_array, read_bin
from snnhll.data.events import Events
from snnhll.encodings.frames import Frames
from snnhll.errors import UserError

EVENTS = [(0, 127, 5, 1), (127, 0, 70_000, 0), (7, 8, 2**23 - 1, 1)]
SMALL = [(0, 33, 5, 1), (33, 0, 70_000, 0), (7, 8, 2**23 - 1, 1)]
LOADERS: dict[str, Any] = {"n_mnist": n_mnist, "cifar10_dvs": cifar10_dvs, "dvs128_gesture": dvs128_gesture}


def rows(events: Events) -> list[Event]:
    return list(zip(*(c.tolist() for c in (events.x, events.y, events.t, events.p)), strict=True))


def load(name: str, root: Path, **options: int) -> Any:
    name = name.removesuffix(" of tonic")
    download = {} if name == "cifar10_dvs" else {"download": False}
    return LOADERS[name].load(root, **download, **options)


@pytest.fixture(params=list(SETS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path]:
    """The name of a set, its root, and one of its files."""
    make, file = SETS[request.param]
    make(tmp_path)
    return request.param, tmp_path, tmp_path / file


def test_n_mnist_events_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", bin_bytes(SMALL))
    assert rows(read_bin(tmp_path / "a.bin")) == SMALL


def test_a_wrapped_clock_of_n_mnist_goes_on(tmp_path: Path) -> None:
    events = [(1, 1, 100, 1), (0, 240, 0, 0), (2, 2, 50, 0), (0, 240, 0, 0), (3, 3, 60, 1)]
    write(tmp_path / "a.bin", bin_bytes(events))
    assert rows(read_bin(tmp_path / "a.bin")) == [(1, 1, 100, 1), (2, 2, 50 + 2**13, 0), (3, 3, 60 + 2 * 2**13, 1)]


def test_aedat2_events_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "a.aedat", aedat2_bytes(EVENTS))
    assert rows(read_aedat2(tmp_path / "a.aedat")) == EVENTS


def test_aedat3_packets_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Those of pixels; special events (type 0) and invalid ones are none. A wrapped clock adds 2^31 µs."""
    packets = aedat3_packet(EVENTS), aedat3_packet(EVENTS, kind=0), aedat3_packet(EVENTS, valid=False)
    write(tmp_path / "a.aedat", aedat3_bytes(*packets, aedat3_packet(EVENTS[:1], overflow=2)))
    assert rows(read_aedat3(tmp_path / "a.aedat")) == [*EVENTS, (0, 127, 5 + 2 * 2**31, 1)]


def test_arrays_of_tonic_are_in_milliseconds(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.array([(1, 2, 1, 30), (3, 4, 0, 31)]))
    assert rows(read_array(tmp_path / "0.npy")) == [(1, 2, 30_000, 1), (3, 4, 31_000, 0)]


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


def test_a_set_is_read_cached_and_read_again(written: tuple[str, Path, Path]) -> None:
    name, root, _ = written
    images = load(name, root, bins=4, pool=1)
    side, step = (34, 3) if name == "n_mnist" else (128, 11)
    classes, train = {"n_mnist": (10, 2), "cifar10_dvs": (10, 10)}.get(name, (11, 2))
    assert images.shape == (8, side, side)
    assert len(images.classes) == classes
    assert sorted(images.train_labels.tolist()) == [label for label in range(classes) for _ in range(train)]
    for image, label in zip(images.train_images, images.train_labels.tolist(), strict=True):
        assert image.sum() == image[:, :, step * label].sum() == 60
        assert image[0].sum() == image[7].sum() == 0  # brighter first, darker last
        assert min(image[1].sum(), image[6].sum()) > 5
    for path in (path for path in root.rglob("*") if path.suffix in (".bin", ".aedat", ".npy")):
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)  # never looked at again
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = load(name, root, bins=4, pool=1)
    assert torch.equal(again.train_images, images.train_images)
    assert torch.equal(again.test_images, images.test_images)


def test_a_recording_that_was_replaced_by_one_of_the_same_size_is_read_again(tmp_path: Path) -> None:
    make, file = SETS["n_mnist"]
    make(tmp_path)
    before = load("n_mnist", tmp_path).test_images[7]
    events = [(33, y % 34, t, p) for _, y, t, p in flicker(3, 34)]
    (tmp_path / file).write_bytes(bin_bytes(events))
    os.utime(tmp_path / file, (1, 1))
    after = load("n_mnist", tmp_path).test_images[7]
    assert before[..., 33].sum() == 0
    assert after[..., 33].sum() == after.sum() == 60


def test_pooled_frames_sum_the_events_of_their_pixels(written: tuple[str, Path, Path]) -> None:
    name, root, _ = written
    fine, coarse = (load(name, root, bins=2, pool=pool).train_images.int() for pool in (1, 4))
    padded = torch.nn.functional.pad(fine, (0, -fine.shape[3] % 4, 0, -fine.shape[2] % 4))
    assert torch.equal(padded.unfold(2, 4, 4).unfold(3, 4, 4).sum((4, 5)), coarse)


def test_a_tenth_of_every_class_of_cifar10_dvs_is_held_out_by_number(tmp_path: Path) -> None:
    SETS["cifar10_dvs"][0](tmp_path)
    images = load("cifar10_dvs", tmp_path, bins=1)
    last = read_aedat2(tmp_path / "CIFAR10DVS" / "cat" / "cifar10_cat_10.aedat").pooled(2).frames(1, 64, 64)
    assert images.test_labels.tolist() == list(range(10))
    assert images.test_images[3].tolist() == last.tolist()


def test_a_step_receives_the_events_of_its_slice(tmp_path: Path) -> None:
    SETS["n_mnist"][0](tmp_path)
    images = load("n_mnist", tmp_path, bins=3).train_images[:2].float() / 255
    coded = Frames()(images, 3)
    assert coded.shape == (3, 2, 2, 34, 34)
    for t in range(3):
        assert torch.equal(coded[t], (images[:, 2 * t : 2 * t + 2] > 0).float())
    assert torch.equal(Frames().decode(coded), (images > 0).float())
    disturbed = images + torch.tensor([0.49, -0.49]).repeat(3).view(-1, 1, 1) / 255  # less than half an event
    assert torch.equal(Frames()(disturbed.clamp(0, 1), 3), coded)
    with pytest.raises(UserError, match=r"images of 6 channels, but trainer.steps=5 needs 10"):
        Frames()(images, 5)


def test_a_file_cut_short_is_named(written: tuple[str, Path, Path]) -> None:
    name, root, file = written
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match=rf"{file.name} is damaged: .*; fetch it again"):
        load(name, root)


def test_a_file_of_something_else_is_named(written: tuple[str, Path, Path]) -> None:
    name, root, file = written
    file.write_bytes(b"<html>404 not found</html>")
    with pytest.raises(UserError, match=rf"{file.name} is damaged"):
        load(name, root)


def test_events_outside_the_sensor_and_recordings_without_events_are_refused(tmp_path: Path) -> None:
    make, file = SETS["n_mnist"]
    make(tmp_path)
    (tmp_path / file).write_bytes(bin_bytes([(99, 0, 5, 1)]))
    with pytest.raises(UserError, match=r"00001.bin is damaged: it has events outside 34x34 pixels"):
        load("n_mnist", tmp_path)
    (tmp_path / file).write_bytes(bin_bytes([(0, 240, 0, 0)]))
    with pytest.raises(UserError, match=r"00001.bin is damaged: a recording in it has no events"):
        load("n_mnist", tmp_path)


@pytest.mark.parametrize("polarity", [-1, 2])
def test_a_polarity_that_is_none_is_refused(polarity: int, tmp_path: Path) -> None:
    make, file = SETS["dvs128_gesture of tonic"]
    make(tmp_path)
    np.save(tmp_path / file, np.array([(1, 2, 1, 30), (3, 4, polarity, 31), (3, 4, 0, 90)]))
    with pytest.raises(UserError, match=r"4.npy is damaged: it has polarities other than 0 and 1"):
        load("dvs128_gesture", tmp_path)


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()


def twelve(path: Path) -> None:
    path.write_text(path.read_text().replace("11,", "12,"))


def no_header(path: Path) -> None:
    path.write_text("1,0,5\n2,5,9\n")


HARM = [
    ("n_mnist", "NMNIST/Test/3", empty, r"no recordings in .*Test/3; unpack Train.zip and Test.zip"),
    ("cifar10_dvs", "CIFAR10DVS/dog", empty, r"0 recordings \(\*.aedat\) in .*CIFAR10DVS/dog, expected two or more"),
    ("dvs128_gesture", "DvsGesture/trials_to_test.txt", remove, r"trials_to_test.txt is missing; unpack"),
    ("dvs128_gesture", "DvsGesture/user02_led.aedat", remove, r"user02_led.aedat is missing; unpack"),
    ("dvs128_gesture", "DvsGesture/user02_led_labels.csv", remove, r"user02_led_labels.csv is missing or damaged"),
    (
        "dvs128_gesture",
        "DvsGesture/user02_led_labels.csv",
        no_header,
        r"expected rows of class, startTime_usec, endTime",
    ),
    (
        "dvs128_gesture",
        "DvsGesture/user02_led_labels.csv",
        twelve,
        r"_labels.csv is damaged; expected classes from 1 to 11",
    ),
    ("dvs128_gesture of tonic", "DVSGesture/ibmGestureTest/user24_led", empty, r"no gestures .*in .*ibmGestureTest"),
]


@pytest.mark.parametrize(("name", "place", "harm", "message"), HARM)
def test_missing_files_and_tables_are_named(name: str, place: str, harm: Any, message: str, tmp_path: Path) -> None:
    SETS[name][0](tmp_path)
    harm(tmp_path / place)
    with pytest.raises(UserError, match=message) as error:
        load(name, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "folder"), [("n_mnist", "NMNIST/Train"), ("dvs128_gesture", "DVSGesture/ibmGestureTrain")]
)
def test_a_set_that_is_not_there_is_fetched_by_tonic_or_asked_for(
    name: str, folder: str, tmp_path: Path, no_network: None
) -> None:
    with pytest.raises(UserError, match=rf"data={name}: no complete set in .*{folder}. Point data.root"):
        LOADERS[name].load(tmp_path, download=False)
    with pytest.raises(UserError, match=r"downloading failed .*Name or service not known"):
        LOADERS[name].load(tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archives that tonic would have downloaded of N-MNIST, beside the folders it unpacks them into."""
    datasets = pytest.importorskip("tonic.datasets")
    SETS["n_mnist"][0](tmp_path)
    folder = tmp_path / "NMNIST"
    for part in ("Train", "Test"):
        archive = Path(shutil.make_archive(str(folder / part.lower()), "zip", folder, part))
        shutil.rmtree(folder / part)
        digest = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setattr(datasets.NMNIST, f"{part.lower()}_md5", digest)
    return folder


def test_what_was_unpacked_by_half_is_unpacked_again(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = zipfile.ZipFile.extractall

    def interrupted(self: zipfile.ZipFile, to: Any) -> None:
        for name in self.namelist()[:-1]:
            self.extract(name, to)
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        n_mnist.load(archives.parent, download=True)
    with pytest.raises(UserError, match=r"no complete set in .*NMNIST/Train"):
        load("n_mnist", archives.parent)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", extract)
    images = n_mnist.load(archives.parent, download=True)
    assert (len(images.train_labels), len(images.test_labels)) == (20, 20)
    assert not list(archives.glob(".*unpacking"))


def test_without_tonic_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tonic.io", None)
    write(tmp_path / "a.bin", bin_bytes(SMALL))
    with pytest.raises(NotInstalledError, match=r"tonic is not installed; pip install 'snnhll\[events\]'"):
        read_bin(tmp_path / "a.bin")
