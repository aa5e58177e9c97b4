"""What others' Modbus clients find at a port, for tests/test_peer_modbus.py.

python peer_modbus.py ft300|stream|registers|pyrobotiqgripper PORT GIVEN
"""

from __future__ import annotations

import json
import sys
import time

import minimalmodbus
import serial


def instrument(port: str, baud: int) -> minimalmodbus.Instrument:
    made = minimalmodbus.Instrument(port, 9, close_port_after_each_call=False)
    made.serial.baudrate = baud
    made.serial.timeout = 1.0
    return made


def ft300(port: str) -> dict:
    """The identity and the wrench, register by register."""
    sensor = instrument(port, 19200)
    return {
        "firmware": sensor.read_registers(500, 3),
        "serial": sensor.read_registers(510, 4),
        "year": sensor.read_register(514),
        "wrench": [
            sensor.read_register(180 + n, signed=True) / (100 if n < 3 else 1000) for n in range(6)
        ],
        "nowhere": refusal(lambda: sensor.read_register(700)),
    }


def refusal(call) -> str:
    try:
        return str(call())
    except minimalmodbus.ModbusException as e:
        return type(e).__name__


def stream(port: str) -> dict:
    """Start the stream, read 1 s of it, jam it, and ask for a register again."""
    sensor = instrument(port, 19200)
    sensor.write_registers(410, [0x0200])
    line: serial.Serial = sensor.serial
    line.timeout = 10.0
    data = line.read(16 * 60)
    good = sum(
        data[n : n + 2] == b"\x20\x4e"
        and minimalmodbus._calculate_crc(data[n : n + 14]) == data[n + 14 : n + 16]
        for n in range(0, len(data) - 15, 16)
    )
    line.write(b"\xff" * 50)
    line.timeout = 0.1
    until = time.monotonic() + 5.0
    while line.read(4096) and time.monotonic() < until:
        pass
    line.reset_input_buffer()
    line.timeout = 1.0
    return {"bytes": len(data), "good": good, "after": sensor.read_registers(500, 1)[0]}


def registers(port: str) -> dict:
    """Activate a gripper and close it, by registers."""
    gripper = instrument(port, 115200)

    def status(wanted) -> list[int]:
        until = time.monotonic() + 30.0
        while time.monotonic() < until:
            found = gripper.read_registers(2000, 3, functioncode=4)
            if wanted(found):
                return found
        raise SystemExit(f"the gripper stayed at {found}")

    found = {"first": gripper.read_registers(2000, 3)}
    gripper.write_registers(1000, [0x0900, 0x00FF, 0xFFFF])
    found["early"] = status(lambda r: r[1] >> 8 == 5)
    found["active"] = status(lambda r: r[0] >> 12 & 3 == 3)
    found["closed"] = status(lambda r: r[0] >> 14 in (1, 2, 3))
    gripper.write_registers(1001, [0x0000])
    found["open"] = status(lambda r: r[0] >> 14 == 3)
    time.sleep(1.3)
    found["after silence"] = gripper.read_registers(2000, 3)
    found["then"] = gripper.read_registers(2000, 3)
    return found


def pyrobotiqgripper(port: str) -> dict:
    import pyrobotiqgripper as rq

    gripper = rq.RobotiqGripper(port)
    gripper.connect()
    gripper.activate()
    found = {"activated": bool(gripper.isActivated())}
    gripper.start()
    gripper.close()
    found["closed at"] = int(gripper.position())
    found["object"] = int(gripper.objectDetection())
    gripper.open()
    found["open at"] = int(gripper.position())
    gripper.move(100, speed=255, force=10)
    found["moved to"] = int(gripper.position())
    gripper.disconnect()
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
