"""What a policy's bundle declares and cannot be done is refused, and what it wants of the station
and the loop is checked, before anything moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_policy import Echo, opened
from loop_rig import played
from null_robot import STATE, TCP, make_policy, null_table, tcp_actions

from headway import bundle, config
from headway.clock import VirtualClock
from headway.edge.control.build import Built, check_instruction
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.policy.policy import About
from headway.errors import BundleError, ConfigError, SpecMismatch

SI = ["m", "m", "rad", "rad", "rad", "1"]  # of the columns behind the first one


@pytest.fixture
def echo(tmp_path):
    return Echo(tmp_path / "echo")


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"policy": {"actions": {"axes": "bsae"}}}, "found 'bsae': did you mean `base`"),
        ({"policy": {"actions": {"units": ["inch", *SI]}}}, "unit of x: wanted a unit, found 'inc"),
        ({"policy": {"actions": {"units": ["rad", *SI]}}}, "unit of x: wanted a unit of length"),
        ({"policy": {"actions": {"names": ["dx", *TCP[1:]]}}}, "wanted the names x y z rx ry rz"),
        ({"policy": {"actions": {"chunk": 3}}}, r"`actions`: wanted floats \(1, 3 or more, 7\)"),
        ({"policy": {"actions": {"chunk": 0}}}, "`policy.actions.chunk` wants a whole number >="),
        ({"policy": {"actions": {"dt_s": 0.0}}}, "`policy.actions.dt_s` wants a finite number > "),
        ({"policy": {"actions": {"scale": [0.0] * 7}}}, "wanted a finite scale other than 0"),
        ({"policy": {"state": [{"input": "state", "names": STATE, "steps": 2}]}}, "`stride_s`"),
        ({"policy": {"stride_s": 0.1}}, "wants an input with more than 1 of `steps`"),
        ({"policy": {"output": "acitons"}}, "no output is named `acitons`"),
        ({"policy": {"rate_hz": -1.0}}, "`policy.rate_hz` wants a finite number > 0"),
        ({"policy": {"state_names": STATE[:2]}}, r"input `state`: wanted 2 floats, one per name"),
        ({"tensors": {"state": {"shape": (10**30,)}}}, r"one per name, found float32 \(10{30},\)"),
        ({"policy": {"state_names": ("action.q", *STATE[1:])}}, "found `action.q`"),
        ({"policy": {"instruction": None}}, "nobody fills the input `instruction`"),
        ({"policy": {"instruction": {"kind": "vocabulary", "texts": []}}}, "at least one text"),
        ({"policy": {"instruction": {"kind": "vocab", "texts": ["a"]}}}, "mean `vocabulary`"),
        ({"policy": {"images": []}}, "nobody fills the input `rgb`"),
        ({"policy": {"ignored_outputs": ["value"]}}, "no output is named `value`"),
        ({"without": ("state",)}, "policy.state: no input is named `state`"),
        ({"without": ("instruction",)}, "policy.instruction: wanted an input `instruction`"),
        ({"tensors": {"rgb": {"mean": (1.0,), "std": (2.0,)}}}, "want a tensor of floats, found u"),
        ({"tensors": {"rgb": {"shape": (1, 3, 2, 2)}}}, r"or floats \(1, 2, 2, 3\), found uint8"),
        ({"tensors": {"rgb": {"unit": "mm"}}}, "unit '1', found 'mm'"),
        ({"tensors": {"depth": {"dtype": "uint8"}}}, "`depth` as uint16 or floats"),
        ({"tensors": {"state": {"mean": [0.0], "std": [0.0]}}}, "std wants numbers > 0, found 0"),
        ({"tensors": {"state": {"low": [1.0], "high": [1.0]}}}, "low < high .*a width of 0"),
        ({"tensors": {"state": {"low": [1.0]}}}, "low and high come together"),
        ({"tensors": {"depth": {"unit": "m"}}}, "whole numbers with the unit 'mm', found 'm'"),
        ({"tensors": {"state": {"unit": "furlong"}}}, "tensor state: wanted a unit, found 'furl"),
        (
            {"tensors": {"state": {"unit": "mm"}}},
            r"`wrench.fz`: wanted a unit of force \(N, mN, kN, kgf, lbf\), found 'mm'",
        ),
        ({"tensors": {"state": {"dtype": "int64"}}}, "wanted 4 floats.* found int64"),
        ({"tensors": {"instruction": {"dtype": "float32"}}}, "wanted int64 .* found float32"),
        ({"tensors": {"instruction": {"unit": "m"}}}, "without a unit, mean and std"),
        ({"tensors": {"actions": {"unit": "m"}}}, "its units stand in policy.actions"),
        ({"tensors": {"actions": {"dtype": "int64"}}}, "`actions`: wanted floats"),
    ],
)
def test_what_is_declared_and_cannot_be_done_is_refused(echo, kwargs, says):
    path = echo.make(**kwargs)
    with pytest.raises(BundleError, match=says):
        opened(path)


IMAGE = {"camera": "wrist", "input": "rgb", "height": 2, "width": 2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "depth_mm"}, r"or floats \(1, 2, 2\) or"),
        ({"layout": "chw"}, r"or floats \(1, 3, 2, 2\), found uint8"),
        ({"scale": 0.5}, "scale, mean and std want a tensor of floats"),
        ({"mean": [0.5] * 3}, "mean and std come together"),
        ({"width": 3}, r"or floats \(1, 2, 3, 3\), found uint8 \(1, 2, 2, 3\)"),
        ({"input": "depth"}, "wanted its input `depth` as uint8"),
        ({"input": "state"}, "wanted its input `state` as uint8"),
        ({"input": "left"}, "no input is named `left`"),
        ({"height": 0}, r"`policy.images\[0\].height` wants a whole number >= 1, found 0"),
    ],
)
def test_an_image_that_does_not_fit_its_input(echo, change, says):
    path = echo.make(policy={"images": [IMAGE | change]})
    with pytest.raises(BundleError, match=says):
        bundle.load(path)


def test_two_images_for_one_input(echo):
    path = echo.make(policy={"images": [IMAGE, IMAGE | {"camera": "other"}]})
    with pytest.raises(BundleError, match="fill the input `rgb`: give each its own"):
        bundle.load(path)


def built(table: dict[str, Any]) -> list[str]:
    """The notes of a run of `table` that is ready to begin."""
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        made = Built(station.settings, station, clock)
        made.close()
        return made.notes


class TestBeforeTheStart:
    """What a policy wants of the station and the loop is there before anything moves."""

    def table(self, tmp_path: Path, policy: dict[str, Any], **changes: Any) -> dict[str, Any]:
        made = make_policy(tmp_path / "p", policy=policy)
        return null_table(policy={"bundle": str(made)}, **changes)

    def test_its_rate(self, tmp_path):
        table = self.table(tmp_path, {}, loop={"policy_hz": 50.0})
        with pytest.raises(ConfigError, match="made to be asked 10 times a second"):
            built(table)

    def test_the_rate_is_the_bundles_where_the_file_says_none(self, tmp_path):
        table = self.table(tmp_path, {"rate_hz": 25.0, "actions": tcp_actions(dt_s=0.04)})
        chunks = played(table, tmp_path / "e.mcap").rows("/chunk")
        assert set(np.diff(chunks["t_ns"])) == {40_000_000}

    def test_chunks_that_are_too_short(self, tmp_path):
        with pytest.raises(ConfigError, match=r"its chunks last 0\.06 s: the arm would stop"):
            built(self.table(tmp_path, {"actions": tcp_actions(dt_s=0.01)}))
        table = self.table(tmp_path, {"actions": tcp_actions(dt_s=0.018)})
        (note,) = [n for n in built(table) if "chunks" in n]
        assert note.startswith("the arm will stop between chunks")

    def test_the_size_of_its_images(self, tmp_path):
        camera = [{"kind": "null", "name": "wrist", "width": 32, "height": 24}]
        says = "wants 16x16 from camera `wrist`, found 32x24: set width = 16 and height = 16 in its"
        with pytest.raises(ConfigError, match=says):
            built(self.table(tmp_path, {}, camera=camera))

    def test_depth(self, tmp_path):
        made = Echo(tmp_path / "echo").make()
        camera = [{"kind": "null", "name": "wrist", "width": 2, "height": 2, "depth": False}]
        table = null_table(policy={"bundle": str(made)}, camera=camera)
        with pytest.raises(ConfigError, match=r"depth from camera `wrist`.*depth = true"):
            built(table)

    def test_an_instruction(self, tmp_path):
        table = self.table(tmp_path, {})
        del table["instruction"]
        with pytest.raises(ConfigError, match="set `instruction` at the top of the file to 'put"):
            built(table)
        with pytest.raises(SpecMismatch, match="was not taught 'put the rde item in the tote'"):
            built({**table, "instruction": "put the rde item in the tote"})

    def test_an_instruction_that_nobody_takes_is_said(self, tmp_path):
        path = Echo(tmp_path / "echo").make(policy={"instruction": None}, without=("instruction",))
        policy = opened(path)
        policy.check_instruction("whatever")
        about = About("echo", (), (), policy.actions, policy.needs)
        settings = config.decode(null_table(), Settings, "test")
        assert "'put the red item in the tote' is only recorded" in check_instruction(
            about, settings
        )
