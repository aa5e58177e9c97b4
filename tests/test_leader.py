"""The input `leader` against the emulated line of Feetech servos: how it comes back from faults."""

from __future__ import annotations

import numpy as np
import pytest
from device_rig import told
from test_feetech_arm import LATE_S, PLANT, RESTARTS, calibration, soon

from headway.clock import WallClock
from headway.drivers import Context
from headway.drivers.inputs import leader
from headway.errors import DeviceError
from headway.hil.launch import Emulator
from headway.hil.proxy.faults import Fault
from headway.hil.proxy.process import ProxyProcess


def leader_at(port, tmp_path):
    cfg = leader.Config(port=port, calibration=str(calibration(tmp_path)), check_calibration=False)
    return leader.connect(cfg, Context(WallClock(spin_ns=0)))


def test_a_leader_whose_servo_started_anew_is_limp_and_read_again_once_it_is_activated(tmp_path):
    with Emulator("feetech", {"faults": RESTARTS[:1]}, PLANT) as device:
        hand = leader_at(device.uri, tmp_path)
        hand.open(LATE_S)

        assert "elbow_flex (id 3)" in soon(lambda: told(hand.read))
        hand.activate()
        assert soon(lambda: hand.read() is not None)
        hand.close()


def _known(said):
    return said if said and said[0] is not None else []


def test_a_leader_that_was_unplugged_is_read_again_once_it_is_taken_over(tmp_path):
    """Another plug at the same place is another port, so it is opened anew."""
    with (
        Emulator("feetech", {}, PLANT) as device,
        ProxyProcess({"kind": "serial", "device": device.uri}) as proxy,
    ):
        hand = leader_at(proxy.uri, tmp_path)
        hand.open(LATE_S)
        before = soon(lambda: (said := hand.read()) is not None and [said])[0]
        proxy.inject(Fault("unplug", for_s=0.5))

        def works(call):
            try:
                said = call()
            except DeviceError:
                return []
            return [said]

        soon(lambda: not works(hand.read))
        # On a busy machine answers come late, and the line may have to be taken over once more.
        again = soon(lambda: works(hand.activate) and _known(works(hand.read)))[0]
        np.testing.assert_allclose(again, before, atol=0.01)
        assert "activated" not in {e.event for e in device.journal()}  # it is limp
        hand.close()
        with pytest.raises(DeviceError, match="is not open: plug it in"):
            hand.read()
