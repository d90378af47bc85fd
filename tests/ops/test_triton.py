"""The CUDA kernels without a GPU: interpreted on the CPU they equal the reference, and they compile for GPUs.

Both need a process of their own: whether Triton interprets is settled when it is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode

from snnhll.ops import dispatch, which
from snnhll.surrogates.exponential import Exponential

INTERPRET = """
import json, torch
from dataclasses import asdict
from snnhll.bench.kernels import findings
from snnhll.ops import cuda
for found in findings(cuda, torch.device("cpu")):
    print(json.dumps({**asdict(found), "passed": found.passed}))
"""

COMPILE = """
import itertools, json, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from snnhll.ops import triton_kernels as kernels

FLOATS = {"decay", "v_th", "v_reset", "peak", "sharpness", "duration", "carry", "through_reset"}
COUNTS = {"steps", "cells", "height", "width", "channels", "size", "sent_size", "pixels", "inner", "share"}
capabilities = itertools.cycle([80, 90])
STORED = {"z", "gate", "spikes", "current", "grad_spikes", "grad_current", "out"}

def compiled(kernel, stored, ones=(), **constants):
    constants |= dict.fromkeys(ones, 1)  # a launch makes constants of arguments that are 1
    def kind(name):
        if name in constants: return "constexpr"
        if name in FLOATS: return "fp32"
        if name in COUNTS: return "i32"
        return "*fp64" if name == "sums" else f"*{stored}" if name in STORED else "*fp32"
    source = ASTSource(kernel, {name: kind(name) for name in kernel.arg_names}, constants)
    target = GPUTarget("cuda", next(capabilities), 32)
    code = triton.compile(source, target=target, options={"enable_fp_fusion": False}).asm
    print(json.dumps({"kernel": kernel.fn.__name__, "cubin": len(code["cubin"]), "fused": "fma." in code["ptx"]}))

for pool, (soft, last) in itertools.product([1, 2, 3], [(True, True), (False, False)]):
    compiled(kernels.lif_pass, "bf16", KIND="Exponential", SOFT=soft, SCALED=True, GATED=soft, AVERAGED=soft,
             GRADIENT=True, INPUT_MEANS=pool < 3, CONSTANT=not soft, LAST=last, POOL=pool,
             WINDOW=triton.next_power_of_2(pool**2), BLOCK=128)
compiled(kernels.lif_pass, "fp32", ["height", "width", "steps"], KIND="Boxcar", SOFT=True, SCALED=False, GATED=False,
         AVERAGED=False, GRADIENT=False, INPUT_MEANS=False, CONSTANT=True, LAST=True, POOL=1, WINDOW=1, BLOCK=512)
for ones in ([], ["inner"]):
    compiled(kernels.moment_sums, "fp16", ones, ROWS=32, COLUMNS=64)
    compiled(kernels.gradient_sums, "fp32", ones, ROWS=32, COLUMNS=64)
    compiled(kernels.rate_gradient, "bf16", ones, BLOCK=512)
KINDS = {"Sigmoid": [], "Boxcar": ["steps"], "Triangle": ["size"], "Exponential": [], "Arctangent": []}
for kind, ones in KINDS.items():
    how = {"SOFT": kind == "Sigmoid", "CONSTANT": kind == "Triangle", "BLOCK": 512}
    compiled(kernels.lif_sequence, "bf16", ones, **how)
    compiled(kernels.lif_sequence_backward, "bf16", ones, KIND=kind, **how)
"""


def answers(code: str, **environment: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_interpreted_kernels_equal_the_reference() -> None:
    """Forward to the bit, gradients to rounding, for every reset, surrogate, pooling, gate, precision and layout."""
    found = answers(INTERPRET, TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    assert {f["kernel"] for f in found} == {"lif_pass", "lif_sequence", "moments", "rate_gradient"}
    assert len(found) > 100
    assert not [f for f in found if not f["passed"]]


def test_kernels_compile_for_gpus_and_fuse_nothing(tmp_path: Any) -> None:
    """Down to machine code, without a GPU. A fused multiply-add would round once where the reference rounds twice."""
    found = answers(COMPILE, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
    assert {f["kernel"] for f in found} == {
        "lif_pass", "moment_sums", "gradient_sums", "rate_gradient", "lif_sequence", "lif_sequence_backward"
    }  # fmt: skip
    assert all(f["cubin"] > 0 and not f["fused"] for f in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_tensors_take_the_triton_path(dtype: torch.dtype) -> None:
    with FakeTensorMode():
        maps = torch.empty(3, 2, 5, 4, 4, dtype=dtype, device="cuda")
        assert which(maps, Exponential()) == "triton"
        assert which(maps.movedim(2, -1).contiguous().movedim(-1, 2), Exponential()) == "triton"
        assert "channels_last" in which(maps.transpose(0, 1), Exponential())


def test_missing_triton_is_said_and_the_reference_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snnhll.ops.cuda", None)
    dispatch._import_error.cache_clear()
    try:
        with FakeTensorMode():
            z = torch.empty(3, 2, 50, device="cuda")
            assert which(z, Exponential()).startswith("reference: triton does not import")
    finally:
        dispatch._import_error.cache_clear()


def test_more_than_32_bits_can_count_runs_the_reference() -> None:
    with FakeTensorMode():
        z = torch.empty(1, 2**16, 2**15, dtype=torch.bfloat16, device="cuda")
        assert which(z).startswith("reference: 2147483648 values in one time step")


def test_float64_is_what_the_user_asked_for() -> None:
    with FakeTensorMode():
        assert which(torch.empty(3, 2, 5, dtype=torch.float64, device="cuda")).startswith("reference: no fast path for")
