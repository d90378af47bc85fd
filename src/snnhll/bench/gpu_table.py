"""What `bench/gpu/run` found, as a table in Markdown. No Rich here: a machine that only measures may be without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snnhll.bench.contest import OURS

Line = dict[str, Any]

HEAD = ("who", "setting", "batch", "samples/s", "MiB", "of floor", "x SpikingJelly")


def table(lines: list[Line]) -> str:
    """Return what was found, the device first, with the ratio of our speed to SpikingJelly's fastest setting."""
    device, *rest = lines
    steps = [line for line in rest if line["part"] == "step"]
    text = [f"{device.get('name', 'CPU')}, T = {device['T']}. {device.get('note', '')}".strip(), ""]
    text += [_joined(HEAD), "|" + "---|" * len(HEAD)]
    for line in steps:
        # a CPU's times are those of a sketch and not compared
        rivals = [other for other in steps if other["who"] != OURS and other["batch"] == line["batch"]]
        fastest = max((other.get("samples_per_second", 0.0) for other in rivals), default=0.0)
        text.append(_joined((line["who"], line["setting"], line["batch"], *_cells(line, "name" in device, fastest))))
    if all(line["who"] == OURS for line in steps):
        text += ["", "SpikingJelly is not installed here: there is nothing to compare with."]
    return "\n".join([*text, "", *_kernels(rest), *_epoch(rest)])


def _cells(line: Line, compared: bool, fastest: float) -> tuple[str, str, str, str]:
    """Return speed, memory, share of the floor and ratio of one step, or why there is none."""
    if "samples_per_second" not in line:
        return line.get("failed") or line["note"], "", "", ""
    speed = line["samples_per_second"]
    return (
        f"{speed:.4g}",
        f"{line['peak_memory_bytes'] / 2**20:.0f}" if "peak_memory_bytes" in line else "",
        f"{line['of_floor']:.0%}" if "of_floor" in line else "",
        f"{speed / fastest:.2f}" if compared and fastest and line["who"] == OURS else "",
    )


def _kernels(lines: list[Line]) -> Iterator[str]:
    checked = [line for line in lines if line["part"] == "kernels"]
    wrong = [f"{line['kernel']}: {said}" for line in checked for said in line.get("failed", [])]
    yield f"kernels: {sum(line.get('cases', 0) for line in checked)} cases checked, {len(wrong)} differ"
    yield from wrong


def _epoch(lines: list[Line]) -> Iterator[str]:
    for line in lines:
        if line["part"] == "epoch":
            took = f"{line['seconds']:.1f} s ({line['measured']})" if "seconds" in line else line["failed"]
            yield f"an epoch of {line['images']} images, {line['setting']}: {took}"


def _joined(cells: tuple[Any, ...]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
