"""Equal magnitudes against running means computed apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.losses.weighting.scale import Scale

batches = st.lists(st.lists(st.floats(1e-3, 1e4), min_size=3, max_size=3), min_size=1, max_size=12)


def never() -> torch.Tensor:
    raise AssertionError("scale needs no gradient of the layer")


@given(batches, st.floats(0, 0.99))
def test_weights_are_inverse_to_the_running_means_and_keep_their_sum(seen: list[list[float]], decay: float) -> None:
    weighting = Scale({"a": 0.95, "b": 0.01, "c": 0.54}, decay).double()
    for losses in seen:
        weighting.adapt(torch.tensor(losses, dtype=torch.float64), never)
    # the exponentially weighted mean by its definition: newer batches count more, weights of all batches sum to 1
    share = [decay ** (len(seen) - 1 - i) for i in range(len(seen))]
    means = [sum(s * losses[k] for s, losses in zip(share, seen, strict=True)) / sum(share) for k in range(3)]
    weights = weighting.current.tolist()
    assert sum(weights) == pytest.approx(1.5)
    magnitudes = [w * m for w, m in zip(weights, means, strict=True)]
    assert magnitudes == pytest.approx([magnitudes[0]] * 3)


def test_the_losses_of_the_thesis_lead_near_its_weights() -> None:
    """A cross-entropy of 2.3 and a similarity loss of 340 (section 5, point 1) against the printed 0.99 and 0.01."""
    weighting = Scale({"pred": 0.5, "sim": 0.5})
    weighting.adapt(torch.tensor([2.3, 340.0]), never)
    assert weighting.current.tolist() == pytest.approx([0.993, 0.007], abs=5e-4)


def test_a_loss_of_zero_takes_no_other_weight_to_infinity() -> None:
    weighting = Scale({"a": 0.5, "b": 0.5})
    weighting.adapt(torch.tensor([0.0, 1.0]), never)
    assert torch.isfinite(weighting.current).all()
