from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhll.data.sampler import balanced, shuffled

seeds = st.integers(0, 2**31)
label_lists = st.lists(st.sampled_from([0, 1, 3, 7]), min_size=2, max_size=90)


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(labels=label_lists, seed=seeds)
def test_shuffled_visits_every_image_once(labels: list[int], seed: int) -> None:
    assert sorted(shuffled(torch.tensor(labels), draw(seed)).tolist()) == list(range(len(labels)))


@given(labels=label_lists, seed=seeds, size=st.integers(1, 20))
def test_balanced_batches_hold_equally_many_of_each_class(labels: list[int], seed: int, size: int) -> None:
    order = balanced(torch.tensor(labels), draw(seed)).tolist()
    assert len(order) == len(labels)
    for start in range(0, len(order), size):
        counts = Counter(labels[i] for i in order[start : start + size])
        occurring = [counts[label] for label in set(labels)]
        assert max(occurring) - min(occurring) <= 1


@given(labels=label_lists, seed=seeds)
def test_balanced_repeats_an_image_only_when_its_class_is_used_up(labels: list[int], seed: int) -> None:
    visits = Counter(balanced(torch.tensor(labels), draw(seed)).tolist())
    for label in set(labels):
        of_class = [visits[i] for i, other in enumerate(labels) if other == label]
        assert max(of_class) - min(of_class) <= 1


@given(per_class=st.integers(1, 20), classes=st.integers(2, 6), seed=seeds)
def test_balanced_visits_every_image_once_where_classes_are_of_equal_size(
    per_class: int, classes: int, seed: int
) -> None:
    labels = torch.arange(classes).repeat(per_class)
    assert sorted(balanced(labels, draw(seed)).tolist()) == list(range(len(labels)))


def test_balanced_is_random_within_classes_and_in_their_turns() -> None:
    labels = torch.arange(4).repeat(50)
    first, second = balanced(labels, draw(0)), balanced(labels, draw(1))
    assert not torch.equal(first, second)
    assert {tuple(labels[balanced(labels, draw(seed))[:4]].tolist()) for seed in range(200)} > {(0, 1, 2, 3)}
