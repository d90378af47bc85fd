"""snnhll export RUN_DIR --to nir|onnx [--out FILE]   the trained network in another format

nir     Neuromorphic Intermediate Representation, for other frameworks and neuromorphic chips. It has LIF neurons
        with hard reset and no pooling: train with neuron.reset=hard and strides (16C3s2). Needs snnhll[nir].
onnx    the whole network, images to logits, for inference. Needs snnhll[onnx].

--out FILE   default: RUN_DIR/network.nir, RUN_DIR/network.onnx

snnhll export outputs/RUN --to nir
"""

from __future__ import annotations

from pathlib import Path

from snnhll.cli.flags import take_apart
from snnhll.errors import UserError, nearest
from snnhll.results import make_folder

FORMATS = ("nir", "onnx")
FLAGS = {"--to": "FORMAT", "--out": "FILE"}


def main(arguments: list[str]) -> int:
    """Write the file and print its path."""
    folders, flags = take_apart("export", arguments, FLAGS)
    chosen = flags.get("--to")
    if chosen not in FORMATS:
        hint = "" if chosen is None else nearest(chosen, FORMATS)
        raise UserError(f"snnhll export needs --to {' or '.join(FORMATS)}, got {chosen or 'neither'}.{hint}")
    if len(folders) != 1:
        raise UserError(f"snnhll export needs the folder of one run, got {len(folders)}.")
    from snnhll.assemble import load_problem, load_rule

    rule, config = load_rule(folders[0])
    if rule.classifier is None:
        raise UserError(
            f"{folders[0]}: rule={config['rule']['name']} classifies by more than one pass through the layers, by "
            f"feedback between them or a readout of all, which neither format holds; train by another rule."
        )
    network = rule.network
    path = Path(flags.get("--out", f"{folders[0]}/network.{chosen}"))
    make_folder(path.parent)
    if chosen == "nir":
        from snnhll.export.nir_format import write_nir

        print(write_nir(network, path))
    else:
        from snnhll.export.onnx_format import write_onnx

        print(write_onnx(network, path, load_problem(folders[0]).shape))
    return 0
