"""What bad input gets: one line on stderr, exit code 2, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from cli_runs import TINY, Answer, Command, Finished, in_own_process, only_run, read_metrics, read_result
from PIL import Image


def one_line(answer: Answer) -> str:
    """The message of a refused command, checked to be all it said."""
    assert answer.code == 2, answer
    (line,) = answer.err.splitlines()
    assert line.startswith("snnhll: ")
    assert answer.out == ""
    return line.removeprefix("snnhll: ")


OVERRIDES = {
    # a misspelt key or option, with the nearest name
    "trainer.epoch=3": "trainer.epoch: no such key. Did you mean 'epochs'?",
    "neuron.vth=1": "neuron.vth: no such key. Did you mean 'v_th'?",
    "lr=0.1": "lr: no such key. Did you mean 'optimizer.lr'?",
    "epochs=3": "epochs: no such key. Did you mean 'trainer.epochs'?",
    "nueron.v_th=1": "nueron.v_th: no such key. Did you mean 'neuron.v_th'?",
    "data.augment.cut=1": "data.augment.cut: no such key. Did you mean 'cutout'?",
    "loss.weights.foo=1": "loss.weights.foo: no such key. Known: contrast, pred, recon, sim.",
    "noise.std=1": "noise.std: noise=none has no such key; noise=gaussian has.",
    "+foo=1": "foo: no such key.",
    "+neuron.foo=1": "neuron.foo: no such key.",
    "+loss.weights.foo=1": "loss.weights.foo: no such term; known: pred, sim, recon, contrast.",
    "loss=pred_smi": "loss=pred_smi: no such option. Did you mean 'pred_sim'?",
    "data=minst": "data=minst: no such option. Did you mean 'mnist'?",
    "experiment=hll_mnist": "experiment=hll_mnist: no such option. Did you mean 'hll_mnist_mlp'?",
    "loss=3": "loss=3: expected the name of an option.",
    "neuron=null": "neuron=null: expected the name of an option. Known: ",
    "trainer.update=onlin": "trainer.update: 'onlin' is not an option. Did you mean 'online'?",
    "~loss": "loss: missing",
    "~seed": "seed: missing",
    "trainer=3": "trainer: expected keys below it",
    # a value of the wrong type or out of range
    "trainer.epochs=abc": "trainer.epochs: expected a whole number, got 'abc'.",
    "trainer.epochs=1.5": "trainer.epochs: expected a whole number, got 1.5.",
    "trainer.epochs=inf": "trainer.epochs: expected a whole number, got inf.",
    "trainer.epochs=0": "trainer.epochs: 0 is out of range, expected a number >= 1.",
    "trainer.epochs=1e30": "trainer.epochs: 1e+30 is too large for a whole number of 64 bits.",
    f"seed={2**63}": f"seed: {2**63} is too large for a whole number of 64 bits.",
    "seed=-1": "seed: -1 is out of range, expected a number >= 0.",
    "force=maybe": "force: expected true or false, got 'maybe'.",
    "architecture.dropout=1": "architecture.dropout: 1.0 is out of range, expected a number in [0, 1).",
    "neuron.v_th=abc": "neuron.v_th: expected a number, got 'abc'.",
    "neuron.decay=2": "neuron.decay: 2.0 is out of range, expected a number in (0, 1].",
    "surrogate.alpha=0": "surrogate.alpha: 0.0 is out of range, expected a number > 0.",
    "optimizer.lr=abc": "optimizer.lr: expected a number, got 'abc'.",
    "optimizer.lr=nan": "optimizer.lr: nan is not a finite number.",
    "optimizer.lr=-1": "optimizer.lr: -1.0 is out of range, expected a number >= 0.",
    "+optimizer.betas=[0.9]": "optimizer.betas: [0.9] has 1 items, expected 2.",
    "+optimizer.betas=[0.9,1]": "optimizer.betas[1]: 1.0 is out of range, expected a number in [0, 1).",
    "loss.weightings=null": "loss.weightings: expected a mapping {key: value}, got None.",
    "schedule.milestones=3": "schedule.milestones: expected a list [a, b], got 3.",
    "schedule.milestones=[2]": "schedule.milestones[0]: 2.0 is out of range, expected a number in [0, 1].",
    "data.limit=0": "data.limit: 0 is out of range, expected a number >= 1.",
    "loss.weights={sim: 0, pred: 0}": "loss.weights: every weight is 0, so no layer would learn",
    "loss.weights=3": "loss.weights: expected a mapping {key: value}, got 3.",
    "loss.terms.pred=null": "loss.terms.pred: has no _target_",
    # an architecture that does not fit: which layer, which size
    "architecture.spec=4C3-P20-FCn": "layer 2 (P20) of '4C3-P20-FCn': cannot pool a map of 8x8 by 20",
    "architecture.width=1e300": "units after the width multiplier; expected 1 to 999999999.",
    "architecture.spec=99999C99999-FCn": "Memory does not suffice",
    "architecture.spec=784-128-10": "'784-128-10' expects 784 inputs, but an image here has 1x8x8 = 64",
    "architecture.spec=4C3-XX-FCn": "layer 2 (XX) of '4C3-XX-FCn': cannot read this layer",
    "architecture.spec=FC10-4C3-FCn": "layer 2 (4C3) of 'FC10-4C3-FCn': a convolution cannot follow",
    # labels that do not match the head
    "architecture.spec=4C3-P2-FC7": "the readout of '4C3-P2-FC7' has 7 classes, but the labels have 10",
    # places
    "device=gpu": "device: 'gpu' is not a device; use auto, cpu, cuda or cuda:0.",
    "device=cpu:1": "device: 'cpu:1' is not supported; use auto, cpu, cuda or cuda:0.",
    "device=meta": "device: 'meta' is not supported",
    "device=cuda:99": "device: 'cuda:99' asked for, but there are",
    "neuron._target_=os.system": "neuron._target_: 'os.system' is not trusted code.",
    # the syntax of overrides
    "foo": "'foo' is not of the form KEY=VALUE.",
    "=3": "'=3' is not of the form KEY=VALUE.",
    "seed=[": "Cannot read the overrides",
    "seed=1,2": "seed=1,2: several values make a sweep, which needs -m",
    "--foo": "--foo: no such flag.",
    "--config-dir=nowhere": "--config-dir nowhere: no such folder.",
    "--multirum": "--multirum: no such flag. Did you mean '--multirun'?",
}


@pytest.mark.parametrize("override", list(OVERRIDES))
def test_override(snnhll: Command, override: str, tmp_path: Path) -> None:
    line = one_line(snnhll("train", *TINY, override))
    assert OVERRIDES[override] in line
    assert list(tmp_path.iterdir()) == []


NEURONS = {
    # an integration step that is not stable, with the limit
    "neuron=lif_euler neuron.dt=5": "neuron.dt: 5 is an unstable step for tau = 2; it must be below 4.",
    "neuron=izhikevich neuron.dt=1 neuron.duration=1": "neuron.dt: 1 ms is an unstable step for these equations; it",
    "neuron=hodgkin_huxley neuron.dt=0.2": "neuron.dt: 0.2 is out of range, expected a number in (0, 0.1].",
    "neuron=hodgkin_huxley neuron.dt=0.07": "neuron.duration: 3 ms is no whole number of steps of neuron.dt = 0.07 ms.",
    # time constants that are none
    "neuron=lif_euler neuron.tau=-2": "neuron.tau: -2.0 is out of range, expected a number > 0.",
    "neuron=lif_euler neuron.refractory=-1": "neuron.refractory: -1.0 is out of range, expected a number >= 0.",
    # a rest that no number of steps makes up
    "neuron=lif_euler neuron.refractory=0.4": "neuron.refractory: 0.4 is no whole number of steps of neuron.dt = 1.",
    # a reset that is above the threshold, after which the neuron would never fire again
    "neuron.reset=hard neuron.v_reset=1": "neuron.v_reset: 1 is not below the threshold v_th = 1.",
    "neuron.v_reset=0.9": "neuron.v_reset: 0.9, which a soft reset does not read; add neuron.reset=hard.",
    "neuron=izhikevich neuron.c=40": "neuron.c: 40 mV is not below the threshold of 30 mV.",
    "neuron=srm neuron.tau_synapse=-0.5": "neuron.tau_synapse: -0.5 is out of range, expected a number > 0.",
    "neuron=srm neuron.tau_membrane=0": "neuron.tau_membrane: 0.0 is out of range, expected a number > 0.",
    "neuron=adaptive_lif neuron.tau_adaptation=-5": "neuron.tau_adaptation: -5.0 is out of range, expected a number >",
    "neuron=izhikevich neuron.a=-0.1": "neuron.a: -0.1, but 1/a is a time constant in ms; expected a number > 0.",
    "neuron=hodgkin_huxley neuron.capacitance=-1": "neuron.capacitance: -1.0 is out of range, expected a number > 0.",
    # no such firing pattern
    "neuron=izhikevich neuron.preset=chatering": "'chatering' is not an option. Did you mean 'chattering'?",
}


@pytest.mark.parametrize("overrides", list(NEURONS))
def test_neurons_that_cannot_be(snnhll: Command, overrides: str, tmp_path: Path) -> None:
    assert NEURONS[overrides] in one_line(snnhll("train", *TINY, *overrides.split()))
    assert list(tmp_path.iterdir()) == []


STIMULI = {
    # pixels outside [0, 1]
    "encoding=rate noise=gaussian noise.when=train noise.clip=false": "but this code needs them in [0, 1]; ",
    "encoding=latency noise=gaussian noise.when=train noise.clip=false": "but this code needs them in [0, 1]; ",
}


@pytest.mark.parametrize("overrides", list(STIMULI))
def test_input_that_does_not_fit_the_code(snnhll: Command, overrides: str, tmp_path: Path) -> None:
    answer = snnhll("train", *TINY, *overrides.split(), "output_dir=runs")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert STIMULI[overrides] in line
    result = read_result(only_run(tmp_path / "runs"))
    assert (result["status"], f"snnhll: {result['error']}") == ("failed", line)


UNFIT = {
    # a current of the wrong shape: images that are no recordings, and recordings cut in too few slices
    "encoding=frames": "encoding=frames: images of 1 channels, but trainer.steps=10 needs 20, two polarities a step;",
    "encoding=phase encoding.period=20": "encoding.period: 20 steps do not fit into trainer.steps=10.",
    "encoding=delta encoding.threshold=0.01": "encoding.threshold: 0.01 is less than the brightest pixel changes by",
    "schedule=cosine schedule.warmup=9": "schedule.warmup: 9 epochs of",
    # attacks that no gradient serves, or on networks that feedback or other layers help to classify
    "noise=fgsm encoding=poisson": "noise=fgsm: no gradient reaches the images through this network; use encoding=dir",
    "noise=pgd rule=local_all": "noise=pgd: an attack needs a network that classifies in one forward pass",
}


@pytest.mark.parametrize("overrides", list(UNFIT))
def test_what_would_fail_in_training_or_after_it_leaves_nothing_behind(
    snnhll: Command, overrides: str, tmp_path: Path
) -> None:
    assert UNFIT[overrides] in one_line(snnhll("train", *TINY, *overrides.split()))
    assert list(tmp_path.iterdir()) == []


UNREAD = {
    ("rule=bptt", "loss=hsic"): "loss=hsic: rule=bptt has its own way to learn and does not read loss; leave it away",
    ("rule=dfa", "kernel.sigma=2"): "kernel.sigma=2: rule=dfa has its own way to learn and does not read kernel",
    ("kernel=laplacian",): "kernel=laplacian: no term of loss=pred_sim uses a kernel; use loss=hsic.",
    ("loss=pred", "kernel.sigma=2"): "kernel.sigma=2: no term of loss=pred uses a kernel",
    ("loss=pred", "loss.terms.contrast.margin=0.5"): "this term has no weight; give it one, loss.weights.contrast=0.1.",
    ("loss.weightings.gradnorm.alpha=1",): "not the weighting in use; choose it, loss.weighting=gradnorm.",
    ("rule=hebb", "surrogate=boxcar"): "surrogate=boxcar: rule=hebb follows no surrogate derivative; leave it away.",
    ("rule=stdp", "rule.tau_slow=3"): "rule.tau_slow=3: rule=stdp does not read it with its other settings; leave it",
    ("rule=stdp", "rule.kind=pair", "rule.offset=1"): "rule.offset=1: rule=stdp does not read it with its other set",
    ("rule=hebb", "trainer.update=online"): "rule=hebb has its own way to learn and does not read trainer.update",
}


@pytest.mark.parametrize("overrides", list(UNREAD))
def test_what_the_run_would_not_read(snnhll: Command, overrides: tuple[str, ...], tmp_path: Path) -> None:
    assert UNREAD[overrides] in one_line(snnhll("train", *TINY, *overrides))
    assert list(tmp_path.iterdir()) == []


COMMANDS = {
    "trian": "'trian' is not a command. Did you mean 'train'?",
    "ls los": "'los' is not a configuration group. Did you mean 'loss'?",
    "validate los": "'los' is neither a configuration group nor a sweep. Did you mean 'loss'?",
    "show loss=pred_smi": "loss=pred_smi: no such option.",
    "show --foo": "'--foo' is not of the form KEY=VALUE.",
    "-c job -m": "-c: does not go with -m.",
    "-c foo": "-c: expected job after it.",
    "--resolve": "--resolve: goes with -c job.",
    "-sc foo": "-sc: expected install=bash, install=fish",
    "-m seed=range(3,1)": "seed=range(3,1): stands for no value",
    "bench mlp --stages 2 --scaling": "--stages measures this program alone",
    "report --metric epochs": "--metric epochs: no such number in result.json.",
    "train threads=5000": "threads: 5000 is out of range, expected a number in [1, 1024].",
    "data": "snnhll data needs the name of a set:",
    "data mnits": "data=mnits: no such option. Did you mean 'mnist'?",
    "eval": "snnhll eval needs the folder of a run",
    "eval nowhere": "nowhere: no run here",
    "eval nowhere --foo": "--foo: no such flag",
    "eval nowhere --out": "--out: expected DIR after it.",
    "eval nowhere noise=gaussian --out=pictures": "--out: needs levels of noise to draw, as in noise=gaussian",
    "sweep table_3_2 scale.seeds=two --dry-run": "scale.seeds: expected a whole number, got 'two'.",
    "sweep table_3_2 scale.seeds=0 --dry-run": "scale.seeds: 0 is out of range, expected a number >= 1.",
    "eval nowhere optimizer.lr=3": "optimizer.lr=3: a run's network is fixed",
    "eval nowhere tracking=none": "tracking=none: eval does not read it; eval changes keys of data and noise, seed, ",
    "eval nowhere data.limit=3": "data.limit=3: of training images, which eval does not look at; leave it away.",
    "eval nowhere data.augment.flip=true": "data.augment.flip=true: of training images",
    "plot neurons neuron.decay=0.5": "neuron.decay: neuron=hodgkin_huxley has no such key; neuron=adaptive_lif has.",
}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_command(snnhll: Command, command: str, tmp_path: Path) -> None:
    assert COMMANDS[command] in one_line(snnhll(*command.split()))
    assert list(tmp_path.iterdir()) == []


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    answer = in_own_process(["train", "trainer.epoch=3"], tmp_path)
    assert one_line(answer) == "trainer.epoch: no such key. Did you mean 'epochs'?"


def _mnist(root: Path, images: int = 20) -> Path:
    """A set in MNIST's files, of a few random images."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, images * 28 * 28, dtype=np.uint8)
    for part in ("train", "t10k"):
        head = bytes([0, 0, 8, 3, 0, 0, 0, images, 0, 0, 0, 28, 0, 0, 0, 28])
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = bytes([0, 0, 8, 1, 0, 0, 0, images])
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(i % 10 for i in range(images)))
    return raw


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_truncated_data_file(snnhll: Command, file: str, tmp_path: Path) -> None:
    damaged = _mnist(tmp_path / "sets") / file
    damaged.write_bytes(damaged.read_bytes()[:-3])
    line = one_line(snnhll("train", *TINY, "data=mnist", "data.root=sets", "output_dir=runs"))
    assert str(Path("sets/MNIST/raw") / file) in line
    assert "truncated" in line
    assert not (tmp_path / "runs").exists()


def test_missing_data_file(snnhll: Command, tmp_path: Path) -> None:
    (_mnist(tmp_path / "sets") / "train-labels-idx1-ubyte").unlink()
    line = one_line(snnhll("train", *TINY, "data=mnist", "data.root=sets", "data.download=false", "output_dir=runs"))
    assert line.startswith("data=mnist: no complete set in sets/MNIST/raw.")
    assert "data.download=true" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize("command", ["train", "data"])
def test_no_network(snnhll: Command, monkeypatch: pytest.MonkeyPatch, name: str, command: str, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    arguments = ["data", name] if command == "data" else ["train", *TINY, f"data={name}"]
    line = one_line(snnhll(*arguments, "data.root=sets"))
    assert line.startswith(f"data={name}: no complete set in sets/")
    assert "downloading failed" in line
    assert "Name or service not known" in line
    assert list(tmp_path.iterdir()) == []


def _images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{i}.png")


def test_image_folder_without_images(snnhll: Command, tmp_path: Path) -> None:
    _images(tmp_path / "set" / "train" / "cat", 2)
    _images(tmp_path / "set" / "train" / "dog", 0)
    _images(tmp_path / "set" / "test" / "cat", 1)
    _images(tmp_path / "set" / "test" / "dog", 1)
    line = one_line(snnhll("train", *TINY, "data=image_folder", "data.root=set", "output_dir=runs"))
    assert line.startswith("data=image_folder: set/train/dog contains no images")
    assert not (tmp_path / "runs").exists()


def test_image_folder_of_one_class(snnhll: Command, tmp_path: Path) -> None:
    _images(tmp_path / "set" / "train" / "cat", 2)
    _images(tmp_path / "set" / "test" / "cat", 1)
    line = one_line(snnhll("train", *TINY, "data=image_folder", "data.root=set", "output_dir=runs"))
    assert line == "data=image_folder: set/train holds one class only, 'cat'; expected two or more."
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def interrupted(finished: Finished, tmp_path: Path) -> Path:
    """The folder of the tiny run as an interruption leaves it, in ./runs."""
    folder = tmp_path / "runs" / finished.folder.name
    shutil.copytree(finished.folder, folder)
    (folder / "result.json").unlink()
    return folder


def test_checkpoint_of_another_configuration(snnhll: Command, interrupted: Path, tmp_path: Path) -> None:
    assert snnhll("train", *TINY, "seed=7", "output_dir=other").code == 0
    shutil.copy(only_run(tmp_path / "other") / "checkpoint.pt", interrupted / "checkpoint.pt")
    answer = snnhll("train", *TINY, "output_dir=runs")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "checkpoint.pt belongs to another configuration" in line
    assert "force=true" in line
    assert read_result(interrupted)["status"] == "failed"


def test_damaged_checkpoint(snnhll: Command, interrupted: Path) -> None:
    checkpoint = interrupted / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    answer = snnhll("train", *TINY, "output_dir=runs")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "checkpoint.pt is damaged" in line
    assert "force=true" in line
    assert snnhll("train", *TINY, "output_dir=runs", "force=true").code == 0


@pytest.mark.parametrize("file", ["checkpoint.pt", "config.yaml"])
def test_eval_of_a_damaged_run(snnhll: Command, interrupted: Path, file: str) -> None:
    (interrupted / file).write_bytes(b"{" + os.urandom(100))
    assert f"{file} is damaged" in one_line(snnhll("eval", str(interrupted)))


def test_eval_with_a_key_the_noise_does_not_have(snnhll: Command, finished: Finished) -> None:
    line = one_line(snnhll("eval", str(finished.folder), "noise=gaussian", "noise.sdt=0.1"))
    assert line == "noise.sdt: no such key. Did you mean 'std'?"


def test_eval_with_a_value_that_cannot_be_read(snnhll: Command, finished: Finished) -> None:
    line = one_line(snnhll("eval", str(finished.folder), "data.root=[a"))
    assert line.startswith("data.root=[a: the value cannot be read")


def test_eval_on_a_set_of_ones_own_reads_where_it_is_told_and_refuses_another_problem(
    snnhll: Command, tmp_path: Path
) -> None:
    for place, classes in (("set", ("cat", "dog")), ("moved", ("cat", "dog")), ("other", ("cat", "dog", "eel"))):
        for name in classes:
            _images(tmp_path / place / "train" / name, 8)
            _images(tmp_path / place / "test" / name, 1 + (place == "moved" and name == "dog"))
    own = ("train", *TINY, "data=image_folder", "data.root=set", "data.validation=0", "output_dir=runs")
    assert snnhll(*own).code == 0
    run = str(only_run(tmp_path / "runs"))
    accuracies = [
        json.loads(snnhll("eval", run, *place, "--json").out)[0]["test_accuracy"]
        for place in ((), ("data.root=moved",))
    ]
    assert accuracies == [0.5, pytest.approx(1 / 3)] or accuracies == [0.5, pytest.approx(2 / 3)]  # one class for all
    assert "nowhere" in one_line(snnhll("eval", run, "data.root=nowhere"))
    line = one_line(snnhll("eval", run, "data.root=other"))
    assert line == (
        f"data: images of 3x8x8 in 3 classes, but {run} was trained on 3x8x8 in 2 classes; choose such a set."
    )
    line = one_line(snnhll("eval", run, "data.size=6"))
    assert line.startswith("data: images of 3x6x6 in 2 classes, but")


def test_images_that_changed_under_a_run(snnhll: Command, tmp_path: Path) -> None:
    """Other images in the same folder: a finished run stands, an interrupted one is not continued with them."""
    for label, name in enumerate(("cat", "dog")):
        _images(tmp_path / "set" / "train" / name, 8)
        _images(tmp_path / "set" / "test" / name, 1 + label)
    own = ("train", *TINY, "data=image_folder", "data.root=set", "data.validation=0", "output_dir=runs")
    assert snnhll(*own).code == 0
    folder = only_run(tmp_path / "runs")
    (folder / "result.json").unlink()
    Image.new("RGB", (8, 8), (200, 200, 200)).save(tmp_path / "set" / "train" / "cat" / "0.png")
    answer = snnhll(*own)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "was begun with other images than data.root holds now" in line
    assert snnhll(*own, "force=true").code == 0


def test_loss_that_is_not_a_number(snnhll: Command, tmp_path: Path) -> None:
    answer = snnhll("train", *TINY, "optimizer.lr=1e30", "output_dir=runs")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    folder = only_run(tmp_path / "runs")
    result = read_result(folder)
    assert result["status"] == "failed"
    assert line == f"snnhll: {result['error']}"
    assert "of layer1 became nan in epoch 1, step 2" in line
    assert "loss 'pred'" in line or "loss 'sim'" in line
    assert "Traceback" in (folder / "error.txt").read_text()
    assert read_metrics(folder) == []


@pytest.mark.parametrize(
    "override", ["trainer.steps=1000000000000", "data.augment.crop=10000000", "trainer.steps=9000000000000000000"]
)
def test_more_memory_than_there_is(snnhll: Command, override: str, tmp_path: Path) -> None:
    answer = snnhll("train", *TINY, override)
    assert answer.code == 2
    said = answer.err.splitlines()[-1]
    assert said.startswith("snnhll: Memory does not suffice")
    assert "make trainer.batch_size" in said
    assert read_result(only_run(tmp_path / "outputs"))["error"].startswith("Memory does not suffice")


def test_output_folder_that_cannot_be_written(snnhll: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    line = one_line(snnhll("train", *TINY, "output_dir=taken/runs"))
    assert line.startswith("output_dir: cannot write to taken/runs/")
    assert "choose output_dir=FOLDER" in line
    assert (tmp_path / "taken").read_text() == "a file"


def test_sweep_into_a_folder_that_cannot_be_written(snnhll: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert "taken" in one_line(snnhll("-m", *TINY, "seed=0,1", "output_dir=taken"))


FULL = {2_000: "output_dir: cannot write to", 10_000: "Cannot write the checkpoint"}


@pytest.mark.parametrize("limit", list(FULL))
def test_full_disk(snnhll: Command, limit: int, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: writes past it fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        answer = snnhll("train", *TINY, "output_dir=runs")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert FULL[limit] in line
    folder = only_run(tmp_path / "runs")
    assert read_result(folder)["status"] == "failed"
    assert not [path for path in folder.iterdir() if "partial" in path.name]
    assert snnhll("train", *TINY, "output_dir=runs").code == 0
