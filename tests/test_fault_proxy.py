"""headway.hil.proxy: what it does to bytes is what it was told, and the same each time."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway import config
from headway.clock import NS
from headway.drivers.transports.serial import SerialPort
from headway.drivers.transports.tcp import Tcp
from headway.drivers.transports.udp import Udp
from headway.errors import ConfigError, DeviceError
from headway.hil.line import SerialLine
from headway.hil.proxy.faults import APPLIES, Fault, Random
from headway.hil.proxy.line import Line
from headway.hil.proxy.process import ProxyProcess
from headway.hil.proxy.pump import Proxy, ProxyConfig, is_emulated

MS = 1_000_000
NONE = Random()
EVER = 10**15
WAIT_S = 20.0  # for what comes at once, unless the machine is busy


def sent(line, chunks, gap_ns=10 * MS):
    """Feed `chunks` at even times; everything that comes out, with the time it came."""
    out = []
    for i, chunk in enumerate(chunks):
        line.feed(chunk, i * gap_ns)
        out += [(i * gap_ns, data) for data in line.take(i * gap_ns)]
    while (due := line.next_ns()) is not None:
        out += [(due, data) for data in line.take(due)]
    return out


def planned(fault, datagrams=False, seed=3):
    line = Line(NONE, seed, datagrams)
    line.plan(fault, 0)
    return line


CHUNKS = [bytes([i]) * 8 for i in range(10)]


def test_a_line_without_faults_passes_all_on_at_once():
    assert sent(Line(NONE, 0), CHUNKS) == [(i * 10 * MS, c) for i, c in enumerate(CHUNKS)]


@given(
    st.lists(st.binary(max_size=40), max_size=30),
    st.integers(0, 99),
    st.sampled_from(["flip", "truncate", "garbage", "split", "coalesce", "delay", "reorder"]),
    st.booleans(),
)
def test_the_same_seed_and_input_give_the_same_output(chunks, seed, kind, datagrams):
    random = config.decode({"seed": seed, kind: 0.5, "drop": 0.1, "duplicate": 0.1}, Random, "r")
    first, second = (sent(Line(random, seed, datagrams), chunks) for _ in range(2))
    assert first == second


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=30),
    st.fixed_dictionaries(dict.fromkeys(("split", "coalesce", "delay"), st.floats(0, 1))),
    st.integers(0, 99),
)
def test_what_only_concerns_times_and_pieces_keeps_every_byte_in_its_place(chunks, shares, seed):
    line = Line(config.decode(dict(shares), Random, "r"), seed)
    out = sent(line, chunks)
    assert b"".join(data for _, data in out) == b"".join(chunks)
    assert [t for t, _ in out] == sorted(t for t, _ in out)
    assert line.backlog == 0


def test_a_flip_changes_that_many_bits_of_one_chunk():
    out = [data for _, data in sent(planned(Fault("flip", at_s=0.025, count=1)), CHUNKS)]
    changed = [i for i, (a, b) in enumerate(zip(out, CHUNKS, strict=True)) if a != b]
    assert changed == [3]  # the first one after 25 ms
    bits = [(a ^ b).bit_count() for a, b in zip(out[3], CHUNKS[3], strict=True)]
    assert sum(bits) == 1


def test_a_silence_loses_what_is_sent_meanwhile():
    out = sent(planned(Fault("silence", at_s=0.02, for_s=0.03)), CHUNKS)
    assert [data[0] for _, data in out] == [0, 1, 5, 6, 7, 8, 9]


def test_a_delay_keeps_the_order_of_a_stream_but_not_of_datagrams():
    fault = Fault("delay", at_s=0.02, ms=35.0)  # hits one chunk
    stream = [data[0] for _, data in sent(planned(fault), CHUNKS)]
    datagrams = [data[0] for _, data in sent(planned(fault, datagrams=True), CHUNKS)]
    assert stream == list(range(10))
    assert datagrams == [0, 1, 3, 4, 5, 2, 6, 7, 8, 9]


def test_datagrams_are_lost_doubled_and_overtaken():
    doubled = sent(planned(Fault("duplicate", at_s=0.02), datagrams=True), CHUNKS)
    assert [d[0] for _, d in doubled] == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]
    dropped = sent(planned(Fault("drop", at_s=0.02), datagrams=True), CHUNKS)
    assert [d[0] for _, d in dropped] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    late = sent(planned(Fault("reorder", at_s=0.02, ms=15.0), datagrams=True), CHUNKS)
    assert [d[0] for _, d in late] == [0, 1, 3, 2, 4, 5, 6, 7, 8, 9]


def test_pieces_and_garbage():
    out = sent(planned(Fault("split", at_s=0.0, count=4, ms=1.0)), CHUNKS[:1])
    assert len(out) > 1
    assert b"".join(d for _, d in out) == CHUNKS[0]
    out = sent(planned(Fault("coalesce", for_s=1.0, ms=50.0)), CHUNKS)
    assert [t // MS for t, _ in out] == [0, 50, 100]
    out = sent(planned(Fault("garbage", count=5)), CHUNKS[:1])
    assert len(out[0][1]) == 13
    assert out[0][1].endswith(CHUNKS[0])
    out = sent(planned(Fault("truncate")), CHUNKS[:1])
    assert not out or (CHUNKS[0].startswith(out[0][1]) and len(out[0][1]) < 8)


def test_a_slow_line_holds_back_what_is_too_much():
    line = planned(Fault("slow", for_s=1.0, bytes_s=400.0))
    line.feed(bytes(100), 0)
    line.feed(bytes(100), 0)
    assert line.backlog == 200
    assert line.take(NS // 8) == []
    assert line.next_ns() == NS // 4
    assert sum(map(len, line.take(NS // 2))) == 200
    line.feed(bytes(4000), NS // 2)
    assert line.next_ns() == NS  # when the line is as it was


def test_shares_are_kept_to():
    random = config.decode({"drop": 0.25}, Random, "r")
    out = sent(Line(random, 5, datagrams=True), [b"x"] * 4000)
    assert 0.22 < 1 - len(out) / 4000 < 0.28


def test_a_fault_that_a_wire_cannot_have_is_refused():
    with pytest.raises(ConfigError, match=r"udp.*'garbage'"):
        Proxy(ProxyConfig("udp", "127.0.0.1:9", fault=(Fault("garbage"),)))
    with pytest.raises(ConfigError, match=r"tcp.*'flip'"):
        Proxy(ProxyConfig("tcp", "127.0.0.1:9", random=Random(flip=0.1)))
    assert {kind for kinds in APPLIES.values() for kind in kinds} >= {"flip", "reorder", "reset"}


def test_a_line_to_real_hardware_wants_to_be_allowed():
    with pytest.raises(ConfigError, match="allow-hardware"):
        Proxy(ProxyConfig("serial", "/dev/ttyUSB0"))
    with pytest.raises(ConfigError, match="allow-hardware"):
        Proxy(ProxyConfig("tcp", "192.168.1.5:30004"))
    Proxy(ProxyConfig("tcp", "192.168.1.5:30004", allow_hardware=True)).close()
    assert is_emulated("udp", "127.0.0.1:49152")


@contextlib.contextmanager
def running(cfg):
    proxy, stop = Proxy(cfg), threading.Event()
    proxy.open()
    thread = threading.Thread(target=proxy.run, args=(stop,))
    thread.start()
    try:
        yield proxy
    finally:
        stop.set()
        thread.join()
        proxy.close()


def heard(transport, count):
    """`count` bytes from `transport`, or as many as there are."""
    data = b""
    while len(data) < count and (more := transport.read(count - len(data), WAIT_S)):
        data += more
    return data


def read_on(transport):
    """Read until that fails."""
    while True:
        transport.read(64, WAIT_S)


def test_a_serial_line_comes_back_at_another_path(tmp_path):
    device = SerialLine()
    cfg = ProxyConfig("serial", device.path, link=str(tmp_path / "port"))
    with running(cfg) as proxy:
        host = SerialPort(proxy.uri, 57600)
        host.open(1.0)
        host.write(b"to the device")
        assert device.read(WAIT_S)
        device.write(b"to the host")
        assert heard(host, 11) == b"to the host"
        assert device.baud == 57600  # as the host has set it
        before = (tmp_path / "port").readlink()
        proxy.inject(Fault("unplug", for_s=0.05))
        with pytest.raises(DeviceError, match="gone"):
            read_on(host)
        host.close()
        eventually(lambda: (tmp_path / "port").is_symlink())
        host.open(1.0)
        assert (tmp_path / "port").readlink() != before or host.uri
        device.write(b"again")
        assert heard(host, 5) == b"again"
        host.close()
    device.close()


def eventually(check):
    """Wait until `check()` is true."""
    done = threading.Event()
    for _ in range(2000):
        if check():
            return
        done.wait(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture
def echo():
    """The port of a TCP server that gives back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=give_back, args=(peer,), daemon=True).start()

        def give_back(peer):
            with peer, contextlib.suppress(OSError):
                while data := peer.recv(4096):
                    peer.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_tcp_connections_are_reset_and_made_anew(echo):
    with running(ProxyConfig("tcp", f"127.0.0.1:{echo}")) as proxy:
        host, port = proxy.uri.split(":")
        tcp = Tcp(host, int(port))
        tcp.open(1.0)
        tcp.write(b"hello")
        assert heard(tcp, 5) == b"hello"
        proxy.inject(Fault("reset"))
        with pytest.raises(DeviceError, match="lost"):
            read_on(tcp)
        tcp.close()
        tcp.open(1.0)
        tcp.write(b"again")
        assert heard(tcp, 5) == b"again"
        tcp.close()
    assert proxy.hits["reset"] == 1


def test_datagrams_pass_in_a_process_of_its_own():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(WAIT_S)
        table = {"kind": "udp", "device": f"127.0.0.1:{device.getsockname()[1]}"}
        with ProxyProcess(table) as proxy:
            host, port = proxy.uri.split(":")
            udp = Udp(host, int(port))
            udp.open(1.0)
            udp.write(b"ping")
            data, back = device.recvfrom(100)
            assert data == b"ping"
            proxy.inject(Fault("duplicate", for_s=60.0))
            got = []
            for _ in range(2000):  # until the fault has begun
                device.sendto(b"pong", back)
                got.append(udp.read(100, WAIT_S))
                if udp.read(100, 0.01):
                    break
            else:
                raise AssertionError("no datagram came twice")
            assert set(got) == {b"pong"}
            udp.close()
        assert proxy.hits["duplicate"] >= 1


def test_a_proxy_that_cannot_start_says_why():
    with pytest.raises(DeviceError, match="allow-hardware"):
        ProxyProcess({"kind": "tcp", "device": "192.168.1.5:30004"}).__enter__()
