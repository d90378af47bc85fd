"""The pictures of an HSIC run show what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from snnhll.reports.hsic_pictures import information_plane, kernel_matrices


def test_every_layer_stands_beside_the_labels_for_every_epoch(drawn: list[Figure], tmp_path: Path) -> None:
    matrices = {epoch: torch.rand(3, 6, 6) for epoch in (4, 0, 9)}
    for matrix in matrices.values():
        matrix[0] = torch.eye(6) * 1.25 - 0.25
    kernel_matrices(tmp_path, matrices, ["a", "b", "c"])
    shown = [panel for panel in drawn[0].axes if panel.get_title()]
    assert [panel.get_title() for panel in shown] == [
        title
        for epoch in (1, 5, 10)
        for title in ("labels, -0.25 to 1", f"layer 1, epoch {epoch}", f"layer 2, epoch {epoch}")
    ]
    expected = [matrix for epoch in (0, 4, 9) for matrix in matrices[epoch]]
    for panel, matrix in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), matrix.numpy())
    scales = {panel.images[0].get_clim() for panel in shown if "layer" in panel.get_title()}
    assert scales == {(0.0, max(float(m[1:].max()) for m in matrices.values()))}
    assert [label.get_text() for label in shown[0].get_yticklabels()] == ["a", "b", "c"]
    np.testing.assert_allclose(shown[0].get_yticks(), [0.5, 2.5, 4.5])  # the middle of two samples each


def test_the_plane_goes_through_what_each_layer_reached(drawn: list[Figure], tmp_path: Path) -> None:
    names = ("hsic_xz", "hsic_zy", "slope_same_class", "slope_different_class")
    draw = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {"epoch": epoch, "similarities": {name: draw.normal(size=2).tolist() for name in names}} for epoch in range(5)
    ]
    information_plane(tmp_path, rows)
    plane, slopes = drawn[0].axes

    def followed(name: str, layer: int) -> list[float]:
        return [row["similarities"][name][layer] for row in rows]

    for layer in (0, 1):
        (line,) = [line for line in plane.lines if line.get_label() == f"layer {layer + 1}"]
        np.testing.assert_array_equal(line.get_xdata(), followed("hsic_xz", layer))
        np.testing.assert_array_equal(line.get_ydata(), followed("hsic_zy", layer))
    expected = [followed(f"slope_{pairs}_class", layer) for layer in (0, 1) for pairs in ("different", "same")]
    for line, values in zip(slopes.lines, expected, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), values)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
