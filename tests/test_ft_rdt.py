"""The driver of RDT sensors, against a device made of the manual's facts at a real UDP port and a
real web page."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
from itertools import pairwise

import pytest
from device_rig import GENEROUS, rdt_record, reads

from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.drivers.codecs.rdt import Record
from headway.errors import ConfigError, DeviceError, Stale

HOST = "127.0.0.1"
COUNTS = (1_000_000, -2_500_000, 12_340_000, 10_000, -20_000, 30_000)
WRENCH = (1.0, -2.5, 12.34, 0.01, -0.02, 0.03)
PAGE = (
    "<netft><cfgcpf>1000000</cfgcpf><cfgcpt>1000000</cfgcpt><scfgfu>N</scfgfu><scfgtu>Nm</scfgtu>"
    "<prodname>Axia80</prodname><setserial>FT1</setserial><setfwver>2.1.0</setfwver></netft>"
)


class Sensor:
    """Hears requests; on a start it sends what is in `burst`, or records without end. `deaf`: so
    many starts it does not hear."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.socket.settimeout(0.001)
        self.port = self.socket.getsockname()[1]
        self.requests: list[tuple[int, int]] = []
        self.deaf = 0
        self.burst: list[bytes] | None = None
        self.host: tuple[str, int] | None = None
        self.streams = threading.Event()
        self.stopped = threading.Event()
        self.started = threading.Event()
        self.pause = threading.Event()
        self._seq = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.socket.sendto(datagram, self.host)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(GENEROUS)
        self.socket.close()

    def _serve(self) -> None:
        while not self._end.is_set():
            try:
                data, host = self.socket.recvfrom(100)
            except TimeoutError:
                data = b""
            except OSError:  # the host's port is closed: ICMP
                continue
            if data:
                header, command, count = struct.unpack(">HHI", data)
                assert header == 0x1234
                self.requests.append((command, count))
                if command == 2:
                    if self.deaf:
                        self.deaf -= 1
                        continue
                    self.host = host
                    self.streams.set()
                    self.started.set()
                elif command == 0:
                    self.streams.clear()
                    self.stopped.set()
            if self.streams.is_set() and not self.pause.is_set():
                if self.burst is None:
                    self._seq += 1
                    self.send(rdt_record(self._seq, COUNTS, self._seq * 7))
                elif self.burst:
                    self.send(self.burst.pop(0))


@pytest.fixture
def page():
    """The sensor's web page: its port, and what it says."""
    text = {"body": PAGE, "status": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text["body"].encode()
            self.send_response(text["status"] if self.path == "/netftapi2.xml" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    text["port"] = server.server_address[1]
    yield text
    server.shutdown()
    thread.join(GENEROUS)
    server.server_close()


def sensor_of(device, **table):
    table = {"host": HOST, "port": device.port, **table}
    return open_device("ft", "rdt", table, Context(WallClock(0)))


SCALED = {"counts_per_force": 1e6, "counts_per_torque": 1e6}


def burst(device, *datagrams: bytes, **table):
    """A sensor, open, to which the device has sent `datagrams` after a first record, which `open`
    uses up: it has the number 1."""
    device.burst = [rdt_record(1, COUNTS)]
    sensor = sensor_of(device, **SCALED, **table)
    sensor.open(GENEROUS)
    device.send(*datagrams)
    return sensor


def test_it_streams_in_newtons_by_the_scale_of_the_page(page):
    with Sensor() as device:
        sensor = sensor_of(device, http_port=page["port"], serial="FT1", firmware=[2, 0])
        assert sensor.info.uri == f"udp://{HOST}:{device.port}"
        sensor.open(GENEROUS)
        samples = [sensor.read(GENEROUS) for _ in range(20)]
        value = samples[0].value
        assert (*value.force, *value.torque) == pytest.approx(WRENCH)
        assert all(s.valid for s in samples)
        assert all(a.stamp.seq < b.stamp.seq for a, b in pairwise(samples))
        assert all(a.stamp.t_ns <= b.stamp.t_ns for a, b in pairwise(samples))
        info = sensor.info
        assert (info.model, info.serial, info.firmware) == ("Axia80", "FT1", "2.1.0")
        sensor.close()
        assert device.stopped.wait(GENEROUS)
        assert device.requests == [(2, 0), (0, 0)]


def test_the_start_is_asked_for_again_when_it_was_lost():
    with Sensor() as device:
        device.deaf = 3
        sensor = sensor_of(device, **SCALED)
        sensor.open(GENEROUS)
        sensor.read(GENEROUS)
        assert [c for c, _ in device.requests][:4] == [2, 2, 2, 2]
        sensor.close()


def test_a_sensor_that_never_answers_is_asked_ten_times():
    with Sensor() as device:
        device.deaf = 99
        sensor = sensor_of(device, **SCALED)
        with pytest.raises(DeviceError, match="nothing came: is it on"):
            sensor.open(GENEROUS)
        assert len(device.requests) == 10


def test_the_dialect_of_onrobot():
    with Sensor() as device:
        device.burst = [rdt_record(1, (0,) * 6)]
        sensor = sensor_of(device, dialect="onrobot", rate_hz=500.0, filter=4)
        sensor.open(GENEROUS)
        assert device.requests == [(0x82, 2), (0x81, 4), (0x42, 0), (2, 0)]
        device.send(rdt_record(2, (10_000, -25_000, 0, 100_000, 0, -50_000)))
        value = sensor.read(GENEROUS).value
        assert (*value.force, *value.torque) == pytest.approx((1.0, -2.5, 0.0, 1.0, 0.0, -0.5))
        device.send(rdt_record(3, COUNTS, status=0x10))
        sample = sensor.read(GENEROUS)
        assert (sample.valid, sample.flags) == (False, ("status 0x10",))
        sensor.close()


def test_lost_doubled_and_late_records_are_counted_and_the_older_discarded():
    with Sensor() as device:
        order = [2, 3, 3, 6, 5, 2, 7]
        sensor = burst(device, *(rdt_record(n, (n, 0, 0, 0, 0, 0)) for n in order))
        sensor.most_behind = 100
        values = [round(sensor.read(GENEROUS).value.force[0] * 1e6) for _ in range(4)]
        assert values == [2, 3, 6, 7]
        assert (sensor.health().reordered, sensor.health().lost) == (3, 2)
        sensor.close()


def test_numbers_start_over_at_their_end_and_after_a_loss_of_power():
    with Sensor() as device:
        device.burst = [rdt_record(2**32 - 2, COUNTS)]
        sensor = sensor_of(device, **SCALED)
        sensor.open(GENEROUS)
        sensor.most_behind = 100
        device.send(*(rdt_record(n, COUNTS) for n in (2**32 - 1, 0, 1)))
        seqs = [sensor.read(GENEROUS).stamp.seq for _ in range(3)]
        assert seqs == [1, 2, 3]
        device.send(*(rdt_record(n, COUNTS) for n in (1_000_000, *range(1, 20))))
        last = [sensor.read(GENEROUS) for _ in range(13)][-1]
        assert sensor.health().reordered == 7  # then it was clear that the sensor counts anew
        assert last.valid
        sensor.close()


def test_one_that_is_slow_gets_the_newest_records():
    with Sensor() as device:
        sensor = burst(device, *(rdt_record(n, (n, 0, 0, 0, 0, 0)) for n in range(2, 200)))
        first = round(sensor.read(GENEROUS).value.force[0] * 1e6)
        last = 0
        while last < 199:
            last = round(sensor.read(GENEROUS).value.force[0] * 1e6)
        assert first > 2
        assert sensor.health().lost + sensor.health().received == 199 - 1
        sensor.close()


@pytest.mark.parametrize(
    ("status", "valid", "flags"),
    [
        (1 << 0, True, ("temperature",)), (1 << 31 | 1 << 1, False, ("supply voltage",)),
        (1 << 31 | 1 << 2, False, ("broken gauge",)), (1 << 27, False, ("gauge out of range",)),
        (1 << 31 | 1 << 30, False, ("overrange",)), (1 << 31, False, ("status 0x80000000",)),
        (1 << 28 | 1 << 29, False, ("simulated", "calibration checksum")), (1 << 5, True, ()),
    ],
)  # fmt: skip
def test_the_status_of_axia(status, valid, flags):
    with Sensor() as device:
        sensor = burst(device, rdt_record(2, COUNTS, status=status), rdt_record(3, COUNTS))
        sample = sensor.read(GENEROUS)
        assert (sample.valid, sample.flags) == (valid, flags)
        assert sensor.read(GENEROUS).valid
        sensor.close()


def test_the_clock_of_the_sensor_stamps_where_its_rate_is_known():
    sensor = sensor_of(type("Any", (), {"port": 9}), **SCALED, clock_hz=7000.0)
    begun = 10**9
    delays_ms = [0.1, 5.1, 4.1, 3.1, 2.1, 1.1, 0.2]  # the network held five of them up
    for n, delay in enumerate(delays_ms):
        ft_seq = (2**32 - 20 + 7 * n) % 2**32  # one millisecond each, and the number starts over
        arrival = begun + n * 1_000_000 + round(delay * 1e6)
        stamp = sensor.sample(Record(n, ft_seq, 0, COUNTS), arrival).stamp
        assert stamp.t_ns == pytest.approx(begun + n * 1_000_000 + 100_000, abs=2_000)
        assert stamp.arrival_ns == arrival
    assert sensor.device_clock.resets == 0


def test_a_wrong_rate_of_the_sensors_clock_is_flagged_and_does_not_age_samples():
    # It is 7000.
    device = type("Any", (), {"port": 9})
    sensor = sensor_of(device, **SCALED, clock_hz=14_000.0, stuck_after=0)
    ages, flags = [], set()
    for n in range(3000):
        sample = sensor.sample(Record(n, 7 * n, 0, COUNTS), 10**9 + n * 1_000_000)
        ages.append(sample.stamp.arrival_ns - sample.stamp.t_ns)
        flags.update(sample.flags)
    assert flags == {"clock rate"}
    assert max(ages) <= 250_000_000
    assert sensor.health().invalid == 0


def test_a_value_that_never_changes_is_stuck_until_it_does():
    with Sensor() as device:
        sensor = burst(device, *(rdt_record(n, COUNTS) for n in range(2, 7)), stuck_after=4)
        flags = [sensor.read(GENEROUS).flags for _ in range(5)]
        assert flags == [(), (), (), ("stuck",), ("stuck",)]
        device.send(rdt_record(7, (*COUNTS[:5], COUNTS[5] + 1)))
        assert sensor.read(GENEROUS).valid
        assert sensor.health().invalid == 2
        sensor.close()


def test_a_datagram_of_a_wrong_length_is_dropped():
    with Sensor() as device:
        sensor = burst(device, b"x" * 35, b"", rdt_record(2, COUNTS) + rdt_record(3, COUNTS))
        assert [sensor.read(GENEROUS).stamp.seq for _ in range(2)] == [1, 2]
        assert sensor.health().crc_errors >= 1
        sensor.close()


def test_silence_is_stale_then_a_fault():
    with Sensor() as device:
        sensor = burst(device, rdt_record(2, COUNTS))
        sensor.read(GENEROUS)
        with pytest.raises(Stale):
            sensor.read(0.05)
        with pytest.raises(DeviceError, match="no whole frame for 1 s"):
            reads(sensor, 10.0)
        sensor.close()


def test_a_host_that_is_not_there():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind((HOST, 0))
        port = gone.getsockname()[1]
    device = type("Gone", (), {"port": port})
    with pytest.raises(DeviceError, match="is the device on"):
        sensor_of(device, **SCALED).open(GENEROUS)
    with pytest.raises(DeviceError, match=r"netftapi2.xml, found .*refused.*counts_per_force"):
        sensor_of(device, http_port=port).open(GENEROUS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": 404}, "found HTTP 404"), ({"body": "<html>hello</html>"}, "found no <cfgcpf>"),
        ({"body": "hello"}, "found no XML"), ({"body": "x" * 2_000_000}, "does not end"),
    ],
)  # fmt: skip
def test_a_page_without_the_scale_is_refused_and_counts_are_asked_for(page, change, says):
    page.update(change)
    with Sensor() as device:
        sensor = sensor_of(device, http_port=page["port"])
        with pytest.raises(DeviceError, match=f"{says}.*counts_per_force"):
            sensor.open(GENEROUS)
        assert device.requests == []


def test_another_sensor_is_refused(page):
    with Sensor() as device:
        for table, says in (
            ({"serial": "FT2"}, "number FT2"),
            ({"firmware": [3]}, "firmware 3 or"),
        ):
            with pytest.raises(DeviceError, match=says):
                sensor_of(device, http_port=page["port"], **table).open(GENEROUS)
        assert device.requests == []


def test_one_count_alone_is_refused():
    with pytest.raises(ConfigError, match="add the other one"):
        open_device("ft", "rdt", {"host": "x", "counts_per_force": 1.0}, Context(WallClock(0)))
