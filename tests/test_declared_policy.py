"""What a policy's bundle declares is acted on, with numbers, or refused before anything moves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_rig import sim_table
from msgspec import structs
from null_robot import (
    HORIZON,
    SENTENCES,
    STATE,
    UNITS,
    make_policy,
    null_table,
    onnx_model,
)

from headway import bundle, config
from headway.bundle import Image, Manifest, Policy, Provenance, Tensor
from headway.clock import VirtualClock
from headway.edge.build import Built, check_instruction
from headway.edge.bundle_policy import BundlePolicy, open_policy
from headway.edge.chunks import ACTION_NAMES
from headway.edge.policy import About
from headway.edge.remote.layout import finite_actions, of_bundle
from headway.edge.remote.request import to_observation
from headway.edge.runner import record_episode
from headway.edge.settings import Settings
from headway.edge.station import Station
from headway.errors import BundleError, ConfigError, SpecMismatch
from headway.mcaplog import open_recording
from headway.types import Frame, Observation, Pose

STEP = 0.003  # [m] along z per action, as declared by the bundles below
DOWN = Pose(np.array([0.4, -0.1, 0.3]), np.array([0.0, 1.0, 0.0, 0.0]))  # tool down


def steps(unit: float = 1.0) -> Any:
    """`STEP` more along z with each action, in units of `unit` m."""
    actions = np.zeros((HORIZON, 7), np.float32)
    actions[:, 2] = STEP / unit * np.arange(1, HORIZON + 1)
    return actions


def rise(table: dict[str, Any], policy: Path, path: Path) -> float:
    """How far the TCP rises in an episode of `table` with the policy in the folder [m]."""
    table = {**table, "policy": {"bundle": str(policy)}}
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        built = Built(station.settings, station, clock)
        try:
            record_episode(built.loop, 3, path, chunk_shape=built.chunk_shape, metadata={})
        finally:
            built.close()
    z = open_recording(path).rows("/telemetry")["tcp"][:, 2]
    return float(z[-1] - z[0])


MILLIMETRES = ("mm",) * 3 + ("deg",) * 3 + ("closed 0..1",)
HALVES = {"actions": {"mean": (0.0,), "std": (0.5,)}}
OFFSET = {"actions": {"mean": (0.0, 0.0, STEP, 0.0, 0.0, 0.0, 0.0), "std": (1.0,)}}


@pytest.mark.parametrize(
    ("unit", "policy", "tensors", "sign"),
    [
        (1.0, {"frame": "base"}, {}, 1.0),
        (1.0, {"frame": "tcp"}, {}, -1.0),  # its z points down
        (1.0, {"frame": "tcp at the chunk's start"}, {}, -1.0),
        (1.0, {"frame": "tcp commanded at the observation"}, {}, -1.0),
        (0.001, {"frame": "base", "action_units": MILLIMETRES}, {}, 1.0),
        (0.5, {"frame": "base"}, HALVES, 1.0),
    ],
)
def test_the_arm_goes_where_the_bundle_says(tmp_path, unit, policy, tensors, sign):
    made = make_policy(tmp_path / "p", steps(unit), policy=policy, tensors=tensors)
    found = rise(null_table(), made, tmp_path / "e.mcap")
    # 30 mm/s for 1.3 s; the first chunk comes and the smoothed reference follows a little later
    assert sign * found == pytest.approx(0.0345, abs=0.003)


def test_up_in_the_axes_of_the_base_is_up_in_the_cell(tmp_path):
    made = make_policy(tmp_path / "p", steps(), policy={"frame": "base"})
    table = sim_table()
    table["camera"] = [{"kind": "null", "name": "wrist", "width": 16, "height": 16}]
    assert rise(table, made, tmp_path / "e.mcap") == pytest.approx(0.0345, abs=0.004)


def test_an_offset_of_the_answer_is_added(tmp_path):
    made = make_policy(tmp_path / "p", 0 * steps(), tensors=OFFSET)
    np.testing.assert_allclose(infer(made).actions[:, 2], STEP, rtol=1e-6)


def observation(state: Any = None, size: int = 16, **changes: Any) -> Observation:
    rgb = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)
    depth = np.arange(size * size, dtype=np.uint16).reshape(size, size)
    state = np.array([0.4, 0.3, 0.05, -2.0], np.float32) if state is None else state
    frame = Frame(rgb, depth, np.eye(3))
    seen = Observation(7, {"wrist": frame}, state, 1, np.zeros(6), DOWN)
    return structs.replace(seen, **changes)


def infer(path: Path, obs: Observation | None = None) -> Any:
    policy = open_policy(str(path))
    return policy.infer(obs or observation())


@pytest.mark.parametrize(
    ("units", "row", "wanted"),
    [
        (UNITS, [0.1, 0, 0, 0.2, 0, 0, 0.7], [0.1, 0, 0, 0.2, 0, 0, 0.7]),
        (MILLIMETRES, [10, 0, 0, 90, 0, 0, 1], [0.01, 0, 0, math.pi / 2, 0, 0, 1]),
        (("cm", "m", "mm", *UNITS[3:]), [1, 1, 1, 0, 0, 0, 0], [0.01, 1, 0.001, 0, 0, 0, 0]),
        ((*UNITS[:6], "open 0..1"), [0] * 6 + [1.0], [0] * 7),
        ((*UNITS[:6], "closed -1..1"), [0] * 7, [0] * 6 + [0.5]),
    ],
)
def test_units_of_actions(tmp_path, units, row, wanted):
    actions = np.tile(np.float32(row), (HORIZON, 1))
    made = make_policy(tmp_path / "p", actions, policy={"action_units": units})
    np.testing.assert_allclose(infer(made).actions, np.tile(wanted, (HORIZON, 1)), atol=1e-7)


def test_columns_in_another_order(tmp_path):
    names, units = ("grip", *ACTION_NAMES[:6]), (UNITS[6], *UNITS[:6])
    actions = np.tile(np.arange(7, dtype=np.float32), (HORIZON, 1))
    made = make_policy(
        tmp_path / "p", actions, policy={"action_names": names, "action_units": units}
    )
    np.testing.assert_array_equal(infer(made).actions[0], [1, 2, 3, 4, 5, 6, 0])


def test_a_rotation_about_an_axis_of_the_base(tmp_path):
    """A quarter turn about the base's z is one about the minus z of a tool that looks down."""
    actions = np.zeros((HORIZON, 7), np.float32)
    actions[:, 5] = math.pi / 2
    found = infer(make_policy(tmp_path / "p", actions, policy={"frame": "base"})).actions[0]
    np.testing.assert_allclose(found[3:6], [0, 0, -math.pi / 2], atol=1e-6)


def test_what_is_not_finite_stays_so_whatever_the_frame(tmp_path):
    actions = steps()
    actions[2, 0] = np.nan
    found = infer(make_policy(tmp_path / "p", actions, policy={"frame": "base"})).actions
    assert np.isfinite(found).all(axis=1).tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("frame", ["tcp", "base"])
def test_a_server_advertises_and_answers_what_the_bundle_does_here(tmp_path, frame):
    units = ("mm",) * 3 + UNITS[3:]
    made = make_policy(tmp_path / "p", steps(0.001), policy={"frame": frame, "action_units": units})
    layout = of_bundle(bundle.load(made).manifest)
    assert layout.actions.axes == frame
    assert layout.rate_hz == 10.0
    obs = observation()
    asked = {
        "observation/image/wrist": obs.images["wrist"].rgb,
        "observation/state": obs.state,
        "prompt": SENTENCES[1],
    }
    number = {text: i for i, text in enumerate(SENTENCES)}
    there = open_policy(str(made)).infer(to_observation(asked, layout, number)).actions
    here = finite_actions(there, layout.actions, obs.base)
    np.testing.assert_allclose(here, infer(made, obs).actions, atol=1e-8)


class Echo:
    """A bundle whose graph answers with what it was given: of the state as `dx`, `dy`, ..., or of
    one pixel of the images."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(
        self,
        tensors: dict[str, dict[str, Any]] | None = None,
        policy: dict[str, Any] | None = None,
        *,
        floats: bool = False,
        extra: tuple[Tensor, ...] = (),
        outputs: tuple[str, ...] = ("actions",),
        without: tuple[str, ...] = (),
    ) -> Path:
        """`tensors` and `policy` change the manifest; `floats`: images are float32."""
        import onnx.helper as h

        image = "float32" if floats else "uint8"
        depth = "float32" if floats else "uint16"
        inputs = (
            Tensor(name="rgb", shape=(1, 2, 2, 3), dtype=image),
            Tensor(name="depth", shape=(1, 2, 2), dtype=depth),
            Tensor(name="state", shape=(1, len(STATE))),
            Tensor(name="instruction", shape=(1,), dtype="int64"),
            *extra,
        )
        nodes = [
            h.make_node("Cast", ["rgb"], ["rgbf"], to=1),
            h.make_node("Cast", ["depth"], ["depthf"], to=1),
            h.make_node("Cast", ["instruction"], ["which"], to=1),
            h.make_node("Reshape", ["rgbf", "line"], ["rgbs"]),
            h.make_node("Reshape", ["depthf", "line"], ["depths"]),
            h.make_node("Reshape", ["which", "line"], ["whichs"]),
            h.make_node("Concat", ["state", "whichs", "rgbs", "depths"], ["all"], axis=1),
            h.make_node("Slice", ["all", "begin", "end", "axis"], ["row"]),
            h.make_node("Reshape", ["row", "shape"], ["actions"]),
            *(h.make_node("Identity", ["actions"], [name]) for name in outputs[1:]),
        ]
        constants = {
            "line": np.array([1, -1], np.int64),
            "begin": np.array([0], np.int64),
            "end": np.array([2 * 7], np.int64),
            "axis": np.array([1], np.int64),
            "shape": np.array([1, 2, 7], np.int64),
        }
        answers = tuple(Tensor(name=name, shape=(1, 2, 7)) for name in outputs)
        model = onnx_model(nodes, inputs, answers, constants)
        info = Policy(
            action_names=ACTION_NAMES, action_units=UNITS, frame="tcp", chunk=2, dt_s=0.1,
            rate_hz=10.0, state_names=STATE, instructions=SENTENCES,
            images=(
                Image(camera="wrist", input="rgb", height=2, width=2),
                Image(
                    camera="wrist", input="depth", height=2, width=2, channels=1,
                    encoding="depth_mm",
                ),
            ),
        )  # fmt: skip
        manifest = Manifest(
            kind="policy",
            name="echo",
            onnx="p.onnx",
            inputs=inputs,
            outputs=answers,
            provenance=Provenance(command="make test", seed=0, data="none", date="2026-01-01"),
            policy=info,
        )
        bundle.save(self.path, manifest, {"p.onnx": model})
        self.edit(tensors or {}, policy or {}, without)
        return self.path

    def edit(
        self, tensors: dict[str, dict[str, Any]], policy: dict[str, Any], without: tuple[str, ...]
    ) -> None:
        """Change bundle.json as its author would, by hand."""
        file = self.path / bundle.MANIFEST
        data = json.loads(file.read_text())
        data["inputs"] = [t for t in data["inputs"] if t["name"] not in without]
        for tensor in (*data["inputs"], *data["outputs"]):
            tensor |= tensors.get(tensor["name"], {})
        data["policy"] |= policy
        file.write_text(json.dumps(data))

    def seen(self, *args: Any, obs: Observation | None = None, **kwargs: Any) -> Any:
        """What the graph of `make(...)` was given of `obs`, in the order state, instruction, rgb;
        14 numbers."""
        policy = open_policy(str(self.make(*args, **kwargs)))
        return policy.infer(obs or observation(size=2)).actions.ravel()


@pytest.fixture
def echo(tmp_path):
    return Echo(tmp_path / "echo")


DEPTH = {
    "camera": "wrist", "input": "depth", "height": 2, "width": 2, "channels": 1,
    "encoding": "depth_mm",
}  # fmt: skip
GIVEN = [0.4, 0.3, 0.05, -2.0]


@pytest.mark.parametrize(
    ("change", "names", "wanted"),
    [
        ({}, STATE, GIVEN),
        ({"mean": (100.0,), "std": (2.0,)}, STATE, [(x - 100) / 2 for x in GIVEN]),
        (
            {"mean": (1.0, 2.0, 3.0, 4.0), "std": (1.0, 2.0, 4.0, 8.0)},
            STATE,
            [-0.6, -0.85, -0.7375, -0.75],
        ),
        ({"unit": "mm"}, ("tcp_x", "tcp_z", "width", "lead_x"), [400, 300, 50, -2000]),
        (
            {"unit": "mm", "mean": (300.0,), "std": (100.0,)},
            ("tcp_x", "tcp_z", "width", "lead_x"),
            [1.0, 0.0, -2.5, -23.0],
        ),
    ],
)
def test_the_state_is_given_in_its_unit_normalised(echo, change, names, wanted):
    found = echo.seen({"state": change}, {"state_names": names})
    np.testing.assert_allclose(found[:4], wanted, rtol=1e-6, atol=1e-6)
    assert found[4] == 1.0  # the instruction's index


def test_images_of_floats_are_normalised(echo):
    per_channel = {"mean": (0.0, 1.0, 2.0), "std": (1.0, 2.0, 4.0)}
    found = echo.seen({"rgb": per_channel}, floats=True)
    np.testing.assert_allclose(found[5:11], [0, 0, 0, 3, 1.5, 0.75])


@pytest.mark.parametrize(("unit", "factor"), [("", 1.0), ("mm", 1.0), ("m", 0.001)])
def test_depth_is_given_in_its_unit(echo, unit, factor):
    depth = np.array([[100, 200], [300, 400]], np.uint16)
    rgb = np.zeros((2, 2, 3), np.uint8)
    obs = observation(images={"wrist": Frame(rgb, depth, np.eye(3))})
    policy = {"images": [DEPTH], "state_names": [], "instructions": []}
    without = ("rgb", "state", "instruction")
    path = echo.make({"depth": {"unit": unit, "dtype": "float32"}}, policy, without=without)
    given = Named(bundle.load(path))
    BundlePolicy(bundle.load(path), given).infer(obs)  # type: ignore[arg-type]
    np.testing.assert_allclose(given.arrays["depth"][0], depth * factor, rtol=1e-6)


def test_images_of_whole_numbers_pass_as_they_are(echo):
    np.testing.assert_array_equal(echo.seen()[5:14], range(9))


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"policy": {"frame": "bsae"}}, "frame wants 'tcp', .*found 'bsae': did you mean `base`"),
        ({"policy": {"frame": "world"}}, "found 'world': valid: tcp, tcp at the chunk's start"),
        ({"policy": {"action_units": ("inch", *UNITS[1:])}}, "`dx`: wanted a unit, found 'inch'"),
        ({"policy": {"action_units": ("rad", *UNITS[1:])}}, r"`dx`: wanted a unit of length"),
        ({"policy": {"action_units": (*UNITS[:6], "m")}}, "`grip`: .*valid: closed 0..1, open"),
        ({"policy": {"action_names": ("x", *ACTION_NAMES[1:])}}, "wanted the names dx, dy"),
        ({"policy": {"chunk": 3}}, r"`actions` as floats \(1, 3, 7\)"),
        ({"policy": {"chunk": 0}}, "`policy.chunk` wants a whole number >= 1"),
        ({"policy": {"dt_s": 0.0}}, "`policy.dt_s` wants a finite number > 0"),
        ({"policy": {"rate_hz": -1.0}}, "`policy.rate_hz` wants a finite number > 0"),
        ({"policy": {"state_names": STATE[:2]}}, r"input `state`: wanted floats \(1, 2\)"),
        ({"policy": {"state_names": ("tcp_q", *STATE[1:])}}, "wants state .*tcp_q"),
        ({"policy": {"instructions": ()}}, "`instruction`: it is the index in policy.instruct"),
        ({"policy": {"images": ()}}, "input `rgb`: nobody fills it: the loop fills `state`"),
        (
            {"extra": (Tensor(name="goal", shape=(1, 3)),)},
            "input `goal`: nobody fills it: the loop fills `state`, `instruction` and the inputs",
        ),
        ({"outputs": ("actions", "value")}, "nobody reads its output `value`"),
        ({"without": ("state",)}, "policy.state_names says what its input `state` is given"),
        ({"without": ("instruction",)}, "policy.instructions says what its input"),
        ({"tensors": {"rgb": {"mean": (1.0,), "std": (2.0,)}}}, "want a tensor of floats, found u"),
        ({"tensors": {"rgb": {"shape": (1, 3, 2, 2)}}}, r"or floats \(1, 2, 2, 3\), found uint8"),
        ({"tensors": {"rgb": {"unit": "mm"}}}, "unit '1', found 'mm'"),
        ({"tensors": {"depth": {"dtype": "uint8"}}}, "`depth` as uint16 or floats"),
        ({"tensors": {"depth": {"unit": "m"}}}, "whole numbers with the unit 'mm', found 'm'"),
        ({"tensors": {"state": {"unit": "furlong"}}}, "tensor state: wanted a unit, found 'furl"),
        (
            {"tensors": {"state": {"unit": "mm"}}},
            r"for `force_z` wanted a unit of force \(N, kN\), found 'mm'",
        ),
        ({"tensors": {"state": {"dtype": "int64"}}}, "wanted floats .* found int64"),
        ({"tensors": {"instruction": {"dtype": "float32"}}}, "one whole number without a unit"),
        ({"tensors": {"instruction": {"unit": "m"}}}, "one whole number without a unit"),
        ({"tensors": {"actions": {"unit": "m"}}}, "its units stand in policy.action_units"),
        ({"tensors": {"actions": {"dtype": "int64"}}}, "`actions` as floats"),
    ],
)
def test_what_is_declared_and_cannot_be_done_is_refused(echo, kwargs, says):
    path = echo.make(**kwargs)
    with pytest.raises(BundleError, match=says):
        opened(path)


class Named:
    """An engine that only has buffers, of a manifest's tensors: one that has a model would refuse
    another manifest first."""

    kind, device = "buffers", "cpu"

    def __init__(self, made: bundle.Bundle) -> None:
        tensors = (*made.manifest.inputs, *made.manifest.outputs)
        self.arrays = {t.name: np.zeros(t.shape, t.dtype) for t in tensors}

    def bind(self, name: str) -> Any:
        return self.arrays[name]

    def run(self) -> None:
        """Answers nothing but zeros."""


def opened(path: Path) -> BundlePolicy:
    made = bundle.load(path)
    return BundlePolicy(made, Named(made))  # type: ignore[arg-type]


IMAGE = {"camera": "wrist", "input": "rgb", "height": 2, "width": 2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels": 1}, "wanted channels = 3, found 1"),
        ({"encoding": "depth_mm"}, "wanted channels = 1, found 3"),
        ({"width": 3}, r"or floats \(1, 2, 3, 3\), found uint8 \(1, 2, 2, 3\)"),
        ({"input": "depth"}, "wanted its input `depth` as uint8"),
        ({"input": "state"}, "wanted its input `state` as uint8"),
        ({"input": "left"}, "no input is named left"),
        ({"height": 0}, r"`policy.images\[0\].height` wants a whole number >= 1, found 0"),
    ],
)
def test_an_image_that_does_not_fit_its_input(echo, change, says):
    path = echo.make(policy={"images": [IMAGE | change]})
    with pytest.raises(BundleError, match=says):
        bundle.load(path)


def test_two_images_for_one_input(echo):
    path = echo.make(policy={"images": [IMAGE, IMAGE | {"camera": "other"}]})
    with pytest.raises(BundleError, match="two images want to be the input rgb"):
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
        table = self.table(tmp_path, {"rate_hz": 25.0, "dt_s": 0.04})
        made = rise(table, Path(table["policy"]["bundle"]), tmp_path / "e.mcap")
        assert made != 0.0
        chunks = open_recording(tmp_path / "e.mcap").rows("/chunk")
        assert set(np.diff(chunks["t_ns"])) == {40_000_000}

    def test_chunks_that_are_too_short(self, tmp_path):
        with pytest.raises(ConfigError, match=r"its chunks last 0\.06 s: the arm would stop"):
            built(self.table(tmp_path, {"dt_s": 0.01}))
        (note,) = [n for n in built(self.table(tmp_path, {"dt_s": 0.018})) if "chunks" in n]
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
        path = Echo(tmp_path / "echo").make(policy={"instructions": []}, without=("instruction",))
        policy = opened(path)
        assert policy.instruction("whatever") == 0
        about = About("echo", (), (), (2, 7), policy.needs)
        settings = config.decode(null_table(), Settings, "test")
        assert "'put the red item in the tote' is only recorded" in check_instruction(
            about, settings
        )
