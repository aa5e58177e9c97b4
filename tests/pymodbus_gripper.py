"""A gripper by pymodbus, for `.venv-hil/bin/python tests/pymodbus_gripper.py`: framing, checksums,
addresses and refusals are pymodbus's; what the registers mean is a few lines here. Prints the TCP
port that it serves."""

import asyncio
import socket

from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

WROTE, READS = 16, 4


class Gripper:
    def __init__(self) -> None:
        self.command = [0, 0, 0]

    def seen(self, sending: bool, pdu):
        """Takes what is written, and fills in what is read."""
        if not sending and pdu.function_code == WROTE and pdu.address == 1000:
            self.command = list(pdu.registers)
        if sending and pdu.function_code == READS and len(pdu.registers) == 3:
            action, position = self.command[0] >> 8, self.command[1] & 0xFF
            held = position > 150  # by something of about 26 mm
            status = action & 0x09 | (0x30 if action & 1 else 0) | (0x80 if held else 0xC0)
            pdu.registers = [status << 8, position, min(position, 150) << 8 | 3]
        return pdu


async def main() -> None:
    gripper = Gripper()
    data = [
        SimData(1000, count=3, datatype=DataType.REGISTERS, values=0),
        SimData(2000, count=3, datatype=DataType.REGISTERS, values=0),
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ModbusTcpServer(
        SimDevice(9, data),
        framer=FramerType.RTU,
        address=("127.0.0.1", port),
        trace_pdu=gripper.seen,
    )
    await server.listen()
    print(port, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
