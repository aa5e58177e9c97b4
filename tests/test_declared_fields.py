"""Every field of `bundle.json` and of a run's TOML is read by code that acts on it.

The structs are found from those that files are decoded into, so a new field is looked for without
being listed. `exercise` runs what there is; whatever stays unread must be in `DOCUMENTATION`, with
the reason.
"""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from declared import Field, Reads, check_all_read, fields, nested
from devices_at_work import a_controller, a_rig, at_lines
from echo_policy import Echo, observation
from flow_rig import flow_critic, flow_policy
from loop_rig import Policy as Spoken
from loop_rig import Rig
from map_rig import everything, written
from msgspec import structs
from null_robot import (
    NO_REALTIME,
    PICK_PLACE,
    STATE,
    make_policy,
    make_pro,
    null_table,
    run,
)
from order_rig import an_order, scenes, shoeboxes
from test_instructions import encoder, tokenizers, tokens

from headway import bundle, config, plugins
from headway.bundle import File, Manifest, Pro, Provenance, Tensor
from headway.clock import NS, VirtualClock
from headway.config import Struct
from headway.drivers import Context, open_device
from headway.drivers.kinematics import Chain
from headway.edge.control import tasks
from headway.edge.control.settings import Settings
from headway.edge.control.tasks import Common, Sensed, TaskAbout
from headway.edge.guard.config import GuardConfig
from headway.edge.guard.guard import Guard
from headway.edge.host.realtime import RealtimeConfig, realtime
from headway.edge.host.system import System
from headway.edge.policy import config as policy_config
from headway.edge.policy.config import PolicyConfig
from headway.edge.policy.instructions import open_encoder
from headway.edge.policy.kinds import bundle as bundle_kind
from headway.edge.policy.kinds import expert, python, remote
from headway.edge.policy.kinds.bundle import open_policy as open_bundle_policy
from headway.edge.policy.kinds.remote import open_policy
from headway.edge.policy.remote.layout import ImageKey, Layout, of_bundle
from headway.edge.policy.remote.request import Message
from headway.edge.policy.remote.server import PolicyServer
from headway.edge.pro import risk
from headway.edge.pro.risk import Calibration
from headway.errors import ConfigError, SpecMismatch
from headway.instructions import EmbeddingSpec
from headway.tools.bundle import bundle_command
from headway.tools.policy_map import PolicyMap, TensorMap
from headway.tools.score.steps import open_head
from headway.types import ArmState, GripperState, Moment, Pose

mujoco = pytest.importorskip("mujoco", reason="the cell's configuration is part of a run's")

FOLDERS = ("arms", "ft", "grippers", "stations", "cameras", "sim.scenes")
# They hand their keys to a library that `make test` does not install; the tests that have it look
# at what comes of them.
WITH_LIBRARY = {
    ("arms", "franka"), ("grippers", "franka"), ("cameras", "realsense"), ("cameras", "uvc")
}  # fmt: skip
ROOTS = (
    Settings,
    Manifest,
    Calibration,
    Common,
    *(plugins.load(tasks.FOLDER, kind).Config for kind in plugins.kinds(tasks.FOLDER)),
    PolicyConfig,
    PolicyMap,
    *(
        plugins.load(policy_config.FOLDER, kind).Config
        for kind in plugins.kinds(policy_config.FOLDER)
    ),
    plugins.load("drivers.sim", "cell").CellConfig,
    *(
        plugins.load(f"drivers.{folder}", kind).Config
        for folder in FOLDERS
        for kind in plugins.kinds(f"drivers.{folder}")
        if (folder, kind) not in WITH_LIBRARY
    ),
)
_ARGUMENT = "an argument of the kind's open_policy, which the test below compares"
_RECORD = "says how the model or the numbers came to be, for whoever looks at the file"
DOCUMENTATION: dict[Field, str] = {
    **{(bundle_kind.Config, f.name): _ARGUMENT for f in msgspec.structs.fields(bundle_kind.Config)},
    **{(remote.Config, name): _ARGUMENT for name in ("url", "max_bytes", "layout")},
    **{(python.Config, name): _ARGUMENT for name in ("target", "arguments")},
    **{(Provenance, f.name): _RECORD for f in msgspec.structs.fields(Provenance)},
    **{
        (TensorMap, name): "handed on as a whole to bundle.Tensor, whose fields are read"
        for name in ("unit", "mean", "std", "low", "high", "between")
    },
    (Manifest, "provenance"): _RECORD,
    (Manifest, "schema"): "compared before the file is decoded into a struct",
    (Calibration, "kind"): "one value is valid: it tells the file from a bundle",
    (Calibration, "data"): _RECORD,
    (Calibration, "date"): _RECORD,
}


class Machine(System):
    """Grants everything and does nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scheduler(self) -> tuple[int, int]:
        return 0, 0

    def affinity(self, tid: int) -> set[int]:
        return {0, 1}

    def lock_limit(self) -> int | None:
        return None

    def hold_latency(self, us: int) -> Any:
        return lambda: None

    def helpers(self) -> list[int]:
        return []

    def _nothing(self, *_: Any) -> None: ...

    set_scheduler = set_affinity = mlockall = munlockall = mallopt = huge_pages = _nothing


def exercise(tmp_path: Path) -> None:
    """Run everything that acts on a configuration, once."""
    policy, pro = make_policy(tmp_path / "policy"), make_pro(tmp_path / "pro")
    head = open_head(pro)
    assert "risk" in head.learned  # as `headway score` asks of a head
    assert head.ahead == ""
    recording = runs(tmp_path, policy, pro)
    devices(recording)
    a_controller()
    at_lines(tmp_path)
    a_rig(tmp_path)
    scenes()
    the_loop(tmp_path)
    an_order()
    shoeboxes()
    the_guard()
    a_server(tmp_path)
    policies(tmp_path)
    with realtime(RealtimeConfig(), Machine(tmp_path)):
        pass


def runs(tmp_path: Path, policy: Path, pro: Path) -> Path:
    """A run in the cell, and one of null devices in real time; a recording."""
    made = bundle.load(pro).manifest
    calibration = {
        "kind": "risk", "pro": made.name, "pro_sha256": made.files["p.onnx"].sha256,
        "policy_sha256": "", "peaks": [i / 40 for i in range(40)], "episodes": 40,
        "data": "none", "date": "2026-01-01",
    }  # fmt: skip
    (tmp_path / "risk.json").write_bytes(msgspec.json.encode(calibration))
    with_models = {
        "policy": {"bundle": str(policy)},
        "pro": {"bundle": str(pro), "features": "numpy"},
        "risk": {"calibration": "risk.json", "abort_alpha": 0.05},
        "task": PICK_PLACE | {"limit_s": 0.3},
    }
    sim = {"kind": "sim"}
    camera = {"kind": "sim", "name": "wrist", "width": 16, "height": 16}
    table = null_table(
        cell={}, arm=sim, ft=sim, gripper=sim, station=sim, camera=[camera], **with_models
    )
    assert run(written(tmp_path / "cell.toml", table), tmp_path / "cell", "--episodes", 1) == 0
    station = {"kind": "null", "instruction": "put the red item in the tote"}
    table = null_table(realtime=NO_REALTIME, station=station, **with_models)
    path = written(tmp_path / "null.toml", table)
    assert run(path, tmp_path / "null", "--realtime", "--episodes", 1) in (0, 1)
    with pytest.raises(SpecMismatch, match="wanted a bundle of kind policy, found pro"):
        open_bundle_policy(str(pro))
    with pytest.raises(SpecMismatch, match="was made for PRO model"):
        risk.load(tmp_path / "risk.json", "0" * 64)
    return tmp_path / "cell" / "episode_0.mcap"


def devices(recording: Path) -> None:
    """Those that play a recording back."""
    ctx = Context(VirtualClock(1))
    for folder in ("arms", "ft", "grippers", "stations", "cameras"):
        device = open_device(folder, "replay", {"path": str(recording)}, ctx)
        device.open(1.0)
        ctx.clock.sleep_until(ctx.clock.now() + NS // 10)
        device.read(0.0)
        device.close()


def the_loop(tmp_path: Path) -> None:
    """What only some episodes reach: whole tasks, a policy that is started again."""
    chain = open_device("arms", "null", {}, Context(VirtualClock(1))).chain
    about = TaskAbout(0, (), chain, 0.085, lambda *_: None)
    pose = Pose(np.array([0.5, 0.1, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
    arm = ArmState(np.zeros(6), np.zeros(6), np.zeros(6), pose, np.zeros(6))
    goal = {"x": [0.5, 0.5], "y": 0.1, "z": 0.2, "roll": 0.0, "pitch": 0.0, "yaw": 0.0}
    reach = tasks.decode({"kind": "open_ended", "goal": goal}, "test").make(about)
    reach.step(Sensed(0, 0.002, 0.0, arm, None, None))
    assert reach.done
    pick = tasks.decode(PICK_PLACE, "test").make(about)
    source, target = (0.45, -0.17), (0.45, 0.20)
    place = [(source, 0.3, 0.085), (source, 0.05, 0.085), (source, 0.05, 0.03)]
    place += [(source, 0.3, 0.03), (target, 0.3, 0.03), (target, 0.05, 0.085), (target, 0.3, 0.085)]
    for (x, y), z, width in place:
        for _ in range(200):
            jaws = GripperState(width, 0.0 if width < 0.05 else 0.085, 0.0)
            at = structs.replace(arm, tcp=Pose(np.array([x, y, z]), pose.quat))
            pick.step(Sensed(0, 0.002, 0.0, at, None, jaws))
    assert pick.done
    rig = Rig(null_table(), Spoken())
    rig.worker.trouble = "it is started again"
    assert rig.run(tmp_path / "restart.mcap").ticks > 1


def the_guard() -> None:
    """Every check, with every kind of obstacle."""
    capsule = {"name": "x", "a": [0.0, 0.0, 5.0], "b": [0.0, 0.0, 6.0], "radius": 0.01}
    table = null_table()["guard"] | {
        "floor_z": 0.0, "power_max": 50.0, "risk_max": 0.9,
        "capsules": [{**capsule, "frame": 6}], "fixed_capsules": [capsule],
        "boxes": [{"name": "box", "lower": [5.0, 5.0, 5.0], "upper": [6.0, 6.0, 6.0]}],
    }  # fmt: skip
    arm = open_device("arms", "null", {}, Context(VirtualClock(1)))
    chain: Chain = arm.chain
    guard = Guard(config.decode(table, GuardConfig, "test"), arm.limits, 0.002, chain)
    q = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
    guard.reset(q)
    decision = guard.apply(q, state=None, wrench=None, now_ns=0, command_t_ns=0)
    assert decision.changed


def a_server(tmp_path: Path) -> None:
    """Asked by its own description, as `headway serve` and `headway run` do."""
    path = Echo(tmp_path / "echo").make()
    policy = open_bundle_policy(str(path))
    layout = of_bundle(bundle.load(path).manifest)
    with PolicyServer(policy, layout, port=0) as server, contextlib.ExitStack() as stack:
        client = open_policy(f"ws://127.0.0.1:{server.port}", timeout_s=30.0)
        stack.callback(client.close)
        assert client.needs.rate_hz == 10.0
        client.check_instruction("put the green item in the tote")
        chunk = client.infer(observation(size=2))
    np.testing.assert_allclose(chunk.actions[0, : len(STATE)], observation().state, rtol=1e-6)
    assert chunk.dt_ns == NS // 10


def policies(tmp_path: Path) -> None:
    """What else bundles can say, and policies of other kinds."""
    folder = tmp_path / "all"
    folder.mkdir()
    tokenizers(folder)
    encoder(folder / "e.onnx", n=6)
    spec = EmbeddingSpec(encoder="e.onnx", output="each", text=tokens(), pool="mean")
    open_encoder(spec, folder, "p").encode("pick")
    bundle_command(everything(folder), folder / "map.toml", folder / "made")
    policy = open_bundle_policy(str(folder / "made"))
    flow, critic = flow_policy(tmp_path / "flow", texts=True), flow_critic(tmp_path / "critic")
    choosing = open_bundle_policy(str(flow), candidates=2, critic=str(critic))
    assert choosing.infer(observation(instruction="up")).meta["candidates"] == 2
    other = flow_policy(tmp_path / "other", noise={"eyes": "others"})
    with pytest.raises(SpecMismatch, match=r"trained for the eyes .*\(flow\)"):
        open_bundle_policy(str(other), critic=str(critic))
    obs = observation(size=4, state=np.zeros(2, np.float32), instruction="pick the cup")
    policy.infer(structs.replace(obs, history=(Moment(obs.images, obs.state),)))
    image = ImageKey(camera="wrist", key="image", height=2, width=2, fit="pad")
    layout = Layout(actions=policy.actions, images=(image,))
    assert Message(layout).of(obs, np.zeros(2))["image"].shape == (2, 2, 3)
    with pytest.raises(ConfigError, match="found none"):
        python.process(python.Config(target="x:Y", folder="/nowhere"))
    with pytest.raises(ConfigError, match="found none"):
        python.process(python.Config(target="x:Y", interpreter="/nowhere"))
    assert remote.patience_s(remote.Config(url="ws://x:1")) > 2.0
    world = open_device("worlds", "sim", {}, Context(VirtualClock(1)))
    assert expert.open_in_place(expert.Config(expert="pick_place"), world, ()).cameras == ()


def test_every_field_is_read(tmp_path: Path) -> None:
    found = nested(*ROOTS)
    assert {Layout, File, Pro, Tensor, PolicyConfig} <= set(found)
    with Reads(found) as reads:
        exercise(tmp_path)
    check_all_read(reads, DOCUMENTATION)


@pytest.mark.parametrize("kind", ["bundle", "python", "remote", "teleop"])
def test_a_policy_is_opened_with_every_key_of_its_section(kind: str) -> None:
    module = plugins.load(policy_config.FOLDER, kind)
    keys = {f.name for f in msgspec.structs.fields(module.Config)}
    assert set(inspect.signature(module.open_policy).parameters) == keys


class Inner(Struct, frozen=True):
    hz: float = 1.0
    name: str = ""


class Outer(Struct, frozen=True):
    """`hz` is read of another struct, `checked` only looked at as it is made."""

    inner: tuple[Inner, ...] | None = None
    hz: float = 1.0
    checked: float = 1.0

    def __post_init__(self) -> None:
        if self.checked < 0.0:
            raise ValueError("checked wants 0 or more")


class TestTheRuleItself:
    """It finds fields that nobody reads, whatever else has the same name."""

    def found(self, unread: dict[Field, str]) -> None:
        with Reads(nested(Outer)) as reads:
            outer = config.decode({"inner": [{"hz": 2.0}]}, Outer, "test")
            msgspec.to_builtins(outer)  # to copy is not to read
            assert outer.inner is not None
            assert outer.inner[0].hz == 2.0
        check_all_read(reads, unread)

    def test_structs_are_found_through_any_type(self) -> None:
        assert nested(Outer) == [Outer, Inner]
        assert len(fields([Outer, Inner])) == 5

    def test_what_nobody_reads_is_named(self) -> None:
        with pytest.raises(AssertionError, match=r"Inner\.name, .*Outer\.checked, .*Outer\.hz$"):
            self.found({})

    def test_exceptions_are_for_what_is_not_read(self) -> None:
        exceptions: dict[Field, str] = {
            (Inner, "name"): "r", (Outer, "checked"): "r", (Outer, "hz"): "r"
        }  # fmt: skip
        self.found(exceptions)
        with pytest.raises(AssertionError, match=r"exceptions that are none: .*Inner\.hz"):
            self.found(exceptions | {(Inner, "hz"): "r"})
        with pytest.raises(AssertionError, match="wants a reason"):
            self.found(exceptions | {(Outer, "hz"): ""})

    def test_structs_are_as_before_afterwards(self) -> None:
        before = [vars(Inner)[name] for name in ("hz", "name")]
        with Reads([Inner]) as reads:
            assert Inner(hz=3.0).hz == 3.0
        assert [vars(Inner)[name] for name in ("hz", "name")] == before
        assert Inner().hz == 1.0
        assert reads.seen == {(Inner, "hz")}
