"""The files that event cameras leave behind: N-MNIST's, AEDAT 2.0 of jAER, AEDAT 3.1 of cAER, and arrays of tonic.

N-MNIST's files are read by tonic (Lenz et al. 2021). Its readers of AEDAT are not used: in tonic 1.7 `read_dvs_128` and
`read_dvs_ibm` fail on every file, for they unpack two values of a header reader that returns three; the function below
them takes the packets of any event type for pixels, leaves out the overflow of the clock, and accepts a file cut short.

Every function returns the events of one file, and raises UserError, naming the file, when it is damaged.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from snnhll.config import NotInstalledError
from snnhll.data.events import Events
from snnhll.errors import UserError

BIN_BYTES = 5  # x, y, then 1 bit of polarity and 23 bits of time
AEDAT2_EVENT = np.dtype([("address", ">u4"), ("time", ">u4")])
AEDAT3_EVENT = np.dtype([("data", "<u4"), ("time", "<u4")])
# type, source, event bytes, offset of time, overflow, capacity, number, valid
AEDAT3_PACKET = struct.Struct("<hhiiiiii")
PIXELS = 1  # the packet type of events of pixels
ARRAY_COLUMNS = 4  # x, y, polarity, time in ms


def read_bin(path: Path) -> Events:
    """N-MNIST (Orchard et al. 2015). An event at y = 240 is none: it says that the clock has wrapped around."""
    try:
        from tonic.io import read_mnist_file
    except ImportError as error:
        raise NotInstalledError("data=n_mnist: tonic is not installed; pip install 'snnhll[events]'.") from error
    size = path.stat().st_size
    if size == 0 or size % BIN_BYTES:
        raise _damaged(path, f"{size} bytes are no whole number of events of {BIN_BYTES}")
    found = read_mnist_file(str(path), np.dtype([(name, np.int64) for name in "xytp"]))
    return Events(found["x"], found["y"], found["t"], found["p"])


def read_aedat2(path: Path) -> Events:
    """AEDAT 2.0 of a camera of 128x128 pixels, as CIFAR10-DVS has it: big-endian addresses and times in µs.

    An address is 1 bit of polarity (0: brighter) and 7 bits each of two coordinates that run from the corner opposite
    to the image's first pixel, as in the authors' dat2mat.m.
    """
    content, start = _after_header(path, b"#!AER-DAT2")
    if (len(content) - start) % AEDAT2_EVENT.itemsize:
        raise _damaged(path, f"it ends within an event of {AEDAT2_EVENT.itemsize} bytes")
    found = np.frombuffer(content, AEDAT2_EVENT, offset=start)
    address = found["address"].astype(np.int64)
    x, y = 127 - (address >> 8 & 127), 127 - (address >> 1 & 127)
    return Events(x, y, found["time"].astype(np.int64), 1 - (address & 1))


def read_aedat3(path: Path) -> Events:
    """AEDAT 3.1, as DVS128 Gesture has it: packets of little-endian events.

    Data of an event: bit 0 valid, bit 1 polarity, 15 bits y, 15 bits x. Times are in µs and 31 bits long; the packet
    says how often the clock has wrapped around.
    """
    content, place = _after_header(path, b"#!AER-DAT3")
    found = [np.empty((4, 0), np.int64)]
    while place < len(content):
        if len(content) - place < AEDAT3_PACKET.size:
            raise _damaged(path, "it ends within the header of a packet")
        kind, _, size, _, overflow, capacity, number, _ = AEDAT3_PACKET.unpack_from(content, place)
        place += AEDAT3_PACKET.size
        if min(size, capacity) < 0 or not 0 <= number <= capacity or place + size * capacity > len(content):
            raise _damaged(path, "it ends within a packet of events")
        if kind == PIXELS and size == AEDAT3_EVENT.itemsize:
            events = np.frombuffer(content, AEDAT3_EVENT, number, place)
            data, time = events["data"].astype(np.int64), events["time"].astype(np.int64)
            columns = np.stack([data >> 17, data >> 2 & 0x7FFF, time + (overflow << 31), data >> 1 & 1])
            found.append(columns[:, data & 1 == 1])
        place += size * capacity
    return Events(*np.concatenate(found, 1))


def read_array(path: Path) -> Events:
    """An array [N, 4] of x, y, polarity and time in ms, as tonic distributes DVS128 Gesture."""
    try:
        found = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, f"it is no array of numpy ({error})") from error
    if found.ndim != 2 or found.shape[1] != ARRAY_COLUMNS:
        raise _damaged(path, f"it holds an array of shape {list(found.shape)}, expected [N, {ARRAY_COLUMNS}]")
    x, y, p, t = found.T.astype(np.int64)
    return Events(x, y, 1000 * t, p)


def _after_header(path: Path, magic: bytes) -> tuple[bytes, int]:
    """Return the content of a file and where its events begin: after the lines that start with #."""
    content = path.read_bytes()
    if not content.startswith(magic):
        raise _damaged(path, f"it does not begin with {magic.decode()}")
    start = 0
    while content.startswith(b"#", start):
        end = content.find(b"\n", start)
        if end < 0:
            raise _damaged(path, "it ends within its header")
        last, start = content[start:end].strip(), end + 1
        if last == b"#!END-HEADER":
            break
    return content, start


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged: {reason}; fetch it again.")
