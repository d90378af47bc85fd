"""Event files in the formats that N-MNIST, DVS128 Gesture and CIFAR10-DVS are distributed in, written byte by byte.

An event is (x, y, time in µs, polarity), polarity 1 being brighter.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Event = tuple[int, int, int, int]
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
GESTURES = 11


def bin_bytes(events: list[Event]) -> bytes:
    """N-MNIST: x, y, then 24 bits of polarity and time."""
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, t, p in events)


def aedat2_bytes(events: list[Event]) -> bytes:
    """jAER: bit 0 polarity, bits 1-7 and 8-14 the coordinates, as the camera of CIFAR10-DVS stood; big endian."""
    head = b"#!AER-DAT2.0\r\n# This is a raw AE data file created by saveaerdat.m\r\n# Timestamps tick is 1 us\r\n"
    addresses = [((127 - x) << 8 | (127 - y) << 1 | (1 - p), t) for x, y, t, p in events]
    return head + b"".join(a.to_bytes(4, "big") + t.to_bytes(4, "big") for a, t in addresses)


def aedat3_packet(events: list[Event], overflow: int = 0, kind: int = 1, valid: bool = True) -> bytes:
    """cAER: a header of 28 bytes, then 8 bytes an event; little endian."""

    def word(value: int, length: int = 4) -> bytes:
        return value.to_bytes(length, "little")

    count = len(events)
    head = word(kind, 2) + word(1, 2) + b"".join(map(word, (8, 4, overflow, count, count, count if valid else 0)))
    data = [(x << 17 | y << 2 | p << 1 | valid, t) for x, y, t, p in events]
    return head + b"".join(word(d) + word(t) for d, t in data)


def aedat3_bytes(*packets: bytes) -> bytes:
    head = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-05-18 16:16:56 (TZ+0200)\r\n"
    return head + b"#!END-HEADER\r\n" + b"".join(packets)


def flicker(label: int, side: int, start: int = 0, events: int = 60, seed: int = 0) -> list[Event]:
    """A recording of 0.3 s: column 3 label (side 34) or 11 label (side 128), brighter first and darker later."""
    draw = np.random.default_rng((seed, label))
    column = label * (3 if side == 34 else 11)
    times = np.sort(draw.integers(0, 300_000, events))
    rows = draw.integers(0, side, events)
    return [(column, int(y), start + int(t), int(t < 150_000)) for y, t in zip(rows, times, strict=True)]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def n_mnist(root: Path) -> None:
    """Two recordings a class and part."""
    for part in ("Train", "Test"):
        for label in range(10):
            for number in range(2):
                events = flicker(label, 34, seed=number + 2 * (part == "Test"))
                write(root / "NMNIST" / part / str(label) / f"{number:05d}.bin", bin_bytes(events))


def cifar10_dvs(root: Path) -> None:
    """Eleven recordings a class; the last by number is held out."""
    for label, name in enumerate(CIFAR):
        for number in range(11):
            path = root / "CIFAR10DVS" / name / f"cifar10_{name}_{number}.aedat"
            write(path, aedat2_bytes(flicker(label, 128, seed=number)))


def dvs128_gesture(root: Path) -> None:
    """As the authors distribute it: two sessions for training, one for test, all gestures one after another."""
    folder = root / "DvsGesture"
    sessions = ("user01_fluorescent", "user02_led", "user24_lab")
    for seed, name in enumerate(sessions):
        recordings = [flicker(label, 128, 1_000_000 * (label + 1), seed=seed) for label in range(GESTURES)]
        write(folder / f"{name}.aedat", aedat3_bytes(*map(aedat3_packet, recordings)))
        rows = [
            f"{label + 1},{1_000_000 * (label + 1)},{1_000_000 * (label + 1) + 300_000}" for label in range(GESTURES)
        ]
        write(folder / f"{name}_labels.csv", "\n".join(["class,startTime_usec,endTime_usec", *rows]).encode())
    write(folder / "trials_to_train.txt", b"user01_fluorescent.aedat\nuser02_led.aedat\n")
    write(folder / "trials_to_test.txt", b"user24_lab.aedat\n")


def dvs128_gesture_of_tonic(root: Path) -> None:
    """As tonic distributes it: USER_LIGHT/LABEL.npy, arrays of x, y, polarity and time in ms."""
    for part, user in (("Train", "user01_led"), ("Train", "user02_lab"), ("Test", "user24_led")):
        for label in range(GESTURES):
            rows = [(x, y, p, t // 1000) for x, y, t, p in flicker(label, 128)]
            path = root / "DVSGesture" / f"ibmGesture{part}" / user / f"{label}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.array(rows))


SETS: dict[str, tuple[Callable[[Path], None], str]] = {  # how a set is written, and one of its files
    "n_mnist": (n_mnist, "NMNIST/Test/3/00001.bin"),
    "cifar10_dvs": (cifar10_dvs, "CIFAR10DVS/cat/cifar10_cat_3.aedat"),
    "dvs128_gesture": (dvs128_gesture, "DvsGesture/user02_led.aedat"),
    "dvs128_gesture of tonic": (dvs128_gesture_of_tonic, "DVSGesture/ibmGestureTrain/user02_lab/4.npy"),
}
