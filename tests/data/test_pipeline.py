from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnhll.data import pipeline
from snnhll.data.augment import Augment
from snnhll.data.noise.gaussian import GaussianNoise
from snnhll.data.noise.none import NoNoise
from snnhll.data.noise.salt_pepper import SaltPepper
from snnhll.data.pipeline import Batch, Data
from snnhll.errors import UserError

LABELS = [0, 1, 2, 1, 0] * 10
EVERYTHING = {"augment": Augment(crop=1, flip=True, cutout=2), "noise": GaussianNoise(when="both")}


@pytest.fixture
def images(make_set):
    return make_set(LABELS, 3, test_labels=[0, 1, 2, 2, 1])


def identities(pixels: Tensor) -> list[int]:
    """The numbers that `make_set` wrote into training images, from pixels in [0, 1]."""
    levels = (pixels * 255).round().long()
    return (levels[:, 0, 0, 0] + 256 * levels[:, 0, 0, 1]).tolist()


def same(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(ours, theirs, strict=True)
    )


def test_training_validation_and_test_images_never_mix(images) -> None:
    data = Data(images, batch_size=8, seed=1, validation=0.2)
    train = [i for x, _ in data.train_batches(0) for i in identities(x)]
    val = [i for x, _ in data.eval_batches("val", 7) for i in identities(x)]
    assert sorted(train + val) == list(range(50))
    assert Counter(LABELS[i] for i in val) == {0: 4, 1: 4, 2: 2}
    test = torch.cat([x for x, _ in data.eval_batches("test", 2)])
    assert torch.equal((test * 255).round().to(torch.uint8), images.test_images)


def test_labels_stay_with_their_images(images) -> None:
    data = Data(images, batch_size=8, seed=1)
    for x, y in [*data.train_batches(3), *data.eval_batches("val", 4), *data.eval_batches("train", 9)]:
        assert [LABELS[i] for i in identities(x)] == y.tolist()


def test_statistics_are_those_of_the_training_split_alone(images) -> None:
    data = Data(images, batch_size=8, seed=1, validation=0.4)
    train = torch.cat([x for x, _ in data.eval_batches("train", 100)]).double()
    torch.testing.assert_close(train.mean((0, 2, 3)), data.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), data.std, atol=1e-6, rtol=0)


@settings(max_examples=30)
@given(epoch=st.integers(0, 50), start=st.integers(0, 6), balanced=st.booleans(), seed=st.integers(0, 99))
def test_a_resumed_epoch_continues_with_the_very_batches(
    make_set, epoch: int, start: int, balanced: bool, seed: int
) -> None:
    options = {"batch_size": 8, "seed": seed, "balanced": balanced, **EVERYTHING}
    whole = list(Data(make_set(LABELS, 3), **options).train_batches(epoch))
    resumed = Data(make_set(LABELS, 3), **options)
    torch.rand(7)  # a history the batches must not depend on
    list(resumed.train_batches(epoch + 1))
    assert same(list(resumed.train_batches(epoch, start)), whole[start:])


def test_seeds_and_epochs_differ_in_order(images) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        data = Data(images, batch_size=50, seed=seed, validation=0)
        return [i for x, _ in data.train_batches(epoch) for i in identities(x)]

    assert all_differ([order(0, 0), order(0, 1), order(1, 0), order(1, 1)])


@pytest.mark.parametrize("option", [{"augment": Augment(crop=2)}, {"noise": SaltPepper(when="train")}])
def test_seeds_epochs_and_steps_differ_in_augmentation_and_noise(images, option) -> None:
    # Of white images in any order only what is done to them can differ.
    white = replace(images, train_images=torch.full_like(images.train_images, 255))

    def steps(seed: int, epoch: int) -> list[list[float]]:
        data = Data(white, batch_size=25, seed=seed, validation=0, **option)
        return [x.flatten().tolist() for x, _ in data.train_batches(epoch)]

    assert all_differ([*steps(0, 0), *steps(0, 1), *steps(1, 0)])


def all_differ(values: list) -> bool:
    return all(a != b for a, b in combinations(values, 2))


@pytest.mark.parametrize(
    ("count", "batch_size", "drop_last", "sizes"),
    [
        (20, 10, False, [10, 10]),
        (22, 10, False, [10, 10, 2]),
        (22, 10, True, [10, 10]),
        (21, 10, False, [10, 10]),  # batch statistics need two
        (3, 1, False, [1, 1, 1]),
        (4, 64, False, [4]),
    ],
)
def test_last_batch(make_set, count: int, batch_size: int, drop_last: bool, sizes: list[int]) -> None:
    images = make_set([i % 2 for i in range(count)], 2)
    data = Data(images, batch_size=batch_size, seed=0, validation=0, drop_last=drop_last)
    assert [len(y) for _, y in data.train_batches(0)] == sizes
    assert data.steps_per_epoch == len(sizes)


def test_no_batch_at_all_is_refused(images) -> None:
    with pytest.raises(UserError, match="45 training images do not fill one batch of 64"):
        Data(images, batch_size=64, seed=0, drop_last=True)


def test_without_validation_every_image_trains_and_val_is_empty(images) -> None:
    data = Data(images, batch_size=8, seed=0, validation=0)
    assert list(data.eval_batches("val", 4)) == []
    assert len(data.splits["train"]) == 50
    assert len(data.splits["val"]) == 0


def test_limit_counts_training_images_before_validation_is_held_out(images) -> None:
    data = Data(images, batch_size=8, seed=0, limit=5, validation=0.2)
    assert data.splits["train"].labels.bincount().tolist() == [4, 4, 4]
    assert data.splits["val"].labels.bincount().tolist() == [1, 1, 1]
    assert len(data.splits["test"]) == 5


def test_balanced_batches(images) -> None:
    data = Data(images, batch_size=9, seed=0, balanced=True, validation=0)
    for _, y in list(data.train_batches(0))[:-1]:
        assert y.bincount().tolist() == [3, 3, 3]


def test_augmentation_varies_training_batches_only(images) -> None:
    plain = Data(images, batch_size=8, seed=0)
    varied = Data(images, batch_size=8, seed=0, augment=Augment(cutout=3))
    assert same(list(plain.eval_batches("train", 8)), list(varied.eval_batches("train", 8)))
    for (x, y), (z, w) in zip(plain.train_batches(0), varied.train_batches(0), strict=True):
        assert torch.equal(y, w)
        cut = z != x
        assert bool((z[cut] == 0).all())
        assert bool(cut.flatten(1).any(1).all())


@pytest.mark.parametrize(("when", "trains"), [("train", True), ("both", True), ("test", False)])
def test_noise_trains_only_where_it_says_so(images, when, trains: bool) -> None:
    clean = Data(images, batch_size=8, seed=0)
    noisy = Data(images, batch_size=8, seed=0, noise=GaussianNoise(when=when))
    assert same(list(clean.train_batches(0)), list(noisy.train_batches(0))) is not trains


def test_no_noise_leaves_training_as_it_is(images) -> None:
    clean, none = (Data(images, batch_size=8, seed=0, noise=noise) for noise in (None, NoNoise()))
    assert same(list(clean.train_batches(0)), list(none.train_batches(0)))


def test_evaluation_noise_is_seeded_and_differs_between_batches(images) -> None:
    data = Data(images, batch_size=8, seed=0)
    noise = GaussianNoise(std=0.3)

    def noisy(seed: int) -> list[Batch]:
        return list(data.eval_batches("val", 2, noise=noise, seed=seed))

    assert same(noisy(3), noisy(3))
    assert not same(noisy(3), noisy(4))
    unclipped = data.eval_batches("val", 2, noise=GaussianNoise(std=0.3, clip=False))
    added = [x - z for (x, _), (z, _) in zip(unclipped, data.eval_batches("val", 2), strict=True)]
    assert not torch.allclose(added[0], added[1], atol=1e-3)
    pixels = torch.cat([x for x, _ in noisy(3)])
    assert (pixels.min().item(), pixels.max().item()) == (0.0, 1.0)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_evaluation_noise_does_not_depend_on_the_batch_size(images, monkeypatch, batch_size: int) -> None:
    monkeypatch.setattr(pipeline, "NOISE_BLOCK", 3)
    data = Data(images, batch_size=8, seed=0)

    def noisy(size: int) -> torch.Tensor:
        return torch.cat([x for x, _ in data.eval_batches("train", size, noise=GaussianNoise(std=0.3))])

    assert torch.equal(noisy(batch_size), noisy(4))
    added = noisy(batch_size) - torch.cat([x for x, _ in data.eval_batches("train", 4)])
    assert not torch.allclose(added[:3], added[3:6], atol=1e-3)


def test_the_probe_holds_equally_many_training_images_of_each_class_in_order(images) -> None:
    data = Data(images, batch_size=8, seed=0)
    probe, labels = data.probe()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    trained = {identity for x, _ in data.eval_batches("train", 9) for identity in identities(x)}
    assert set(identities(probe)) <= trained
    assert len(set(identities(probe))) == len(labels)
    assert torch.equal(probe, Data(images, batch_size=7, seed=0).probe()[0])


def test_says_what_it_holds(images) -> None:
    data = Data(images, batch_size=8, seed=0)
    assert (data.name, data.variant, data.shape, data.classes) == ("made", "", (2, 6, 6), images.classes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_order_is_that_of_the_cpu_and_epochs_repeat(images) -> None:
    there, here = (Data(images, batch_size=8, seed=0, device=d) for d in ("cuda", "cpu"))
    for (x, y), (z, w) in zip(there.train_batches(2), here.train_batches(2), strict=True):
        assert x.device.type == "cuda"
        torch.testing.assert_close(x.cpu(), z)
        assert torch.equal(y.cpu(), w)
    varied = Data(images, batch_size=8, seed=0, device="cuda", **EVERYTHING)
    assert same(list(varied.train_batches(0)), list(varied.train_batches(0)))
