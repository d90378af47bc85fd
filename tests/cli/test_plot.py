"""`snnhll plot`: what the pictures show, and what bad input gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import Command
from matplotlib.figure import Figure
from PIL import Image

from snnhll.cli.plot import _panels
from snnhll.config import options
from snnhll.encodings.latency import Latency
from snnhll.neurons.hodgkin_huxley import HodgkinHuxley
from snnhll.neurons.izhikevich import PATTERNS
from snnhll.reports import style
from snnhll.reports.encoding_pictures import draw_encodings
from snnhll.reports.neuron_pictures import draw_neurons
from snnhll.reports.surrogate_pictures import draw_surrogates
from snnhll.surrogates.boxcar import Boxcar
from snnhll.surrogates.exponential import Exponential

DRAWN = {
    "neuron=izhikevich neuron.preset=chattering": "izhikevich-chattering",
    "neuron=lif neuron.decay=0.5,0.9": "lif",
    "encoding=latency trainer.steps=6": "latency",
    "surrogates": "surrogates",
}


@pytest.mark.parametrize("line", list(DRAWN))
def test_a_picture_is_drawn_and_its_path_printed(snnhll: Command, line: str, tmp_path: Path) -> None:
    answer = snnhll("plot", *line.split())
    assert answer.code == 0
    path = Path(answer.out.strip())
    assert path == Path(f"outputs/plots/{DRAWN[line]}.png")
    with Image.open(tmp_path / path) as picture:
        assert min(picture.size) > 150


def test_the_format_is_that_of_the_file(snnhll: Command, tmp_path: Path) -> None:
    assert snnhll("plot", "surrogate=boxcar", "--out", "a/b.svg").out.strip() == "a/b.svg"
    assert "<svg" in (tmp_path / "a" / "b.svg").read_text()[:500]


MISTAKES = {
    "": "snnhll plot needs one of neuron=, encoding=, surrogate=NAME, neurons, patterns, encodings, surrogates.",
    "neurons encodings": "snnhll plot needs one of",
    "neuron": "snnhll plot neuron: no such page. Did you mean 'neurons'?",
    "neuron=izhikevich neuron.preset=chatter": "neuron.preset: 'chatter' is not an option.",
    "neuron=lif_euler neuron.dt=9": "neuron.dt: 9 is an unstable step for tau = 2; it must be below 4.",
    "neuron=lif --out a.txt": "--out a.txt: expected a file that ends in .png, .svg, .pdf.",
    "neuron=lif --size 3": "--size: no such flag; snnhll plot knows --out FILE and --image N.",
    "encoding=latency --image 9999": "--image 9999: expected the number of a test image, 0 to",
    "encoding=phase trainer.steps=3": "encoding.period: 5 steps do not fit into trainer.steps=3.",
}


@pytest.mark.parametrize("line", list(MISTAKES))
def test_mistakes(snnhll: Command, line: str) -> None:
    answer = snnhll("plot", *line.split())
    assert answer.code == 2
    (told,) = answer.err.splitlines()
    assert MISTAKES[line] in told


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, instead of files."""
    figures: list[Figure] = []

    def keep(picture: Figure, path: Path) -> Path:
        figures.append(picture)
        return path

    monkeypatch.setattr(style, "save", keep)
    return figures


def test_a_neuron_s_panel_shows_its_trace_current_and_spikes(drawn: list[Figure]) -> None:
    recording = HodgkinHuxley(Exponential()).record(((5.0, 0.0), (30.0, 10.0)))
    draw_neurons(Path("x.png"), [("squid", recording)])
    membrane, current = drawn[0].axes
    assert torch.equal(torch.as_tensor(membrane.lines[0].get_ydata()), recording.membrane)
    marks: Any = membrane.collections[0]
    assert [segment[0][0] for segment in marks.get_segments()] == pytest.approx(recording.spike_times)
    assert set(current.lines[0].get_ydata()) == {0.0, 10.0}
    assert current.get_ylabel() == "current\nin µA/cm²"
    assert current.get_xlabel() == "time in ms"


def test_a_code_s_row_shows_every_step_and_what_can_be_read_back(drawn: list[Figure]) -> None:
    image = torch.tensor([[[1.0, 0.5], [0.0, 1.0]]])
    draw_encodings(Path("x.png"), image, [("latency", Latency())], 3)
    left, right = drawn[0].axes
    assert left.images[0].get_array().tolist() == image[0].tolist()
    strip = torch.as_tensor(right.images[0].get_array().tolist())
    assert strip.shape == (3, 9)
    assert strip[:2, 6:8].tolist() == [[1, 0], [0, 1]]  # 1.0 fires at every step, 0.5 only at the second
    assert "1.8 spikes a pixel" in right.get_title()


def test_a_surrogate_s_panel_shows_its_derivative(drawn: list[Figure]) -> None:
    draw_surrogates(Path("x.png"), [Boxcar(gamma=0.5)])
    (panel,) = drawn[0].axes
    _, halved, own, doubled = (line.get_ydata() for line in panel.lines)
    assert [float(curve.max()) for curve in (halved, own, doubled)] == [2.0, 1.0, 0.5]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["gamma = 0.25", "gamma = 0.5", "gamma = 1"]


def test_pages_hold_every_option() -> None:
    for page in ("neurons", "encodings", "surrogates"):
        group, name, panels = _panels([page, "trainer.steps=6"], [])
        assert (f"{group}s", name) == (page, page)
        assert panels == [[f"{group}={option}", "trainer.steps=6"] for option in options(group) if option != "frames"]
    _, _, panels = _panels(["patterns"], [])
    assert panels == [["neuron=izhikevich", f"neuron.preset={preset}"] for preset in PATTERNS]
