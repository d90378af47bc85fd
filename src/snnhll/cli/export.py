"""snnhll export RUN_DIR --to nir|onnx [--out FILE]   the trained network in another format

nir     Neuromorphic Intermediate Representation, for other frameworks and neuromorphic chips. It has LIF neurons
        with hard reset and no pooling: train with neuron.reset=hard and strides (16C3s2). Needs snnhll[nir].
onnx    the whole network, images to logits, for inference. Needs snnhll[onnx].

--out FILE   default: RUN_DIR/network.nir, RUN_DIR/network.onnx

snnhll export outputs/RUN --to nir
"""

from __future__ import annotations

from pathlib import Path

from snnhll.errors import UserError, nearest
from snnhll.results import make_folder

FORMATS = ("nir", "onnx")


def main(arguments: list[str]) -> int:
    """Write the file and print its path."""
    flags, folders = _parse(arguments)
    chosen = flags.get("--to")
    if chosen not in FORMATS:
        hint = "" if chosen is None else nearest(chosen, FORMATS)
        raise UserError(f"snnhll export needs --to {' or '.join(FORMATS)}, got {chosen or 'neither'}.{hint}")
    if len(folders) != 1:
        raise UserError(f"snnhll export needs the folder of one run, got {len(folders)}.")
    from snnhll.assemble import load, load_problem

    network = load(folders[0])
    path = Path(flags.get("--out", f"{folders[0]}/network.{chosen}"))
    make_folder(path.parent)
    if chosen == "nir":
        from snnhll.export.nir_format import write_nir

        print(write_nir(network, path))
    else:
        from snnhll.export.onnx_format import write_onnx

        print(write_onnx(network, path, load_problem(folders[0]).shape))
    return 0


def _parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the flags with their values, and the folders."""
    rest, flags, folders = list(arguments), {}, []
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            folders.append(word)
        elif flag not in ("--to", "--out"):
            raise UserError(f"{flag}: no such flag; snnhll export knows --to FORMAT and --out FILE.")
        elif not equals and not rest:
            raise UserError(f"{flag}: expected a value after it.")
        else:
            flags[flag] = value if equals else rest.pop(0)
    return flags, folders
