"""A stand-in for a controller of Universal Robots, for the tests of its driver: RTDE, scripts and
dashboard on loopback, written from the manual without the driver's codec. What our program does at
a real controller is done here by hand; joints are at once where they are sent."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
import threading

import numpy as np
import pytest

from headway.errors import DeviceError

VALUES = {
    "timestamp": ("DOUBLE", "d"), "actual_q": ("VECTOR6D", "6d"), "actual_qd": ("VECTOR6D", "6d"),
    "target_q": ("VECTOR6D", "6d"), "actual_current": ("VECTOR6D", "6d"),
    "target_current": ("VECTOR6D", "6d"), "actual_TCP_pose": ("VECTOR6D", "6d"),
    "actual_TCP_force": ("VECTOR6D", "6d"), "speed_scaling": ("DOUBLE", "d"),
    "robot_mode": ("INT32", "i"), "runtime_state": ("UINT32", "I"),
    "robot_status_bits": ("UINT32", "I"), "safety_status_bits": ("UINT32", "I"),
    "actual_digital_input_bits": ("UINT64", "Q"), "actual_digital_output_bits": ("UINT64", "Q"),
}  # fmt: skip
LONG = 20.0  # [s] to wait for an event on a busy machine
HOME = [0.0, -1.9, 1.9, -1.57, -1.57, 0.0]


class Controller:
    """`with Controller() as robot:` serves; `robot.ports` are those of RTDE, scripts and dashboard.
    `fields` are what it reports, `written` all packages of inputs, `asked` what the dashboard and
    the script port were told. Time is its own: `dt` [s] passes with each state."""

    def __init__(self, *, version=(5, 12, 0, 100), model="UR5", serial="20225500123"):
        self.version, self.model, self.serial = version, model, serial
        self.fields = {
            "timestamp": 100.0, "actual_q": list(HOME), "actual_qd": [0.0] * 6,
            "target_q": list(HOME), "actual_current": [0.5] * 6, "target_current": [0.25] * 6,
            "actual_TCP_pose": [0.3, 0.1, 0.4, 0.0, 0.0, 0.0],
            "actual_TCP_force": [1.0, 2.0, 3.0, 0.1, 0.2, 0.3], "speed_scaling": 1.0,
            "robot_mode": 7, "runtime_state": 1, "robot_status_bits": 1, "safety_status_bits": 1,
            "actual_digital_input_bits": 0, "actual_digital_output_bits": 0,
        }  # fmt: skip
        self.dt, self.noise = 0.002, 0.0
        self.registers: dict[str, float] = {}
        self.in_use: set[str] = set()
        self.not_found: set[str] = set()
        self.answers = {
            "is in remote control": "true", "get robot model": model, "get serial number": serial,
            "stop": "Stopped", "close safety popup": "closing safety popup",
            "power off": "Powering off",
        }  # fmt: skip
        self.written: list[dict[str, float]] = []
        self.asked: list[str] = []
        self.programs: list[str] = []
        self.session = 0
        self.takes_programs = True
        self.silent = self.deaf = False
        self.mangle = lambda package: package
        self.connections = 0
        self.lock = threading.RLock()
        self._servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.ports = [s.getsockname()[1] for s in self._servers]
        self._stop = threading.Event()
        self._clients: list[socket.socket] = []
        self._threads = [
            threading.Thread(target=self._accept, args=(server, serve), daemon=True)
            for server, serve in zip(
                self._servers, (self._rtde, self._script, self._dashboard), strict=True
            )
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for server in self._servers:
            server.close()
        self.hang_up()

    @property
    def table(self):
        rtde, script, dashboard = self.ports
        return {
            "host": "127.0.0.1", "rtde_port": rtde, "script_port": script,
            "dashboard_port": dashboard,
        }  # fmt: skip

    def hang_up(self):
        """End all connections, as a controller that reboots."""
        with self.lock:
            clients, self._clients = self._clients, []
        for one in clients:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def set(self, **fields):
        with self.lock:
            self.fields.update(fields)

    def end_program(self):
        with self.lock:
            self.session = 0
            self.fields.update(robot_status_bits=1, runtime_state=1)

    def _accept(self, server, serve):
        while not self._stop.is_set():
            try:
                client, _ = server.accept()
            except OSError:
                return
            with self.lock:
                self._clients.append(client)
            threading.Thread(target=self._served, args=(serve, client), daemon=True).start()

    def _served(self, serve, client):
        with contextlib.suppress(OSError, ValueError):  # it was hung up
            serve(client)

    # The dashboard and the port for scripts.

    def _dashboard(self, client):
        client.sendall(b"Connected: Universal Robots Dashboard Server\n")
        for line in client.makefile("r"):
            said = line.strip()
            self.asked.append(said)
            if said == "unlock protective stop" and said not in self.answers:
                self.set(safety_status_bits=1)
                answer = "Protective stop releasing"
            else:
                answer = self.answers.get(said, f"could not understand: '{said}'")
            if said == "stop":
                self.end_program()
            client.sendall(answer.encode() + b"\n")

    def _script(self, client):
        text = ""
        while not text.rstrip().endswith("\nend"):
            data = client.recv(65536)
            if not data:
                return
            text += data.decode()
        self.programs.append(text)
        found = re.search(r"write_output_integer_register\((\d+), (\d{3,})\)", text)
        if not self.takes_programs:
            return
        with self.lock:
            self.end_program()
            if found:
                base = int(found[1]) - 1
                self.session, self.base = int(found[2]), base
                self.registers[f"output_int_register_{base}"] = 1
                self.registers[f"output_int_register_{base + 1}"] = self.session
                self.fields.update(robot_status_bits=3, runtime_state=2)
        client.recv(1)

    # RTDE.

    def _rtde(self, client):
        self.connections += 1
        held, names, inputs, sel = b"", [], {}, selectors.DefaultSelector()
        sel.register(client, selectors.EVENT_READ)
        started = False
        while not self._stop.is_set():
            if started:
                self._stop.wait(0.002)
                if not self.silent:
                    client.sendall(self.mangle(self._state(names)))
            while not self.deaf and sel.select(0 if started else 0.05):
                data = client.recv(65536)
                if not data:
                    return
                held += data
                if not started:
                    break
            while len(held) >= 3 and len(held) >= struct.unpack(">H", held[:2])[0]:
                size = struct.unpack(">H", held[:2])[0]
                kind, payload, held = held[2:3], held[3:size], held[size:]
                if kind == b"U":
                    self._inputs(inputs[payload[0]], payload[1:])
                    continue
                answer, names, started = self._answer(kind, payload, names, inputs, started)
                client.sendall(struct.pack(">HB", len(answer) + 3, kind[0]) + answer)

    def _answer(self, kind, payload, names, inputs, started):
        if kind == b"V":
            return bytes([payload == b"\0\2"]), names, started
        if kind == b"v":
            return struct.pack(">4I", *self.version), names, started
        if kind == b"O":
            names = payload[8:].decode().split(",")
            types = [self._type(n) for n in names]
            return bytes(["NOT_FOUND" not in types]) + ",".join(types).encode(), names, started
        if kind == b"I":
            wanted = payload.decode().split(",")
            types = ["IN_USE" if n in self.in_use else self._type(n) for n in wanted]
            number = len(inputs) + 1
            inputs[number] = wanted
            return bytes([number]) + ",".join(types).encode(), names, started
        assert kind == b"S", kind
        return b"\1", names, True

    def _type(self, name):
        if name in self.not_found:
            return "NOT_FOUND"
        if "register" in name:
            return "INT32" if "_int_" in name else "DOUBLE"
        if "digital_output" in name and "actual" not in name:
            return "UINT8"
        return VALUES[name][0] if name in VALUES else "NOT_FOUND"

    def _state(self, names):
        with self.lock:
            self.fields["timestamp"] += self.dt
            if self.noise:
                self.fields["actual_TCP_force"][0] += self.noise
            body = b"\1"
            for name in names:
                if name in VALUES:
                    value = self.fields[name]
                    many = value if isinstance(value, list) else [value]
                    body += struct.pack(">" + VALUES[name][1], *many)
                else:
                    body += struct.pack(">i", int(self.registers.get(name, 0)))
        return struct.pack(">HB", len(body) + 3, ord("U")) + body

    def _inputs(self, names, data):
        codes = {"INT32": "i", "DOUBLE": "d", "UINT8": "B"}
        values = struct.unpack(">" + "".join(codes[self._type(n)] for n in names), data)
        with self.lock:
            got = dict(zip(names, values, strict=True))
            self.written.append(got)
            self.registers.update(got)
            for bank, first in (("standard", 0), ("configurable", 8), ("tool", 16)):
                mask = got.get(f"{bank}_digital_output_mask")
                if mask is not None:
                    bits = self.fields["actual_digital_output_bits"]
                    wanted = got[f"{bank}_digital_output"] << first
                    self.fields["actual_digital_output_bits"] = (
                        bits & ~(mask << first) | wanted & mask << first
                    )
            if self.session:
                self._program()

    def _program(self):
        """One turn of our program."""
        base, held = self.base, self.registers
        if held.get(f"input_int_register_{base + 2}") != self.session:
            return
        mode = held[f"input_int_register_{base + 1}"]
        if mode == 2:
            q = [held[f"input_double_register_{base + i}"] for i in range(6)]
            self.fields.update(actual_q=q, target_q=list(q))
        held[f"output_int_register_{base}"] = {0: 3, 1: 1, 2: 2}[mode]
        if mode == 0:
            self.end_program()


def shared(robot):
    return {k: v for k, v in robot.table.items() if k != "script_port"}


def until(source, right):
    """The first sample that is `right`."""
    for _ in range(5000):
        sample = source.read(LONG)
        if right(sample):
            return sample
    raise AssertionError(f"never: the last one was {sample}")


def here(arm):
    return arm.read(LONG).value.q.copy()


def refused(arm, q, match):
    """The command is refused, and nothing is written because of it."""
    with pytest.raises(DeviceError, match=match):
        arm.command(np.asarray(q, float), deadline_ns=0)


def refused_in_the_end(arm, match):
    """The arm is told to stay where it is, until it refuses."""
    with pytest.raises(DeviceError, match=match):
        keep_on(arm, lambda: here(arm))


def keep_on(arm, where):
    """Command the arm to be at `where()`, for ever."""
    while True:
        arm.command(where(), deadline_ns=0)


def modes(robot):
    """What the robot has read so far: nothing yet, where it has not come to the first one."""
    return [w["input_int_register_1"] for w in list(robot.written)]
