"""Rate code: spikes whose probability is the pixel."""

from __future__ import annotations

import torch

from snnhll.encodings.poisson import Poisson


def test_spikes_come_at_the_rate_of_the_pixels_independently_over_time() -> None:
    torch.manual_seed(0)
    images = torch.tensor([0.0, 0.1, 0.5, 1.0]).view(1, 1, 2, 2)
    spikes = Poisson(rate=0.8)(images, 20000).flatten(1)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(spikes.mean(0), torch.tensor([0.0, 0.08, 0.4, 0.8]), rtol=0, atol=0.015)
    now, next_ = spikes[:-1, 2], spikes[1:, 2]
    assert abs(float(((now - now.mean()) * (next_ - next_.mean())).mean())) < 0.01


def test_evaluation_repeats_and_leaves_the_generator_of_training_alone() -> None:
    images = torch.full((2, 1, 3, 3), 0.5)
    code = Poisson().eval()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(code(images, 5), code(images, 5))
    assert torch.equal(torch.rand(3), expected)
    code.train()
    assert not torch.equal(code(images, 5), code(images, 5))


def test_in_evaluation_an_image_is_coded_alike_in_every_batch() -> None:
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    code = Poisson().eval()
    apart = torch.cat([code(images[:3], 5), code(images[3:].flip(0), 5).flip(1)], 1)
    assert torch.equal(code(images, 5), apart)
