"""A client of a Universal Robots controller, written from the manual, and the
emulator in a thread, for tests."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import numpy as np

from headway import config
from headway.hil.emulators import ur
from headway.hil.journal import Journal, entries
from headway.hil.plant import ServoConfig, ServoPlant

DEADLINE_S = 30.0  # of whatever is waited for
SERVO = """
def servo():
  textmsg("begun")
  write_output_integer_register(0, 7)
  rtde_set_watchdog("input_int_register_0", HZ, "stop")
  while read_input_integer_register(0) >= 0:
    if read_input_integer_register(0) > 0:
      q = [0, 0, 0, 0, 0, 0]
      i = 0
      while i < 6:
        q[i] = read_input_float_register(i)
        i = i + 1
      end
      servoj(q, t=get_steptime(), lookahead_time=0.05, gain=500)
    else:
      sync()
    end
  end
  stopj(4)
end
"""
STATE = ("timestamp", "actual_q", "target_q", "runtime_state", "safety_mode", "robot_mode")
TARGET = ("input_int_register_0", *(f"input_double_register_{i}" for i in range(6)))


class Client:
    """A client of RTDE at `host`, `port`."""

    def __init__(self, host, port, agree=True):
        self.sock = socket.create_connection((host, port), timeout=DEADLINE_S)
        self.texts = []
        self.formats = []
        try:
            assert not agree or self.ask(b"V", b"\x00\x02") == b"\x01"
        except OSError:  # it boots
            self.close()
            raise

    def send(self, kind, body=b""):
        self.sock.sendall(struct.pack(">H", 3 + len(body)) + kind + body)

    def receive(self, kind):
        """The body of the next package of `kind`; texts on the way are kept, data are dropped."""
        while True:
            size, found = struct.unpack(">Hc", self._exactly(3))
            body = self._exactly(size - 3)
            if found == b"M":
                self.texts.append(body[1 : 1 + body[0]].decode())
            if found == kind:
                return body

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def ask(self, kind, body=b""):
        self.send(kind, body)
        return self.receive(kind)

    def outputs(self, names=STATE, hz=500.0):
        answer = self.ask(b"O", struct.pack(">d", hz) + ",".join(names).encode())
        kinds = answer[1:].decode().split(",")
        vectors = {"VECTOR6D": "6d", "VECTOR3D": "3d", "VECTOR6INT32": "6i"}
        plain = {"DOUBLE": "d", "INT32": "i", "UINT32": "I", "UINT64": "Q", "BOOL": "?"}
        self.formats = [(n, {**vectors, **plain}.get(k)) for n, k in zip(names, kinds, strict=True)]
        return answer[0], kinds

    def start(self, names=STATE):
        self.outputs(names)
        assert self.ask(b"S") == b"\x01"

    def inputs(self, names):
        answer = self.ask(b"I", ",".join(names).encode())
        return answer[0], answer[1:].decode().split(",")

    def data(self):
        body, at, found = self.receive(b"U")[1:], 0, {}
        for name, form in self.formats:
            values = struct.unpack_from(">" + form, body, at)
            at += struct.calcsize(">" + form)
            found[name] = values[0] if len(values) == 1 else np.array(values)
        assert at == len(body)
        return found

    def until(self, wanted):
        """The first state for which `wanted(state)` holds."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            state = self.data()
            if wanted(state):
                return state
        raise TimeoutError(f"found no such state, but {state}")

    def close(self):
        self.sock.close()


class Dashboard:
    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port), timeout=DEADLINE_S)
        self.lines = self.sock.makefile("rw", encoding="utf-8", newline="\n")
        self.banner = self.lines.readline().strip()

    def ask(self, line):
        self.lines.write(line + "\n")
        self.lines.flush()
        return self.lines.readline().strip()

    def close(self):
        self.lines.close()
        self.sock.close()


class Cell:
    """An emulator in a thread, and its clients."""

    def __init__(self, uri, plant, journal):
        parts = urlsplit(uri)
        self.host, self.plant, self.journal_path = parts.hostname, plant, journal
        self.ports = {name: int(v[0]) for name, v in parse_qs(parts.query).items()}
        self.open = []

    def rtde(self, **kwargs):
        return self._kept(Client(self.host, self.ports["rtde"], **kwargs))

    def dashboard(self):
        return self._kept(Dashboard(self.host, self.ports["dashboard"]))

    def port(self, name):
        sock = socket.create_connection((self.host, self.ports[name]), timeout=DEADLINE_S)
        return self._kept(sock)

    def journal(self):
        return entries(self.journal_path)

    def _kept(self, client):
        self.open.append(client)
        return client


@contextmanager
def emulated(tmp_path, **table):
    cfg = config.decode(table, ur.Config, "emulator ur")
    plant, stop, uris = ServoPlant(ServoConfig()), threading.Event(), []
    path, up = tmp_path / "journal.jsonl", threading.Event()
    journal = Journal(path)
    thread = threading.Thread(
        target=ur.serve, args=(cfg, plant, journal, lambda u: (uris.append(u), up.set()), stop)
    )
    thread.start()
    try:
        assert up.wait(DEADLINE_S)
        cell = Cell(uris[0], plant, path)
        yield cell
        for client in cell.open:
            client.close()
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        journal.close()
    assert not thread.is_alive()


def servoing(cell, hz=0.05):
    """A client whose program servos, with a watchdog of `hz` [Hz], the function that writes a
    target, and where the arm is."""
    client = cell.rtde()
    client.start()
    number, _ = client.inputs(TARGET)
    q = client.data()["actual_q"]

    def target(q, beat=1):
        client.send(b"U", struct.pack(">Bi6d", number, beat, *q))

    target(q)
    cell.port("script").sendall(SERVO.replace("HZ", str(hz)).encode())
    client.until(lambda s: s["runtime_state"] == 2)
    return client, target, q
