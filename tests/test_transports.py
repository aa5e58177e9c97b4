"""headway.drivers.transports: what a connection does when all is well, and when it is not."""

from __future__ import annotations

import os
import pty
import socket
import threading
import tty

import pytest

from headway.drivers.transports.serial import SerialPort, resolve
from headway.drivers.transports.tcp import Tcp
from headway.drivers.transports.udp import Udp
from headway.errors import Busy, DeviceError


class Line:
    """A transport with its other end."""

    def __init__(self, transport, send, receive, hang_up) -> None:
        self.transport, self.send = transport, send
        self.receive, self.hang_up = receive, hang_up


@pytest.fixture
def serial_line():
    master, slave = pty.openpty()
    tty.setraw(master)
    port = SerialPort(os.ttyname(slave), 115200)
    os.close(slave)
    port.open(1.0)
    ends = [master]
    yield Line(
        port, lambda data: os.write(master, data), lambda n: os.read(master, n),
        lambda: os.close(ends.pop()),
    )  # fmt: skip
    port.close()
    for end in ends:
        os.close(end)


@pytest.fixture
def tcp_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Tcp("127.0.0.1", server.getsockname()[1])
        link.open(1.0)
        other, _ = server.accept()
        with other:
            yield Line(link, other.sendall, other.recv, other.close)
        link.close()


@pytest.fixture
def udp_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        link = Udp("127.0.0.1", other.getsockname()[1])
        link.open(1.0)
        link.write(b"hello")
        _, address = other.recvfrom(100)
        yield Line(link, lambda d: other.sendto(d, address), other.recv, other.close)
        link.close()


LINES = ["serial_line", "tcp_line", "udp_line"]


@pytest.fixture(params=LINES)
def line(request):
    return request.getfixturevalue(request.param)


def test_bytes_go_both_ways(line):
    line.send(b"\x00\xff\x11\x13\n\r")
    assert line.transport.read(100, 5.0) == b"\x00\xff\x11\x13\n\r"
    line.transport.write(b"\x03\x04\x7f\r\n")
    assert line.receive(100) == b"\x03\x04\x7f\r\n"


def test_silence_is_an_empty_read(line):
    assert line.transport.read(10, 0.0) == b""
    assert line.transport.read(10, 0.001) == b""


def test_what_is_discarded_is_not_read(line):
    line.send(b"old")
    assert line.transport.read(1, 5.0)  # it has arrived
    line.send(b"older")
    while not line.transport.read(1, 5.0):
        pass
    line.transport.discard()
    line.send(b"new")
    assert line.transport.read(10, 5.0) == b"new"


def test_a_closed_connection_says_so_and_opens_again(line):
    line.transport.close()
    line.transport.close()
    for use in (lambda: line.transport.read(1, 0.0), lambda: line.transport.write(b"x")):
        with pytest.raises(DeviceError, match="open it first"):
            use()


@pytest.mark.parametrize("name", ["serial_line", "tcp_line"])
def test_a_lost_connection_raises(name, request):
    line = request.getfixturevalue(name)
    line.hang_up()
    with pytest.raises(DeviceError, match=r"gone|lost"):
        line.transport.read(10, 5.0)


def test_close_ends_a_tcp_read_of_another_thread(tcp_line):
    raised = []

    def wait():
        try:
            tcp_line.transport.read(1, 60.0)
        except DeviceError as e:
            raised.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    tcp_line.transport.close()
    thread.join(10.0)
    assert not thread.is_alive()
    assert raised


def test_a_large_write_that_nobody_reads_ends_in_time(tcp_line):
    with pytest.raises(DeviceError, match="takes nothing"):
        tcp_line.transport.write(b"x" * 50_000_000, 0.05)


def test_a_missing_port_says_what_to_do(tmp_path):
    with pytest.raises(DeviceError, match="headway devices"):
        SerialPort(str(tmp_path / "ttyUSB7"), 9600).open(0.1)
    with pytest.raises(DeviceError, match="wanted the serial adapter with the number NONE42"):
        resolve("serial:NONE42")


@pytest.mark.parametrize("baud", [-5, 10**12])
def test_a_baud_rate_that_the_port_cannot_do_is_a_device_error(serial_line, baud):
    port = serial_line.transport.port
    serial_line.transport.close()
    with pytest.raises(DeviceError, match="wanted to open the serial port"):
        SerialPort(port, baud).open(0.1)


@pytest.mark.parametrize("kind", [Tcp, Udp])
def test_a_socket_that_cannot_be_set_up_is_closed(kind, monkeypatch):
    made = []

    class Refusing(socket.socket):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        def setsockopt(self, *_):
            raise OSError(105, "No buffer space available")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(socket, "socket", Refusing)
        with pytest.raises(DeviceError, match="No buffer space"):
            kind("127.0.0.1", port).open(1.0)
        monkeypatch.undo()
    assert [s.fileno() for s in made] == [-1]


def test_a_port_that_is_held_is_busy(serial_line):
    with pytest.raises(Busy, match="fuser"):
        SerialPort(serial_line.transport.port, 115200).open(0.1)


def test_nobody_at_a_tcp_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DeviceError, match="refused"):
        Tcp("127.0.0.1", port).open(0.5)


@pytest.mark.parametrize("kind", [Tcp, Udp])
@pytest.mark.parametrize("host", ["a" * 64, "robot..local"])
def test_a_name_that_no_host_can_have_says_so(kind, host):
    with pytest.raises(DeviceError, match=rf"host at \w+://{host}:9, found a name that none"):
        kind(host, 9).open(1.0)


def test_nobody_at_a_udp_port_shows_after_sending(udp_line):
    udp_line.hang_up()
    udp_line.transport.write(b"anybody?")
    with pytest.raises(DeviceError, match="refused"):
        udp_line.transport.read(10, 5.0)
