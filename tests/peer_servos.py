"""What the servo makers' own libraries find at a port, for tests/test_peer_servos.py.

python peer_servos.py feetech|feetech_faults|feetech_baud|lerobot|dynamixel|dynamixel_faults PORT
"""

from __future__ import annotations

import json
import sys
import time

PATIENCE_MS = 5000  # of a packet, beside the time that its bytes need: the machine may be busy


def wait(wanted, seconds: float = 20.0):
    """What `wanted()` gives as soon as that is not None."""
    until = time.monotonic() + seconds
    while (found := wanted()) is None and time.monotonic() < until:
        pass
    return found


class Feetech:
    def __init__(self, port: str, baud: int = 1_000_000) -> None:
        import scservo_sdk
        from scservo_sdk import port_handler

        port_handler.LATENCY_TIMER = PATIENCE_MS / 2
        self.sdk = scservo_sdk
        self.port = port_handler.PortHandler(port)
        if not (self.port.openPort() and self.port.setBaudRate(baud)):
            raise SystemExit(f"cannot open {port} at {baud}")
        self.to = scservo_sdk.protocol_packet_handler()

    def word(self, id_: int, address: int) -> int:
        value, result, error = self.to.read2ByteTxRx(self.port, id_, address)
        if (result, error) != (0, 0):
            raise SystemExit(f"register {address} of {id_}: {result} {error}")
        return value

    def positions(self, ids) -> dict[int, int]:
        group = self.sdk.GroupSyncRead(self.port, self.to, 56, 4)
        for id_ in ids:
            group.addParam(id_)
        result = group.txRxPacket()
        if result:
            raise SystemExit(self.to.getTxRxResult(result))
        return {id_: group.getData(id_, 56, 2) for id_ in ids}


def feetech(port: str) -> dict:
    """Pings, reads, torque, a sync write of goals, and where the servos are in the end."""
    bus = Feetech(port)
    ids = range(1, 7)
    found = {"ping": [bus.to.ping(bus.port, id_) for id_ in ids]}
    start = bus.positions(ids)
    found["start"] = [start[id_] for id_ in ids]
    group = bus.sdk.GroupSyncWrite(bus.port, bus.to, 42, 2)
    goals = {id_: start[id_] + (60 if id_ < 6 else -200) for id_ in ids}
    for id_ in ids:
        bus.to.write2ByteTxRx(bus.port, id_, 42, start[id_])
        found["torque"] = bus.to.write1ByteTxRx(bus.port, id_, 40, 1)
        group.addParam(id_, list(goals[id_].to_bytes(2, "little")))
    found["before"] = [bus.positions(ids)[id_] for id_ in ids]
    group.txPacket()
    near = wait(
        lambda: (
            now
            if all(abs((now := bus.positions(ids))[id_] - goals[id_]) <= 2 for id_ in ids)
            else None
        )
    )
    found["reached"] = near is not None
    bus.to.regWriteTxRx(bus.port, 1, 42, 2, list(start[1].to_bytes(2, "little")))
    bus.to.action(bus.port, 0xFE)
    found["back"] = wait(lambda: True if abs(bus.word(1, 56) - start[1]) <= 2 else None)
    found["volts"] = bus.to.read1ByteTxRx(bus.port, 1, 62)[0] / 10
    bus.port.closePort()
    time.sleep(1.5)  # the host is gone: nothing happens
    again = Feetech(port)
    found["held"] = [again.word(id_, 40) & 0xFF for id_ in ids]
    return found


def feetech_faults(port: str) -> dict:
    """From a second after the first ping on: 2 is silent, 3 overloaded, 4 has a wrong voltage."""
    bus = Feetech(port)
    bus.to.ping(bus.port, 1)
    for id_ in range(1, 5):
        bus.to.write1ByteTxRx(bus.port, id_, 40, 1)

    def error(id_: int) -> int:
        return bus.to.read2ByteTxRx(bus.port, id_, 56)[2]

    found = {"overload": wait(lambda: error(3) or None), "voltage": wait(lambda: error(4) or None)}
    found["says"] = bus.to.getRxPacketError(found["overload"])
    found["torque"] = [bus.to.read1ByteTxRx(bus.port, id_, 40)[0] for id_ in (1, 3, 4)]
    found["others"] = [error(1), bus.to.ping(bus.port, 1)[0]]
    bus.port.setPacketTimeout = lambda length: bus.port.setPacketTimeoutMillis(500)
    found["silent"] = bus.to.getTxRxResult(bus.to.ping(bus.port, 2)[1])
    return found


def feetech_baud(port: str) -> dict:
    """At a wrong speed nothing is understood, at the right one everything."""
    wrong = Feetech(port, 115200)
    wrong.port.setPacketTimeout = lambda length: wrong.port.setPacketTimeoutMillis(500)
    found = {"wrong": wrong.to.getTxRxResult(wrong.to.ping(wrong.port, 1)[1])}
    wrong.port.closePort()
    found["right"] = Feetech(port).to.ping(Feetech(port).port, 1)[0]
    return found


def lerobot(port: str) -> dict:
    """LeRobot's bus, which an SO-101 uses: handshake, configuration, homing, calibration, goals."""
    from unittest.mock import MagicMock

    # LeRobot's helpers import these, which the motors do not use.
    for name in ("torch", "accelerate", "datasets", "datasets.utils", "datasets.utils.logging"):
        sys.modules[name] = MagicMock()
    from lerobot.motors import Motor, MotorCalibration, MotorNormMode
    from lerobot.motors.feetech import FeetechMotorsBus

    names = ("pan", "lift", "elbow", "flex", "roll", "gripper")
    motors = {name: Motor(n + 1, "sts3215", MotorNormMode.DEGREES) for n, name in enumerate(names)}
    bus = FeetechMotorsBus(port, motors)
    line = bus.port_handler  # which would wait for 50 ms
    line.setPacketTimeout = lambda length: line.setPacketTimeoutMillis(PATIENCE_MS)
    bus.connect()
    found = {"firmware": bus.read("Firmware_Major_Version", "pan")}
    found["all"] = bus.broadcast_ping()
    bus.disable_torque()
    bus.configure_motors()
    found["homing"] = bus.set_half_turn_homings()
    found["centred"] = bus.sync_read("Present_Position", normalize=False)
    calibration = {
        name: MotorCalibration(n + 1, 0, found["homing"][name], 500, 3500)
        for n, name in enumerate(names)
    }
    bus.write_calibration(calibration)
    found["calibrated"] = bus.is_calibrated
    start = bus.sync_read("Present_Position")
    bus.enable_torque()
    goals = {name: start[name] + (5.0 if name != "gripper" else -20.0) for name in names}
    bus.sync_write("Goal_Position", goals)
    now = wait(
        lambda: (
            is_now
            if all(
                abs((is_now := bus.sync_read("Present_Position"))[name] - goals[name]) < 0.3
                for name in names
            )
            else None
        )
    )
    found["reached"] = now is not None
    found["torque"] = bus.sync_read("Torque_Enable", normalize=False)
    bus.disconnect(disable_torque=True)
    return found


class Dynamixel:
    def __init__(self, port: str) -> None:
        import dynamixel_sdk
        from dynamixel_sdk import port_handler

        port_handler.LATENCY_TIMER = PATIENCE_MS / 2
        self.sdk = dynamixel_sdk
        self.port = port_handler.PortHandler(port)
        if not (self.port.openPort() and self.port.setBaudRate(1_000_000)):
            raise SystemExit(f"cannot open {port}")
        self.to = dynamixel_sdk.Protocol2PacketHandler()

    def read(self, id_: int, address: int, size: int = 4) -> int:
        data, result, _ = self.to.readTxRx(self.port, id_, address, size)
        if result:
            raise SystemExit(f"register {address} of {id_}: {self.to.getTxRxResult(result)}")
        return int.from_bytes(bytes(data), "little", signed=size == 4)

    def group(self, ids, fast: bool) -> dict[int, int]:
        group = self.sdk.GroupSyncRead(self.port, self.to, 132, 4)
        for id_ in ids:
            group.addParam(id_)
        result = group.fastSyncRead() if fast else group.txRxPacket()
        if result:
            raise SystemExit(self.to.getTxRxResult(result))
        return {id_: group.getData(id_, 132, 4) for id_ in ids}

    def bulk(self, ids, fast: bool) -> list[int]:
        group = self.sdk.GroupBulkRead(self.port, self.to)
        for id_ in ids:
            group.addParam(id_, 132 if id_ % 2 else 128, 4)
        result = group.fastBulkRead() if fast else group.txRxPacket()
        if result:
            raise SystemExit(self.to.getTxRxResult(result))
        return [group.getData(id_, 132 if id_ % 2 else 128, 4) for id_ in ids]


def dynamixel(port: str) -> dict:
    """Pings, all kinds of reads, torque, goals, stuffing, and the bus watchdog."""
    bus = Dynamixel(port)
    ids = range(1, 7)
    found = {"ping": [bus.to.ping(bus.port, id_) for id_ in ids]}
    found["all"] = sorted(bus.to.broadcastPing(bus.port)[0])
    start = bus.group(ids, fast=False)
    found["start"] = [start[id_] for id_ in ids]
    found["fast"] = [bus.group(ids, fast=True)[id_] for id_ in ids]
    found["bulk"] = bus.bulk(ids, fast=False)
    # The library's fast bulk read takes the length 4 for the id 4, so it is asked for three only.
    found["fast bulk"] = bus.bulk(range(1, 4), fast=True)
    # A profile velocity of 0x00FDFFFF holds the header of a packet: its bytes are FF FF FD 00.
    found["stuffed"] = bus.to.write4ByteTxRx(bus.port, 1, 112, 0x00FDFFFF)
    found["read back"] = bus.read(1, 112)
    bus.to.write4ByteTxRx(bus.port, 1, 112, 0)
    for id_ in ids:
        found["torque"] = bus.to.write1ByteTxRx(bus.port, id_, 64, 1)
    found["locked"] = bus.to.write1ByteTxRx(bus.port, 1, 11, 3)[1]
    found["limit"] = bus.to.write4ByteTxRx(bus.port, 1, 116, 5000)[1]
    goals = {id_: start[id_] + (60 if id_ < 6 else -200) for id_ in ids}
    group = bus.sdk.GroupSyncWrite(bus.port, bus.to, 116, 4)
    for id_ in ids:
        group.addParam(id_, list(goals[id_].to_bytes(4, "little")))
    group.txPacket()
    near = wait(
        lambda: (
            now
            if all(abs((now := bus.group(ids, True))[id_] - goals[id_]) <= 2 for id_ in ids)
            else None
        )
    )
    found["reached"] = near is not None
    bus.to.write1ByteTxRx(bus.port, 1, 98, 10)  # 200 ms
    time.sleep(1.0)
    found["watchdog"] = bus.read(1, 98, 1)
    found["refused"] = bus.to.write4ByteTxRx(bus.port, 1, 116, start[1])[1]
    found["cleared"] = bus.to.write1ByteTxRx(bus.port, 1, 98, 0)[1]
    found["accepted"] = bus.to.write4ByteTxRx(bus.port, 1, 116, start[1])[1]
    return found


def dynamixel_faults(port: str) -> dict:
    """Soon after the first ping, 2 is overloaded for a second; a reboot helps."""
    bus = Dynamixel(port)
    bus.to.ping(bus.port, 1)
    for id_ in (1, 2):
        bus.to.write1ByteTxRx(bus.port, id_, 64, 1)
    found = {"alert": wait(lambda: bus.to.ping(bus.port, 2)[2] or None)}
    found["status"], found["torque"] = bus.read(2, 70, 1), bus.read(2, 64, 1)
    found["other"] = [bus.to.ping(bus.port, 1)[2], bus.read(1, 64, 1)]
    time.sleep(1.0)
    found["still"] = bus.to.ping(bus.port, 2)[2]
    found["reboot"] = bus.to.reboot(bus.port, 2)[0]
    found["after"] = wait(lambda: True if bus.to.ping(bus.port, 2)[2] == 0 else None)
    found["status after"] = bus.read(2, 70, 1)
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
