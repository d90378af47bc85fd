"""Pictures of robustness show every run at every level, and the images as they were disturbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from snnhll.config import compose
from snnhll.errors import UserError
from snnhll.reports import style
from snnhll.reports.noise_pictures import Example, accuracy_against_level, examples_of_noise, level_key


@pytest.fixture
def run_folder(tmp_path: Path) -> Any:
    """A function from overrides to a folder with their configuration in it."""

    def make(*overrides: str) -> Path:
        path = tmp_path / "-".join(overrides)
        path.mkdir()
        OmegaConf.save(OmegaConf.create(compose(list(overrides))), path / "config.yaml")
        return path

    return make


@pytest.mark.parametrize(
    ("choices", "key"),
    [
        ([["noise=gaussian", "noise.std=0.1"]], "noise.std"),
        ([["noise=pgd", f"noise.epsilon={e}", "noise.steps=20"] for e in (0, 0.1)], "noise.epsilon"),
        ([["noise=gaussian", f"noise.std={s}", "seed=3", "data.root=x"] for s in (0, 0.1)], "noise.std"),
    ],
)
def test_the_level_is_the_number_that_varies(choices: list[list[str]], key: str) -> None:
    assert level_key(choices) == key


@pytest.mark.parametrize("choices", [[[]], [["noise=gaussian"]], [["noise=gaussian", "noise.when=test", "seed=1"]]])
def test_without_a_level_nothing_can_be_drawn(choices: list[list[str]]) -> None:
    with pytest.raises(UserError, match=r"--out: needs levels of noise.*noise\.std=0,0\.1,0\.2"):
        level_key(choices)


def test_runs_are_overlaid_and_seeds_averaged(drawn: list[Figure], run_folder: Any, tmp_path: Path) -> None:
    hbh = [run_folder("loss=hsic", f"seed={seed}") for seed in (0, 1)]
    bptt = run_folder("rule=bptt")
    accuracy = {hbh[0]: 0.9, hbh[1]: 0.8, bptt: 0.7}
    rows = [
        {
            "run_dir": str(run),
            "overrides": [f"noise={kind}", f"noise.epsilon={level}", "data.root=elsewhere"],
            "test_accuracy": accuracy[run] - level - (0.1 if kind == "pgd" else 0),
        }
        for run in accuracy
        for kind in ("fgsm", "pgd")
        for level in (0.2, 0.0)
    ]
    accuracy_against_level(tmp_path, rows)
    assert [panel.get_title() for panel in drawn[0].axes] == ["noise=fgsm", "noise=pgd"]
    for panel, less in zip(drawn[0].axes, (0, 10), strict=True):
        lines = {line.get_label(): line for line in panel.lines}
        assert set(lines) == {"hsic (n=2)", "bptt"}
        for name, clean in (("hsic (n=2)", 85), ("bptt", 70)):
            np.testing.assert_array_equal(lines[name].get_xdata(), [0.0, 0.2])
            np.testing.assert_allclose(lines[name].get_ydata(), [clean - less, clean - 20 - less])
        band = panel.collections[0].get_paths()[0].vertices[:, 1]
        deviation = np.std([90, 80], ddof=1)
        np.testing.assert_allclose([band.min(), band.max()], [65 - less - deviation, 85 - less + deviation])


def test_runs_of_one_loss_are_told_apart_by_what_differs(drawn: list[Figure], run_folder: Any, tmp_path: Path) -> None:
    runs = [run_folder("loss=pred", f"neuron.v_th={v}") for v in (0.5, 2.0)]
    rows = [{"run_dir": str(r), "overrides": ["noise.std=0.1"], "test_accuracy": 0.5} for r in runs]
    accuracy_against_level(tmp_path, rows)
    assert {line.get_label() for line in drawn[0].axes[0].lines} == {"neuron.v_th=0.5", "neuron.v_th=2"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kinds", [1, 2])
def test_the_legend_is_inside_the_picture_and_covers_no_panel(
    drawn: list[Figure], run_folder: Any, tmp_path: Path, kinds: int
) -> None:
    keys = ("neuron.v_th", "optimizer.lr", "trainer.steps", "trainer.batch_size", "trainer.epochs")
    runs = [run_folder("loss=pred", *(f"{key}={value}" for key in keys)) for value in (1, 2, 3)]
    rows = [
        {"run_dir": str(r), "overrides": [f"noise={kind}", f"noise.epsilon={level}"], "test_accuracy": 0.5}
        for r in runs
        for kind in ("fgsm", "pgd")[:kinds]
        for level in (0, 0.1)
    ]
    accuracy_against_level(tmp_path, rows)
    picture = drawn[0]
    picture.canvas.draw()
    (legend,) = picture.legends
    assert [text.get_text().count("=") for text in legend.get_texts()] == [len(keys)] * 3
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= picture.bbox.width
    assert 0 <= box.y0 < box.y1 <= picture.bbox.height
    assert not any(box.overlaps(panel.get_tightbbox()) for panel in picture.axes)
    assert all(min(panel.bbox.size) > 2 * picture.dpi for panel in picture.axes)


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_show_the_disturbed_images_and_mark_mistakes(
    drawn: list[Figure], tmp_path: Path, channels: int
) -> None:
    examples = [
        Example([f"noise={kind}", f"noise.std={level}"], torch.rand(2, channels, 4, 4), ["cat", "dog"], ["cat", "cow"])
        for kind in ("gaussian", "speckle")
        for level in (0.2, 0.1)
    ]
    examples_of_noise(tmp_path, examples, "a network")
    panels = drawn[0].axes
    assert len(panels) == 8  # two kinds of two images each, by two levels
    order = [examples[1], examples[0], examples[3], examples[2]]  # levels rise from left to right
    shown = [(order[2 * kind + column], i) for kind in (0, 1) for i in (0, 1) for column in (0, 1)]
    for panel, (example, i) in zip(panels, shown, strict=True):
        pixels = example.images[i].movedim(0, -1).squeeze(-1).numpy()
        np.testing.assert_allclose(panel.images[0].get_array(), pixels, atol=1e-6)
        assert panel.get_xlabel() == example.said[i]
        right = example.said[i] == example.labels[i]
        assert to_hex(panel.xaxis.label.get_color()) == ("#000000" if right else style.COLOURS[5].lower())
    assert [panels[i].get_title() for i in (0, 1)] == ["std 0.1", "std 0.2"]
