"""The sub-commands, each a file of this folder, and what they do in one line."""

from __future__ import annotations

COMMANDS = {
    "train": "train one run, or a sweep with -m (the default command)",
    "sweep": "run a table of the thesis, or a sweep file of your own",
    "report": "tables and figures of sweeps and runs, beside the published values",
    "eval": "evaluate finished runs again, for instance under noise",
    "export": "write a trained network as NIR, for neuromorphic hardware, or as ONNX",
    "plot": "draw neurons, codes of the input and surrogate derivatives",
    "ls": "list the options of every configuration group",
    "show": "print the composed configuration",
    "validate": "compose and check every option, preset and sweep",
    "data": "download a data set and verify it",
    "audit": "measure which properties of table 4-6 a learning rule has",
    "bench": "measure training speed and memory, beside other frameworks",
}

COMPOSE_NOTHING = ("export", "bench")  # options of the user's own are of no use to these
