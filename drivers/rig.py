"""What a run and its rig say to each other (`headway.hil.rig`): the messages, the file that
describes a rig, and the run's end of the connection.

A rig stands in for robot and surroundings behind real wires; a socket carries what no wire does.
Messages are MessagePack (msgspec); one request, one answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import IO, Any

import msgspec

from headway import config
from headway.child import environment
from headway.drivers.cameras.sim import Config as CameraConfig
from headway.drivers.sim.cell import CellConfig
from headway.errors import ConfigError, DeviceError

_END_S = 5.0


class AskReset(msgspec.Struct, frozen=True, tag="reset"):
    """Set up the episode of `seed`."""

    seed: int


class AskOutcome(msgspec.Struct, frozen=True, tag="outcome"):
    """How has the episode ended?"""


class AskFrame(msgspec.Struct, frozen=True, tag="frame"):
    """The next image of the camera `name`."""

    name: str


Ask = AskReset | AskOutcome | AskFrame


class Image(msgspec.Struct, frozen=True, array_like=True):
    """An image of `height` by `width` pixels, taken at `t_ns` [ns] of CLOCK_MONOTONIC: colours, and
    depth [mm] as uint16 or None, row by row; `intrinsics` are the nine numbers of the pinhole
    matrix."""

    t_ns: int
    seq: int
    height: int
    width: int
    rgb: bytes
    depth: bytes | None
    intrinsics: list[float]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request: `text` the instruction of an episode, `done` its outcome, or an
    `image`; `error` says why there is none of them."""

    error: str = ""
    text: str = ""
    done: bool | None = None
    image: Image | None = None


class RigFile(config.Struct, frozen=True):
    """A rig. `cell` is the simulated cell, stepped `hz` [Hz] times a second; each table of
    `emulators` has the `kind` of an emulator and its keys; `cameras` can be asked for images.
    `folder` is where the rig's socket and memory are while it runs."""

    folder: str
    cell: CellConfig = CellConfig()
    hz: config.Hertz = 500.0
    emulators: list[dict[str, Any]] = []  # noqa: RUF012 - msgspec copies defaults
    cameras: list[CameraConfig] = []  # noqa: RUF012

    def __post_init__(self) -> None:
        for table in self.emulators:
            if "kind" not in table:
                raise ValueError('each of `emulators` wants a key `kind`, for example kind = "ur"')

    def camera(self, name: str) -> CameraConfig:
        """The camera `name`. Raises ConfigError where there is none."""
        for found in self.cameras:
            if found.name == name:
                return found
        names = [c.name for c in self.cameras]
        raise ConfigError(f"the rig has no camera {name!r}: {config.suggest(name, names)}")


def read_rig_file(path: Path) -> RigFile:
    """The rig that the file `path` describes. Raises ConfigError."""
    found: RigFile = config.load(path, RigFile)
    return found


class RigProcess:
    """The process of the rig that the file `path` describes, started and ready. It ends with this
    object, or with this process. Raises DeviceError where it does not start within `timeout_s`
    [s]."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "headway.hil.rig", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        out = process.stdout
        assert out is not None
        assert process.stdin is not None
        kill = threading.Timer(timeout_s, process.kill)
        kill.start()
        line = out.readline()
        kill.cancel()
        self._end = weakref.finalize(self, _end, process, process.stdin, out)
        said = json.loads(line) if line else {"error": f"nothing within {timeout_s:g} s"}
        if "address" not in said:
            self._end()
            raise DeviceError(f"wanted the rig of {path} to start, found: {said['error']}")
        self.address: str = said["address"]

    def close(self) -> None:
        """End it."""
        self._end()


def _end(process: subprocess.Popen[bytes], inward: IO[bytes], outward: IO[bytes]) -> None:
    inward.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    outward.close()


class RigLink:
    """A connection to the rig at the socket `address`, for one thread. Raises DeviceError."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._decoder = msgspec.msgpack.Decoder(Answer)
        try:
            self._link: Connection = Client(address, "AF_UNIX")
        except OSError as e:
            raise DeviceError(
                f"wanted a rig at {address}, found {e.strerror}: is it running?"
            ) from None

    def ask(self, request: Ask, timeout_s: float) -> Answer:
        """The rig's answer, waiting at most `timeout_s` [s]. Raises DeviceError for one that says
        that something went wrong, and for none: the connection is closed then, since an answer that
        came later would be taken for the answer to the next request."""
        try:
            self._link.send_bytes(msgspec.msgpack.encode(request))
            if not self._link.poll(timeout_s):
                self.close()
                raise DeviceError(
                    f"wanted an answer of the rig at {self._address} within {timeout_s:g} s, found "
                    "none: is the computer too slow for the rig, or has the rig stopped? connect "
                    "again"
                )
            answer = self._decoder.decode(self._link.recv_bytes())
        except msgspec.DecodeError as e:
            raise DeviceError(
                f"wanted an answer of the rig at {self._address}, found something else ({e}): is "
                "it of the same version of Headway?"
            ) from None
        except (OSError, EOFError) as e:
            raise DeviceError(f"wanted the rig at {self._address}, found that it is gone") from e
        if answer.error:
            raise DeviceError(f"the rig says: {answer.error}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._link.close()
