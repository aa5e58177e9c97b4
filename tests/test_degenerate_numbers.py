"""Numbers that are none, or that no robot has, in every section of a run's configuration."""

from __future__ import annotations

import math
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from declared import nested
from msgspec import Meta
from null_robot import PICK_PLACE, null_table, run

from headway import config, plugins
from headway.edge.control import settings, tasks
from headway.edge.control.settings import Settings
from headway.errors import ConfigError

pytest.importorskip("mujoco", reason="the cell's configuration is part of a run's")

STRUCTS = [
    *nested(
        Settings,
        tasks.Common,
        *(plugins.load(tasks.FOLDER, kind).Config for kind in plugins.kinds(tasks.FOLDER)),
    ),
    plugins.load("drivers.sim", "cell").CellConfig,
    *(
        plugins.load(f"drivers.{folder}", kind).Config
        for folder in ("arms", "ft", "grippers", "stations", "cameras", "sim.scenes")
        for kind in plugins.kinds(f"drivers.{folder}")
    ),
]
AT, TURN = {"x": 0.5, "y": 0.0, "z": 0.3}, {"roll": 0.0, "pitch": 0.0, "yaw": 0.0}
NAN = 987654.25  # stands for NaN, which equals nothing, until the file is there
# Where "no limit" is a value.
MAY_BE_INFINITE = {
    "workspace_min", "workspace_max", "force_max", "torque_max", "power_max", "lever_m",
    "protective_force",
}  # fmt: skip


def number(kind: Any) -> tuple[type | None, int, bool, bool]:
    """Of a field: float, int or None; of how many in a tuple (0: by itself); whether it is bounded
    below and above."""
    metas: list[Meta] = []
    length = 0
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            metas += [m for m in kind.__metadata__ if isinstance(m, Meta)]
            kind = kind.__origin__
        elif origin in (Union, UnionType):
            kind = next(a for a in get_args(kind) if a is not type(None))
        elif origin is tuple and not length:
            length = 1 if Ellipsis in get_args(kind) else len(get_args(kind))
            kind = get_args(kind)[0]
        else:
            break
    below = any(m.gt is not None or m.ge is not None for m in metas)
    above = any(m.lt is not None or m.le is not None for m in metas)
    return (kind if kind in (float, int) else None), length, below, above


NUMBERS = [
    pytest.param(struct, field.name, *number(hint), id=f"{struct.__module__}.{field.name}")
    for struct in STRUCTS
    for field in msgspec.structs.fields(struct)
    for hint in [get_type_hints(struct, include_extras=True)[field.name]]
    if number(hint)[0] is not None
]


def decoded(struct: Any, name: str, length: int, value: float) -> None:
    """Decode what every struct needs, with `value` in the field `name`."""
    table: dict[str, Any] = {
        "source": {"centre": [0, 0], "half": [1, 1]}, "target": {"centre": [0, 0], "half": [1, 1]},
        "centre": [0.0, 0.0], "half": [1.0, 1.0], "name": "x", "a": [0, 0, 0], "b": [0, 0, 1],
        "radius": 0.1, "x": 0.1, "y": 0.1, "z": 0.1, "lower": [0, 0, 0], "upper": [1, 1, 1],
        "path": "x", "calibration": "x",
        "url": "ws://x", "camera": "x", "key": "x", "names": [], "chunk": 1, "dt_s": 0.1,
        "frame": 0, "workspace_min": [-1, -1, -1], "workspace_max": [1, 1, 1], "force_max": 80.0,
        "torque_max": 15.0, "actions": {"chunk": 1, "dt_s": 0.1},
    }  # fmt: skip
    needed = {f.name for f in msgspec.structs.fields(struct) if f.required}
    table = {k: v for k, v in table.items() if k in needed}
    table[name] = [value] * length if length else value
    config.decode(table, struct, "robot.toml")


def test_there_are_fields_to_try() -> None:
    names = {p.id for p in NUMBERS}
    assert {
        "headway.edge.control.settings.fault_after_s",
        "headway.edge.control.payload.tcp",
    } <= names
    assert len(names) > 80


@pytest.mark.parametrize(("struct", "name", "kind", "length", "below", "above"), NUMBERS)
def test_what_is_not_a_number_is_refused_by_its_key(
    struct: Any, name: str, kind: type, length: int, below: bool, above: bool
) -> None:
    key = f"{name}[0]" if length else name
    for value in (math.nan, math.inf, -math.inf):
        if math.isinf(value) and name in MAY_BE_INFINITE:
            continue
        with pytest.raises(ConfigError) as e:
            decoded(struct, name, length, value)
        what = "a whole number" if kind is int else "a finite number"
        what = "a number" if name in MAY_BE_INFINITE else what
        assert f"`{key}` wants {what}" in str(e.value)
        assert f"found {value}" in str(e.value)
        assert str(e.value).startswith("robot.toml: ")


@pytest.mark.parametrize(("struct", "name", "kind", "length", "below", "above"), NUMBERS)
def test_a_bound_is_kept(
    struct: Any, name: str, kind: type, length: int, below: bool, above: bool
) -> None:
    for bounded, value in ((below, -1e300), (above, 1e300)):
        if bounded:
            with pytest.raises(ConfigError, match=f"`{name}"):
                decoded(struct, name, length, value if kind is float else int(value))


@pytest.mark.parametrize(
    ("section", "value", "says"),
    [
        ("loop", {"fault_after_s": NAN}, "`loop.fault_after_s` wants a finite number > 0"),
        ("loop", {"watchdog_s": 0.001}, "watchdog_s wants 0 or at least two ticks, 0.004 s"),
        ("loop", {"hz": 1e-3}, "`loop.hz` wants a finite number >= 1"),
        ("task", {"limit_s": 1e12}, "[task]: `limit_s` wants at most 20000 s at loop.hz = 500"),
        ("task", {"limit_s": NAN}, "[task]: `limit_s` wants a finite number > 0, found nan"),
        ("task", {"index": 0}, "[task]: `index` is no longer a key: PRO is told the task's `name`"),
        ("task", {"limit": 2.0}, "[task]: unknown key `limit`: did you mean `limit_s`?"),
        ("task", {"gaol": {}}, "[task]: unknown key `gaol`: did you mean `goal`?"),
        (
            "task",
            {"kind": "open_endde"},
            "[task]: wanted a kind of edge.control.tasks, found `open_endde`: did",
        ),
        (
            "task",
            {"hold_s": 1.0},
            "[task]: within_m, within_rad, hold_s and end_at_goal want a goal",
        ),
        ("task", {"goal": {"x": 0.5, "y": 0.0}}, "[task]: wanted the key `goal.z`, found none"),
        (
            "task",
            {"goal": {**AT, "x": [0.6, 0.4]}},
            "goal.x wants [lowest, highest], found [0.6, 0",
        ),
        ("task", {"goal": {**AT, "x": [0.4, NAN]}}, "`goal.x[1]` wants a finite number >= -10"),
        ("task", {"goal": {**AT, "yaw": 0.0}}, "goal wants roll, pitch and yaw, or none of them"),
        ("task", {"goal": {**AT, **TURN, "yaw": 90.0}}, "`goal.yaw` wants a finite number >= -6.2"),
        ("task", {"goal": AT, "within_rad": 0.2}, "within_rad wants a goal with roll, pitch and"),
        ("tool", {"mass": -1.0}, "`tool.mass` wants a finite number >= 0 and <= 1000, found -1.0"),
        ("tool", {"tcp": [0.0, 0.0, 165.0]}, "`tool.tcp[2]` wants a finite number >= -5 and <= 5"),
        ("policy", {"bundle": ""}, "key `bundle`"),
        ("policy", {"bundle": "x", "latency_s": -1.0}, "[policy]: `latency_s` wants"),
        ("policy", {"kind": "remote", "url": "ws://x", "timeout_s": NAN}, "`timeout_s` wants"),
        ("realtime", {"priority": 100}, "`realtime.priority` wants a whole number >= 1 and <= 99"),
        ("realtime", {"prefault_mib": 10**6}, "`realtime.prefault_mib` wants"),
        ("arm", {"kind": "null", "rate_hz": 0.0}, "[arm]: `rate_hz` wants a finite number > 0"),
        ("ft", {"kind": "null", "force": [NAN, 0, 0]}, "[ft]: `force[0]` wants"),
        ("gripper", {"kind": "null", "stroke": -0.085}, "[gripper]: `stroke` wants"),
        ("camera", [{"kind": "null", "width": 0}], "[[camera]] 1: `width` wants a whole number"),
        ("camera", [{"kind": "null", "name": ""}], "[[camera]] 1: "),
        ("camera", [{"kind": "null", "name": "a/b"}], "found 'a/b'"),
        ("camera", [{"kind": "null"}, {"kind": "null"}], "[[camera]] 2 is named `wrist` as one"),
        ("cell", {"timestep": 1e-9}, "[cell]: `timestep` wants a finite number >= 0.0001"),
        ("cell", {"scene_config": {"items_max": 9}}, "`items_max` wants a whole number >= 1 and"),
        ("cell", {"scene_config": {"mass_min": 2.0}}, "mass_min wants at most mass_max = 0.9"),
    ],
)
def test_a_run_says_file_section_key_and_value(
    write: Any, tmp_path: Any, capsys: Any, section: str, value: Any, says: str
) -> None:
    table = null_table()
    whole = {**table.get(section, {}), **value} if isinstance(value, dict) else value
    path = write(**{section: whole if section != "arm" else value})
    path.write_text(path.read_text().replace(str(NAN), "nan"))
    assert run(path, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"headway: {path}: ")
    assert says in error
    assert not (tmp_path / "out").exists()


class TestTheCellAndTheFileAgree:
    """In a cell the scene decides what is asked for, and what success is."""

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"instruction": "put it away"}, "`instruction` is not followed in a [cell]"),
            ({"instruction": "put it away"}, "asks for one of 'put the red item in the tote', "),
            ({"task": {"name": "x"}}, "[task]: `name` wants 'pick_place', the task of the cell's"),
            (
                {"task": {"target": {"centre": [0.45, -0.5], "half": [0.1, 0.1]}}},
                "[task]: `target` wants a zone that holds (0.45, 0.2)",
            ),
        ],
    )
    def test_another_task_is_refused(self, write, tmp_path, capsys, changes, says):
        task = PICK_PLACE | changes.pop("task", {})
        path = write(cell={}, task=task, **changes)
        assert run(path, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"headway: {path}: ")
        assert says in error

    def test_a_camera_that_the_scene_has_not(self, write, tmp_path, capsys):
        sim = {"kind": "sim"}
        camera = [{"kind": "sim", "name": "overveiw", "width": 16, "height": 16}]
        path = write(cell={}, arm=sim, ft=sim, gripper=sim, camera=camera)
        assert run(path, tmp_path / "out") == 2
        said = "wants a camera of the scene, found `overveiw`: did you mean `overview`?"
        assert said in capsys.readouterr().err


def test_paths_of_a_linked_configuration_are_beside_its_target(write, tmp_path):
    path = write(policy={"bundle": "models/p"}, pro={"bundle": "/models/pro"})
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "linked.toml"
    link.symlink_to(path)
    found = settings.load(link)
    assert found.policy is not None
    assert found.pro is not None
    assert found.policy["bundle"] == str(tmp_path / "models" / "p")
    assert found.pro.bundle == "/models/pro"


def test_a_camera_without_a_name_has_that_of_its_driver(write):
    assert list(settings.cameras(settings.load(write(camera=[{"kind": "null"}])))) == ["wrist"]
