"""Images that stay in their files: the right pixels, the same crops whoever reads them, memory that does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from snnhll.data.augment import Augment
from snnhll.data.image_files import CENTRE, Crop, random_box
from snnhll.data.image_stream import load
from snnhll.data.noise.gaussian import GaussianNoise
from snnhll.data.pipeline import Batch, Data
from snnhll.errors import UserError

WIDTH, HEIGHT = 60, 40


def ramp(level: int) -> Image.Image:
    """Red says the column, green the row, blue which image it is."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return Image.fromarray(np.stack([4 * x, 6 * y, np.full_like(x, level)], 2).astype(np.uint8))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes; training images of blue 0 to 19, test images of blue 100 to 105; one name is not plain ASCII."""
    folder = tmp_path_factory.mktemp("set")
    for part, first, count in (("train", 0, 10), ("test", 100, 3)):
        for label, name in enumerate(("ant", "bee")):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                file = f"ä{number:02d}.png" if number == 0 else f"b{number:02d}.png"
                ramp(first + label * count + number).save(folder / part / name / file)
    return folder


def opened(root: Path, workers: int = 0, seed: int = 0, **options: Any) -> Data:
    return Data(load(root, size=16, workers=workers), **({"batch_size": 4, "seed": seed, "validation": 0.2} | options))


def same(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(ours, theirs, strict=True)
    )


def blues(batches: list[Batch]) -> list[int]:
    return [round(255 * level) for x, _ in batches for level in x[:, 2].mean((1, 2)).tolist()]


def test_every_image_is_in_its_split_with_its_label(root: Path) -> None:
    data = opened(root)
    train, val = list(data.train_batches(0)), list(data.eval_batches("val", 3))
    assert sorted(blues(train) + blues(val)) == list(range(20))
    assert blues(list(data.eval_batches("test", 4))) == [101, 102, 100, 104, 105, 103]  # ä sorts after b
    for x, y in [*train, *val]:
        assert y.tolist() == [blue // 10 for blue in blues([(x, y)])]


def test_the_centre_is_what_evaluation_sees(root: Path) -> None:
    images = torch.cat([x for x, _ in opened(root).eval_batches("test", 4)])
    side = CENTRE * HEIGHT
    box = ((WIDTH - side) / 2, (HEIGHT - side) / 2, (WIDTH + side) / 2, (HEIGHT + side) / 2)
    for found, level in zip(images, (101, 102, 100), strict=False):
        expected = np.asarray(ramp(level).resize((16, 16), Image.Resampling.BILINEAR, box)).transpose(2, 0, 1)
        assert torch.equal((found * 255).round().to(torch.uint8), torch.from_numpy(expected.copy()))


def test_a_random_crop_is_the_part_of_the_image_that_was_drawn(root: Path) -> None:
    path = str(root / "train" / "bee" / "b03.png")
    for seed in range(20):
        left, upper, right, lower = random_box(WIDTH, HEIGHT, 0.2, torch.Generator().manual_seed(seed))
        pixels = Crop(16, 3, 0.2)(path, torch.Generator().manual_seed(seed)).astype(float)
        # the middle of the crop is the middle of the box, columns counted by pixel centres
        assert pixels[:, 7:9, 0].mean() == pytest.approx(4 * ((left + right) / 2 - 0.5), abs=2)
        assert pixels[7:9, :, 1].mean() == pytest.approx(6 * ((upper + lower) / 2 - 0.5), abs=3)
        assert (pixels[:, -1, 0] - pixels[:, 0, 0]).mean() == pytest.approx(4 * (right - left) * 15 / 16, abs=4)


@given(width=st.integers(2, 900), height=st.integers(2, 900), share=st.floats(0.01, 1), seed=st.integers(0, 2**31))
def test_a_random_crop_lies_in_the_image_and_holds_its_share(width: int, height: int, share: float, seed: int) -> None:
    left, upper, right, lower = random_box(width, height, share, torch.Generator().manual_seed(seed))
    assert -1e-6 <= left < right <= width + 1e-6
    assert -1e-6 <= upper < lower <= height + 1e-6
    across, down = right - left, lower - upper
    if (across, down) != pytest.approx((CENTRE * min(width, height),) * 2):
        assert share * width * height * (1 - 1e-9) <= across * down <= width * height * (1 + 1e-9)
        assert 3 / 4 - 1e-9 <= across / down <= 4 / 3 + 1e-9


def test_a_jpeg_decoded_in_part_shows_what_it_shows_in_full(tmp_path: Path) -> None:
    ramp(90).resize((1200, 800), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    Image.open(tmp_path / "a.jpg").save(tmp_path / "a.png")
    part, full = (Crop(32, 3, 0.3)(str(tmp_path / f"a.{end}"), None).astype(int) for end in ("jpg", "png"))
    assert abs(part - full).max() <= 4
    assert abs(part - full).mean() < 1


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_workers(root: Path, workers: int) -> None:
    options: Any = {"augment": Augment(flip=True, crop=2)}
    ours, theirs = opened(root, workers, **options), opened(root, 0, **options)
    assert same(list(ours.train_batches(3)), list(theirs.train_batches(3)))
    assert same(list(ours.eval_batches("val", 3)), list(theirs.eval_batches("val", 3)))
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.probe()[0], theirs.probe()[0])


def test_a_resumed_epoch_continues_with_the_very_batches(root: Path) -> None:
    whole = list(opened(root).train_batches(2))
    resumed = opened(root, 2)
    for start in range(len(whole) + 1):
        assert same(list(resumed.train_batches(2, start)), whole[start:])


def test_seeds_and_epochs_differ_in_crops_and_evaluation_does_not(root: Path) -> None:
    def crops(seed: int, epoch: int) -> dict[int, list[float]]:
        batches = list(opened(root, seed=seed, validation=0).train_batches(epoch))
        images = torch.cat([x for x, _ in batches])
        return {blue: image.flatten().tolist() for blue, image in zip(blues(batches), images, strict=True)}

    first, second, other = crops(0, 0), crops(0, 1), crops(1, 0)
    assert first.keys() == second.keys() == other.keys()
    assert all(first[blue] != second[blue] != other[blue] != first[blue] for blue in first)
    assert same(list(opened(root, seed=0).eval_batches("test", 3)), list(opened(root, seed=1).eval_batches("test", 3)))


def test_noise_limits_and_balance_work_on_streams(root: Path) -> None:
    data = opened(root, 2, limit=5, balanced=True, validation=0)
    assert Counter(y for _, labels in data.train_batches(0) for y in labels.tolist()) == {0: 5, 1: 5}
    noise = GaussianNoise(std=0.3)
    pair = [torch.cat([x for x, _ in data.eval_batches("test", size, noise)]) for size in (2, 5)]
    assert torch.equal(*pair)
    assert not torch.allclose(pair[0], torch.cat([x for x, _ in data.eval_batches("test", 4)]), atol=0.05)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_is_no_image_is_named_in_one_line(workers: int, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(4):
                ramp(number).save(tmp_path / part / name / f"{number}.png")
    data = opened(tmp_path, workers)
    (tmp_path / "test" / "bee" / "2.png").write_text("<html>")
    with pytest.raises(UserError, match=r"cannot read .*test/bee/2.png as an image .*; repair or remove it") as error:
        list(data.eval_batches("test", 2))
    assert "\n" not in str(error.value)


MEASURE = """
import os, sys
from pathlib import Path
from snnhll.allocator import tune
from snnhll.data.image_stream import load
from snnhll.data.pipeline import Data

def held():
    # what this process and its workers have written: code that is paged in does not count
    workers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in ("self", *workers)]
    rows = [line.split() for text in texts for line in text.splitlines()]
    return sum(int(row[1]) for row in rows if row[0] in ("RssAnon:", "RssShmem:")) / 1000

def peak(root):
    data = Data(load(Path(root), size=160, workers=2, share=0.5), batch_size=8, seed=0)
    return max(held() for _ in data.train_batches(0))

tune("accumulate")
peak(sys.argv[1])
print(*(peak(root) for root in sys.argv[1:]))
"""


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Of 40 and 1000 training images, whose crops would be 3 and 77 MB and whose pixels 92 and 2300 MB."""
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((1024, 750)).save(tmp_path / "a.jpg")
    roots = [tmp_path / "some", tmp_path / "many"]
    for root, per_class in zip(roots, (20, 500), strict=True):
        for part, count in (("train", per_class), ("test", 1)):
            for name in ("ant", "bee"):
                (root / part / name).mkdir(parents=True)
                for number in range(count):
                    os.link(tmp_path / "a.jpg", root / part / name / f"{number}.jpg")
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, roots)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    some, many = map(float, done.stdout.split())
    assert many - some < 77 / 2  # MB, of the process and its workers together
