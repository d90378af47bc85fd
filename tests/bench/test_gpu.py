"""`bench/gpu/run` as far as it goes without a GPU, and what it makes of what a GPU would say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from snnhll.bench import gpu, spikingjelly
from snnhll.bench.gpu import HERE_IS_NO_GPU, overrides
from snnhll.bench.gpu_table import Line, table
from snnhll.bench.works import Work
from snnhll.config import compose
from snnhll.frozen import HERE, thaw

REPOSITORY = Path(__file__).parents[2]
SCRIPT, CONFIGS = REPOSITORY / "bench/gpu/run", REPOSITORY / "bench/gpu/configs.json"


def test_the_kept_configurations_are_those_of_today() -> None:
    """When this fails: bench/gpu/run --compose."""
    today = {setting: compose([*words, *HERE]) for setting, words in overrides().items()}
    assert thaw(CONFIGS) == json.loads(json.dumps(today))


def test_runs_without_a_gpu_and_without_hydra_and_says_so(tmp_path: Path, bare_python: list[str]) -> None:
    out = tmp_path / "lines.jsonl"
    words = [*bare_python, str(SCRIPT), "--device", "cpu", "--quick", "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[0]["note"] == HERE_IS_NO_GPU
    assert {line["part"] for line in lines} == {"device", "kernels", "floor", "step", "epoch"}
    steps = {(line["who"], line["setting"]) for line in lines if line["part"] == "step" and "failed" not in line}
    assert {("snnhll", setting) for setting in gpu.SETTINGS} <= steps
    assert HERE_IS_NO_GPU in done.stdout.partition("| who |")[0]


@pytest.mark.parametrize(("words", "said"), [([], "no CUDA GPU was found"), (["--device", "cpu"], "add --quick")])
def test_what_makes_no_sense_here_is_said_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(words, CONFIGS) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_spikingjelly_trains_the_same_work_here() -> None:
    work = Work("tiny", "8C3-P2-FC10", (3, 8, 8), "batch", "cifar10")
    for backend in spikingjelly.backends():
        network = spikingjelly.Network(work, 2)
        if backend in (spikingjelly.AUTOMATIC, "torch"):
            network.use(backend)
        assert network(torch.rand(2, *work.shape)).shape == (2, 10)


def test_the_table_compares_with_the_fastest_rival_of_the_same_batch() -> None:
    def step(who: str, setting: str, batch: int, speed: float) -> Line:
        return {"part": "step", "who": who, "setting": setting, "batch": batch, "samples_per_second": speed}

    lines: list[Line] = [
        {"part": "device", "name": "a GPU", "T": 10},
        {"part": "kernels", "kernel": "lif_pass", "cases": 7, "failed": ["soft: 1 differ, error 0"]},
        step("snnhll", "pred_sim rate bf16", 64, 900.0),
        step("spikingjelly", "default, torch", 64, 100.0),
        step("spikingjelly", "default, cupy", 64, 300.0),
        step("spikingjelly", "default, cupy", 256, 800.0),
        {"part": "step", "who": "snnhll", "setting": "bptt bf16", "batch": 64, "failed": "OutOfMemoryError: too large"},
        {
            "part": "epoch",
            "setting": "pred_sim rate bf16",
            "images": 50000,
            "seconds": 12.34,
            "measured": "9 of 9",
        },
    ]
    text = table(lines)
    assert "| snnhll | pred_sim rate bf16 | 64 | 900 |  |  | 3.00 |" in text
    assert "| snnhll | bptt bf16 | 64 | OutOfMemoryError: too large |" in text
    assert "kernels: 7 cases checked, 1 differ" in text
    assert "12.3 s (9 of 9)" in text
    assert "not installed" not in text
    alone = table([line for line in lines if line.get("who") != "spikingjelly"])
    assert "SpikingJelly is not installed here" in alone
    assert "| snnhll | pred_sim rate bf16 | 64 | 900 |  |  |  |" in alone
