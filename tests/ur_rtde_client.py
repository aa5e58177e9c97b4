"""What ur-rtde, a client that nobody here wrote, sees of the controller at the host `argv[1]`, by
the function `argv[2]`: JSON on the last line. Run by tests/test_peer_ur_rtde.py with the Python
that has ur-rtde."""

import json
import math
import sys
import time

import rtde_control
import rtde_io
import rtde_receive

DEADLINE_S = 20.0


def until(wanted):
    """Whether `wanted()` became true in time."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if wanted():
            return True
        time.sleep(0.005)
    return False


def upper(host):
    """What is seen with the upper half of the registers."""
    receive = rtde_receive.RTDEReceiveInterface(host)
    cls = rtde_control.RTDEControlInterface
    control = cls(host, -1.0, cls.FLAG_UPLOAD_SCRIPT | cls.FLAG_UPPER_RANGE_REGISTERS)
    q, start = receive.getActualQ(), receive.getActualQ()[4]
    for _ in range(100):
        began = control.initPeriod()
        q[4] += 0.001
        control.servoJ(q, 0, 0, 0.002, 0.05, 500)
        control.waitPeriod(began)
    print(json.dumps(until(lambda: abs(receive.getActualQ()[4] - start - 0.1) < 1e-3)), flush=True)


def main(host):
    receive = rtde_receive.RTDEReceiveInterface(host)
    seen = {
        "q": receive.getActualQ(),
        "modes": [receive.getRobotMode(), receive.getSafetyMode(), receive.getRuntimeState()],
        "pose": receive.getActualTCPPose(),
        "voltage": receive.getActualMainVoltage(),
    }
    first, stamps, end = receive.getTimestamp(), set(), time.monotonic() + 1.0
    while time.monotonic() < end:
        stamps.add(receive.getTimestamp())
    seen["rate"] = len(stamps) / (max(stamps) - first)

    io = rtde_io.RTDEIOInterface(host)
    sent = [io.setStandardDigitalOut(3, True), io.setToolDigitalOut(1, True)]
    sent.append(io.setSpeedSlider(0.5))
    seen["io"] = [*sent, until(lambda: receive.getActualDigitalOutputBits() == 1 << 3 | 1 << 17)]
    seen["slider"] = until(lambda: receive.getTargetSpeedFraction() == 0.5)
    io.setSpeedSlider(1.0)

    control = rtde_control.RTDEControlInterface(host)
    seen["program"] = [control.isProgramRunning(), until(lambda: receive.getRuntimeState() == 2)]
    q, start = receive.getActualQ(), receive.getActualQ()[5]
    for _ in range(300):
        began = control.initPeriod()
        q[5] += 0.001
        control.servoJ(q, 0, 0, 0.002, 0.05, 500)
        control.waitPeriod(began)
    seen["servoj"] = until(lambda: abs(receive.getActualQ()[5] - start - 0.3) < 1e-3)
    seen["servo_stop"] = control.servoStop()
    seen["speedj"] = control.speedJ([0, 0, 0, 0, 0, -0.4], 2.0)
    seen["speed"] = until(lambda: abs(receive.getActualQd()[5] + 0.4) < 0.02)
    seen["speed_stop"] = control.speedStop()
    seen["rest"] = until(lambda: abs(receive.getActualQd()[5]) < 1e-3)
    goal = receive.getActualQ()
    goal[5] += 0.2
    seen["movej"] = [control.moveJ(goal, 1.0, 2.0), abs(receive.getActualQ()[5] - goal[5])]
    seen["steady"] = control.isSteady()
    control.stopScript()
    seen["stopped"] = until(lambda: not control.isProgramRunning())
    seen["reupload"] = [control.reuploadScript(), until(control.isProgramRunning)]
    control.setWatchdog(5.0)
    seen["watchdog"] = until(lambda: receive.getRuntimeState() == 1)  # which is not fed
    control.reuploadScript()
    seen["nan"] = [
        until(control.isProgramRunning),
        control.servoJ([math.nan] * 6, 0, 0, 0.002, 0.1, 300),
    ]
    seen["protective"] = until(receive.isProtectiveStopped)
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    {"main": main, "upper": upper}[sys.argv[2]](sys.argv[1])
