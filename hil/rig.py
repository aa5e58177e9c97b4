"""The rig: the simulated cell in a process of its own, and the emulators of its devices.

    python -m headway.hil.rig examples/ur5e_emulated.rig.toml

A run with `[cell] kind = "rig"` starts it. The rig steps the physics in real time, the emulators
move it and sense it through shared memory, and the run's drivers talk to the emulators over the
real bytes: physics -> wire -> driver -> loop -> wire -> physics. What no wire carries goes over a
socket: setting up an episode, how it ended, and the images of the cameras.

It prints one line of JSON, with the path of the socket, when all is ready, and ends when its
standard input does.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import msgspec

from headway.clock import Rate, WallClock
from headway.drivers import Context
from headway.drivers.cameras.sim import SimCamera
from headway.drivers.cameras.sim import connect as connect_camera
from headway.drivers.rig import (
    Answer,
    Ask,
    AskOutcome,
    AskReset,
    Image,
    RigFile,
    read_rig_file,
)
from headway.drivers.sim.cell import Cell
from headway.errors import HeadwayError
from headway.hil import shared
from headway.hil.launch import Emulator
from headway.hil.plant import PlantState
from headway.hil.shared import Commands, Memory
from headway.hil.told_to_end import told_to_end

_FAR = 0.5  # a reference farther from a joint than this is none for where the arm stands now [rad]


class Rig:
    """The cell of `file` on `clock`, whose state it writes into `memory` and whose commands it
    takes from there. `cell.lock` is held while either happens."""

    def __init__(self, file: RigFile, clock: WallClock, path: Path) -> None:
        self.clock = clock
        self.cell = Cell(file.cell, clock)
        self.memory = Memory(path, self.cell.robot.n, self.cell.gripper.stroke)
        self.commands = Commands(self.memory)
        self.publish()

    def reset(self, seed: int) -> str:
        """Set up the episode of `seed`. The arm is put home by hand: commands of before are
        forgotten, and the emulators are told."""
        with self.cell.lock:
            text = self.cell.reset(seed)
            self.commands = Commands(self.memory)
            self.publish()
        return text

    def step(self) -> None:
        """Take the newest commands, let the physics catch up with the clock, and write the state
        down."""
        cell = self.cell
        with cell.lock:
            self._take()
            cell.sync()
            self.publish()

    def _take(self) -> None:
        cell = self.cell
        arm = self.commands.arm()
        if arm is not None:
            kind, q = arm
            if kind == shared.RESET:
                cell.protective_stop = False
                cell.hold()
            elif kind == shared.HOLD:
                cell.hold()
            elif abs(q - cell.q).max() < _FAR:
                cell.follow(q, self.clock.now())
        jaws = self.commands.jaws()
        if jaws is not None:
            width, force, _ = jaws
            cell.width_ref = min(max(width, 0.0), cell.gripper.stroke)
            cell.grip_limit = min(max(force, 0.0), cell.gripper.force)

    def publish(self) -> None:
        """Write the present state into the shared memory, with the noise of the encoders."""
        cell = self.cell
        self.memory.publish(
            PlantState(
                cell.t_ns, cell.encoders(), cell.dq, cell.q_ref, cell.tau_ext(), cell.wrench(),
                self.cell.gripper.stroke - 2 * float(cell.finger[0]),
                max(0.0, float(cell.finger_force[0])), 0.0, cell.protective_stop, cell.episode,
            )
        )  # fmt: skip


class Server:
    """Answers what comes over the socket at `path`, one thread per connection. A camera is rendered
    by the thread of the connection that asks for it."""

    def __init__(self, rig: Rig, file: RigFile, path: Path) -> None:
        self._rig, self._file = rig, file
        path.unlink(missing_ok=True)
        self._listener = Listener(str(path), "AF_UNIX")
        threading.Thread(target=self._accept, name="rig-accept", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                link = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: Connection) -> None:
        cameras: dict[str, SimCamera] = {}
        decoder = msgspec.msgpack.Decoder(Ask)
        with contextlib.suppress(EOFError, OSError), link:
            while True:
                ask = decoder.decode(link.recv_bytes())
                try:
                    answer = self._answer(ask, cameras)
                except HeadwayError as e:
                    answer = Answer(error=str(e))
                link.send_bytes(msgspec.msgpack.encode(answer))
        for camera in cameras.values():
            camera.close()

    def _answer(self, ask: Ask, cameras: dict[str, SimCamera]) -> Answer:
        cell = self._rig.cell
        if isinstance(ask, AskReset):
            return Answer(text=self._rig.reset(ask.seed))
        if isinstance(ask, AskOutcome):
            return Answer(done=cell.outcome())
        if ask.name not in cameras:
            ctx = Context(self._rig.clock, {"sim": cell})
            cameras[ask.name] = connect_camera(self._file.camera(ask.name), ctx)
            cameras[ask.name].open(1.0)
        sample = cameras[ask.name].read(1.0)
        frame = sample.value
        depth = None if frame.depth is None else frame.depth.tobytes()
        height, width, _ = frame.rgb.shape
        image = Image(
            sample.stamp.t_ns, sample.stamp.seq, height, width, frame.rgb.tobytes(), depth,
            frame.intrinsics.ravel().tolist(),
        )  # fmt: skip
        return Answer(image=image)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


def serve(path: Path, stop: threading.Event) -> None:
    """Run the rig that the file `path` describes until `stop` is set. Raises what reading it, the
    cell and the emulators raise."""
    file = read_rig_file(path)
    folder = Path(file.folder)
    folder.mkdir(parents=True, exist_ok=True)
    clock = WallClock(spin_ns=0)
    memory = folder / "plant"
    rig = Rig(file, clock, memory)
    plant = {"kind": "shared", "path": str(memory)}
    with contextlib.ExitStack() as stack:
        stack.callback(memory.unlink, missing_ok=True)
        for table in file.emulators:
            rest = {k: v for k, v in table.items() if k != "kind"}
            stack.enter_context(Emulator(str(table["kind"]), rest, plant))
        address = folder / "socket"
        server = Server(rig, file, address)
        stack.callback(server.close)
        print(json.dumps({"address": str(address)}), flush=True)
        for _ in Rate(file.hz, clock):
            rig.step()
            if stop.is_set():
                break


def main(argv: list[str]) -> int:
    """Run the rig of the file that `argv` names. Returns the exit code."""
    stop = told_to_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends first, then its rig
    try:
        serve(Path(argv[0]), stop)
    except HeadwayError as e:
        print(json.dumps({"error": str(e)}), flush=True)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
