"""Adam against torch's own, to the bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snnhll.assemble import make_optimizer
from snnhll.config import compose
from snnhll.errors import UserError
from snnhll.optimizers.adam import Adam

SHAPES = [(3, 2, 5, 5), (4, 7), (4,)]


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=draw, dtype=dtype) for shape in SHAPES]
    weights[0] = weights[0].contiguous(memory_format=torch.channels_last)
    return [nn.Parameter(w) for w in weights]


def theirs(params: list[nn.Parameter], decoupled: bool, **options: Any) -> torch.optim.Optimizer:
    return (torch.optim.AdamW if decoupled else torch.optim.Adam)(params, fused=True, **options)


def give(params: list[nn.Parameter], seed: int, missing: tuple[int, ...] = ()) -> None:
    """The same gradients for the same seed, none for the parameters of those places."""
    draw = torch.Generator().manual_seed(seed)
    for i, p in enumerate(params):
        grad = torch.randn(p.shape, generator=draw, dtype=p.dtype).mul(10.0**i)
        p.grad = (
            None
            if i in missing
            else grad.contiguous(memory_format=torch.channels_last if p.dim() == 4 else torch.contiguous_format)
        )


def values(params: list[nn.Parameter]) -> list[Tensor]:
    return [p.detach().clone() for p in params]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@settings(max_examples=25, deadline=None)
@given(
    lr=st.floats(1e-5, 1.0),
    decay=st.sampled_from([0.0, 0.1]),
    eps=st.sampled_from([1e-8, 1e-3]),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.5)]),
    decoupled=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    missing=st.lists(st.sets(st.integers(0, 2)), min_size=1, max_size=4),
)
def test_it_moves_as_torch_moves(
    lr: float,
    decay: float,
    eps: float,
    betas: tuple[float, float],
    decoupled: bool,
    dtype: torch.dtype,
    missing: list[set[int]],
) -> None:
    ours, other = parameters(dtype), parameters(dtype)
    options: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay}
    a, b = Adam(ours, **options, decoupled=decoupled), theirs(other, decoupled, **options)
    for seed, without in enumerate(missing):
        for params, optimizer in ((ours, a), (other, b)):
            give(params, seed, tuple(without))
            optimizer.step()
        assert same(values(ours), values(other))


def test_one_parameter_by_hand() -> None:
    p = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = Adam([p], lr=0.1, betas=(0.8, 0.5), eps=0.0)
    p.grad = torch.tensor([2.0], dtype=torch.float64)
    optimizer.step()
    assert p.item() == pytest.approx(0.9)  # the corrected means are g and g²: a first step is lr, whatever the gradient
    p.grad = torch.tensor([-1.0], dtype=torch.float64)
    optimizer.step()
    first, second = (0.8 * 0.4 - 0.2) / (1 - 0.64), (0.5 * 2.0 + 0.5) / (1 - 0.25)
    assert p.item() == pytest.approx(0.9 - 0.1 * first / second**0.5)


def test_a_checkpoint_continues_to_the_bit() -> None:
    straight, broken = parameters(), parameters()
    a, b = Adam(straight, lr=0.1), Adam(broken, lr=0.1)
    for seed in range(4):
        if seed == 2:
            b.param_groups[0]["lr"] = 0.05
            saved = b.state_dict()
            b = Adam(broken, lr=0.3)
            b.load_state_dict(saved)
            assert b.param_groups[0]["lr"] == 0.05
            a.param_groups[0]["lr"] = 0.05
        for params, optimizer in ((straight, a), (broken, b)):
            give(params, seed, missing=(1,) if seed < 3 else ())
            optimizer.step()
    assert same(values(straight), values(broken))


def test_zero_grad_forgets_and_a_step_without_gradients_moves_nothing() -> None:
    params = parameters()
    optimizer = Adam(params, lr=0.1)
    give(params, 0)
    optimizer.zero_grad()
    before = values(params)
    optimizer.step()
    assert same(before, values(params))


@pytest.mark.parametrize("override", ["optimizer.lr=-1", "optimizer.weight_decay=-0.1", "+optimizer.eps=-1e-9"])
def test_what_is_out_of_range_is_named(override: str) -> None:
    key = override.lstrip("+").partition("=")[0]
    with pytest.raises(UserError, match=rf"^{key}: .*out of range"):
        make_optimizer(compose([override]), [], parameters())


def test_the_two_options_differ_in_the_decay_only() -> None:
    moved = {}
    for name in ("adam", "adamw"):
        params = parameters()
        optimizer = make_optimizer(compose([f"optimizer={name}", "optimizer.weight_decay=0.5"]), [], params)
        other = parameters()
        torch_one = theirs(other, name == "adamw", lr=optimizer.param_groups[0]["lr"], weight_decay=0.5)
        for group, one in ((params, optimizer), (other, torch_one)):
            give(group, 0)
            one.step()
        assert same(values(params), values(other))
        moved[name] = values(params)
    assert not same(moved["adam"], moved["adamw"])


def test_a_run_never_loads_the_compiler_of_torch(tmp_path: Any) -> None:
    code = (
        "import sys, snnhll; "
        "snnhll.train(['trainer.epochs=1', 'data.limit=10', 'tracking=none', f'output_dir={sys.argv[1]}']); "
        "print('torch._dynamo' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_a_gradient_in_another_memory_order_moves_its_own_weights() -> None:
    weight = nn.Parameter(torch.zeros(4, 3, 2, 2).contiguous(memory_format=torch.channels_last))
    weight.grad = torch.zeros(4, 3, 2, 2)
    weight.grad[0, 1, 0, 0] = 1
    Adam([weight], lr=0.1).step()
    assert weight.nonzero().tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam"])
def test_an_optimiser_that_takes_more_than_a_gradient_is_refused(name: str) -> None:
    config = compose([]) | {"optimizer": {"_target_": f"torch.optim.{name}", "name": name, "lr": 0.1}}
    with pytest.raises(UserError, match=f"optimizer: {name} takes more than one dense gradient a step"):
        make_optimizer(config, [], parameters())
