from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snnhll.data import image_cache
from snnhll.data.image_folder import load
from snnhll.errors import UserError

CLASSES = ("ant", "bee")


def pixels(seed: int, height: int = 5, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """train: ant/0, ant/1, bee/0, bee/1; test: the same, seeds 10 on; lossless, so that pixels can be compared."""
    seed = 0
    for part in ("train", "test"):
        for name in CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(pixels(seed)).save(tmp_path / part / name / f"{number}.png")
                seed += 1
    return tmp_path


def cache_files(folder: Path) -> list[Path]:
    return list(folder.glob(".snnhll-cache-*"))


def test_pixels_and_labels_are_those_of_the_files(folder: Path) -> None:
    images = load(folder)
    assert images.classes == CLASSES
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 0, 1, 1]
    assert images.train_images.permute(0, 2, 3, 1).tolist() == [pixels(seed).tolist() for seed in range(4)]
    assert images.test_images.permute(0, 2, 3, 1).tolist() == [pixels(seed).tolist() for seed in range(4, 8)]


def test_files_that_are_no_images_and_hidden_folders_are_passed_over(folder: Path) -> None:
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "train" / ".thumbnails").mkdir()
    (folder / "train" / "README").write_text("not a class")
    assert len(load(folder).train_images) == 4


def test_resized_and_grey(folder: Path) -> None:
    images = load(folder, size=3, channels=1)
    assert images.shape == (1, 3, 3)
    expected = Image.fromarray(pixels(0)).convert("L").resize((3, 3), Image.Resampling.BILINEAR)
    assert images.train_images[0, 0].tolist() == np.asarray(expected).tolist()


def overwrite_unnoticed(file: Path) -> None:
    """Change the content of a file but neither its size nor its time."""
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_second_time_comes_from_the_cache(folder: Path) -> None:
    first = load(folder)
    overwrite_unnoticed(folder / "train" / "ant" / "0.png")
    assert load(folder).train_images.tolist() == first.train_images.tolist()
    assert len(cache_files(folder)) == 1


def test_the_cache_moves_with_its_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = load(folder)
    moved = Path(shutil.move(folder, tmp_path_factory.mktemp("elsewhere")))
    overwrite_unnoticed(moved / "train" / "ant" / "0.png")
    assert load(moved).train_images.tolist() == first.train_images.tolist()


def test_a_changed_file_is_decoded_again(folder: Path) -> None:
    load(folder)
    Image.fromarray(pixels(99)).save(folder / "train" / "ant" / "0.png")
    os.utime(folder / "train" / "ant" / "0.png", (1, 1))
    assert load(folder).train_images[0].permute(1, 2, 0).tolist() == pixels(99).tolist()


def test_another_size_is_another_cache(folder: Path) -> None:
    assert load(folder).shape != load(folder, size=3).shape
    assert load(folder, size=3, channels=1).shape == (1, 3, 3)


@pytest.mark.parametrize("damage", [b"", b"not a cache", b"hello\n", pickle.dumps(3, 2), None])
def test_a_damaged_cache_is_made_anew(folder: Path, damage: bytes | None) -> None:
    first = load(folder)
    (cache,) = cache_files(folder)
    whole = cache.read_bytes()
    cache.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert load(folder).train_images.tolist() == first.train_images.tolist()
    overwrite_unnoticed(folder / "train" / "ant" / "0.png")
    assert load(folder).train_images.tolist() == first.train_images.tolist()


def test_where_no_cache_can_be_written_images_load_and_nothing_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder in the place of the cache file cannot be replaced by it, whoever runs this.
    blocked = folder / "blocked"
    (blocked / "inside").mkdir(parents=True)
    monkeypatch.setattr(image_cache, "cache_file", lambda *_: blocked)
    assert len(load(folder).train_images) == 4
    assert sorted(path.name for path in folder.iterdir()) == ["blocked", "test", "train"]


def remove_train(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def remove_classes(folder: Path) -> None:
    for name in CLASSES:
        shutil.rmtree(folder / "test" / name)


def empty_a_class(folder: Path) -> None:
    for file in (folder / "train" / "bee").iterdir():
        file.unlink()


def leave_one_class(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "bee")


def add_a_test_class(folder: Path) -> None:
    shutil.copytree(folder / "test" / "ant", folder / "test" / "cat")


def break_an_image(folder: Path) -> None:
    file = folder / "test" / "bee" / "1.png"
    file.write_bytes(file.read_bytes()[:60])


def fake_an_image(folder: Path) -> None:
    (folder / "test" / "bee" / "1.png").write_text("<html>")


def deepen_an_image(folder: Path) -> None:
    grey = pixels(0)[..., 0].astype(np.uint16) * 256
    Image.fromarray(grey).save(folder / "test" / "bee" / "1.png")


def add_another_size(folder: Path) -> None:
    Image.fromarray(pixels(0, 7, 9)).save(folder / "train" / "ant" / "2.png")


def add_another_test_size(folder: Path) -> None:
    for file in folder.glob("test/*/*.png"):
        Image.fromarray(pixels(0, 7, 9)).save(file)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove_train, "train is missing"),
        (remove_classes, "test has no class folders"),
        (empty_a_class, "bee contains no images"),
        (leave_one_class, "one class only, 'ant'"),
        (add_a_test_class, "only one of them has 'cat'"),
        (break_an_image, "cannot read .*test/bee/1.png"),
        (fake_an_image, "cannot read .*test/bee/1.png"),
        (deepen_an_image, r"test/bee/1.png has more than 8 bits a channel \(I;16\); convert it to 8"),
        (add_another_size, "2.png is 9x7 pixels but .*0.png is 4x5; .*data.size"),
        (add_another_test_size, "3x5x4 but test images 3x7x9"),
    ],
)
def test_a_folder_that_is_no_set_is_refused_in_one_line(folder: Path, harm, message: str) -> None:
    harm(folder)
    with pytest.raises(UserError, match=message) as error:
        load(folder)
    assert "\n" not in str(error.value)
