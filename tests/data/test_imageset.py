from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.data.imageset import ImageSet
from snnhll.data.stratify import stratified_split
from snnhll.errors import UserError

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80)


@given(labels=label_lists, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**31))
def test_split_is_disjoint_complete_and_stratified(labels: list[int], fraction: float, seed: int) -> None:
    kept, held = stratified_split(torch.tensor(labels), fraction, seed)
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    in_all, in_kept, in_held = Counter(labels), Counter(labels[i] for i in kept), Counter(labels[i] for i in held)
    for label, count in in_all.items():
        if count >= 2:
            assert in_kept[label] >= 1
            assert in_held[label] >= 1
            assert abs(in_held[label] - fraction * count) <= 1
        else:
            assert in_held[label] == 0


@given(labels=label_lists)
def test_split_of_nothing_keeps_everything(labels: list[int]) -> None:
    kept, held = stratified_split(torch.tensor(labels), 0.0, 0)
    assert kept.tolist() == list(range(len(labels)))
    assert held.numel() == 0


def test_split_depends_on_the_seed_only() -> None:
    labels = torch.arange(10).repeat(20)
    first, again, other = (stratified_split(labels, 0.1, seed)[1] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(labels=label_lists.filter(lambda ls: len(set(ls)) > 1), per_class=st.integers(1, 20))
def test_limited_keeps_the_first_of_each_class_in_order(make_set, labels: list[int], per_class: int) -> None:
    images = make_set(labels, 5)
    seen: Counter[int] = Counter()
    expected = []
    for index, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= per_class:
            expected.append(index)
    limited = images.limited(per_class)
    assert torch.equal(limited.train_images, images.train_images[expected])
    assert limited.train_labels.tolist() == [labels[i] for i in expected]
    assert torch.equal(limited.test_images, images.test_images)


@pytest.fixture
def valid(make_set) -> ImageSet:
    return make_set([0, 1, 2, 0, 1, 2], 3)


def test_shape_is_that_of_an_image(valid: ImageSet) -> None:
    assert valid.shape == (2, 6, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"train_images": s.train_images.float()}, "training images must be uint8"),
        (lambda s: {"test_images": s.test_images[:, 0]}, "test images must be uint8"),
        (lambda s: {"test_labels": s.test_labels.int()}, "int64 labels"),
        (lambda s: {"train_images": s.train_images[:0], "train_labels": s.train_labels[:0]}, "no training images"),
        (lambda s: {"test_images": s.test_images[:0], "test_labels": s.test_labels[:0]}, "no test images"),
        (lambda s: {"train_labels": s.train_labels[:-1]}, "6 training images but labels of shape \\[5\\]"),
        (lambda s: {"train_labels": s.train_labels - 1}, "run from -1 to 1, expected 0 to 2"),
        (lambda s: {"test_labels": s.test_labels + 1}, "run from 1 to 3, expected 0 to 2"),
        (lambda s: {"train_labels": s.train_labels * 0}, "all of one class"),
        (lambda s: {"test_images": s.test_images[..., 1:]}, "2x6x6 but test images 2x6x5"),
    ],
)
def test_a_set_that_is_none_is_refused(valid: ImageSet, change, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        replace(valid, **change(valid))
    assert "data=made" in str(error.value)
    assert "\n" not in str(error.value)
