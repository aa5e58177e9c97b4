"""`headway score` takes meaning from names, and refuses what could be two things."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer
from mcap_ros2.writer import Writer as Ros2Writer
from score_files import mapping, npz, rows_of

from headway.errors import ConfigError, HeadwayError, RecordingError
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.telemetry import joint_names
from headway.tools.score.units import of_name

JOINT_STATE = """std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
JOINTS = ["pan", "lift", "elbow"]
START = 1_700_000_000_000_000_000
Q = Channel(key="position", topic="/joint_states")


def joint_states(path: Path, names_of: Callable[[int], Sequence[str]], n: int = 200) -> Path:
    """Joint i moves along `expected(n)[:, i]`, whatever its place in the message."""
    want = dict(zip(JOINTS, expected(n).T, strict=True))
    with path.open("wb") as f:
        w = Ros2Writer(f)
        schema = w.register_msgdef("sensor_msgs/msg/JointState", JOINT_STATE)
        for i in range(n):
            names = list(names_of(i))
            t = START + i * 10_000_000
            w.write_message(
                "/joint_states",
                schema,
                {
                    "header": {
                        "stamp": {"sec": t // 10**9, "nanosec": t % 10**9},
                        "frame_id": "",
                    },
                    "name": names,
                    "position": [float(want[k][i]) if k in want else 9.0 for k in names],
                    "velocity": [],
                    "effort": [],
                },
                log_time=t,
                publish_time=t,
            )
        w.finish()
    return path


def expected(n: int) -> Any:
    return np.column_stack([np.linspace(k, k + 0.5, n) for k in range(len(JOINTS))])


AS_SAMPLED = Time(rate_hz=100.0)


def test_joints_come_by_name_when_their_order_changes(tmp_path: Path) -> None:
    path = joint_states(tmp_path / "a.mcap", lambda i: JOINTS if i < 100 else JOINTS[::-1])
    got = rows_of(path, mapping({"q": Q}, time=AS_SAMPLED))
    np.testing.assert_allclose(got.rows["q"], expected(200))
    assert any("order of the names changes" in n for n in got.notes)
    wanted = Channel(key="position", topic="/joint_states", names=["elbow", "pan"])
    got = rows_of(path, mapping({"q": wanted}, time=AS_SAMPLED))
    np.testing.assert_allclose(got.rows["q"], expected(200)[:, [2, 0]])


def test_two_publishers_on_one_topic_are_refused_or_chosen_by_name(tmp_path: Path) -> None:
    """A gripper's driver that publishes its own joints on the topic of the arm."""
    jaws = ["left", "right", "thumb"]
    path = joint_states(tmp_path / "a.mcap", lambda i: JOINTS if i % 2 else jaws)
    with pytest.raises(RecordingError, match=r"wanted values of left, right, thumb in each"):
        rows_of(path, mapping({"q": Q}, time=AS_SAMPLED))
    wanted = Channel(key="position", topic="/joint_states", names=JOINTS)
    got = rows_of(path, mapping({"q": wanted}, time=Time(rate_hz=50.0)))
    np.testing.assert_allclose(got.rows["q"], expected(200)[1::2])
    assert any("100 messages of other names" in n for n in got.notes)
    part = joint_states(tmp_path / "b.mcap", lambda i: JOINTS if i % 2 else [*jaws[:2], "pan"])
    with pytest.raises(RecordingError, match="wanted values of left, right, pan in each"):
        rows_of(part, mapping({"q": Q}, time=AS_SAMPLED))
    missing = Channel(key="position", topic="/joint_states", names=[*JOINTS, "wrist"])
    with pytest.raises(RecordingError, match=r"found none of wrist: correct `names`"):
        rows_of(path, mapping({"q": missing}, time=AS_SAMPLED))


def test_a_name_that_is_there_twice_says_nothing(tmp_path: Path) -> None:
    path = joint_states(tmp_path / "a.mcap", lambda i: ["pan", "pan", "elbow"])
    with pytest.raises(RecordingError, match="wanted names that differ"):
        rows_of(path, mapping({"q": Q}, time=AS_SAMPLED))


def test_an_empty_field_is_missing_not_an_error(tmp_path: Path) -> None:
    path = joint_states(tmp_path / "a.mcap", lambda i: JOINTS)
    effort = Channel(key="effort", topic="/joint_states", optional=True)
    got = rows_of(path, mapping({"q": Q, "tau_ext": effort}, time=AS_SAMPLED))
    assert np.isnan(got.rows["tau_ext"]).all()
    assert any(n.startswith("tau_ext: no value") for n in got.notes)
    must = Channel(key="effort", topic="/joint_states")
    with pytest.raises(RecordingError, match="wanted values in `effort`, found none in 200"):
        rows_of(path, mapping({"q": Q, "tau_ext": must}, time=AS_SAMPLED))


def json_file(path: Path, messages: Sequence[tuple[int, str, str, dict[str, Any]]]) -> Path:
    """(time [ns], topic, schema, message); a channel for each topic and schema."""
    with path.open("wb") as f:
        w = Writer(f)
        w.start()
        channels: dict[tuple[str, str], int] = {}
        for t, topic, schema, data in messages:
            if (topic, schema) not in channels:
                made = w.register_schema(schema.partition("#")[0], "jsonschema", b"{}")
                channels[topic, schema] = w.register_channel(topic, "json", made)
            w.add_message(channels[topic, schema], t, json.dumps(data).encode(), t)
        w.finish()
    return path


def test_keyed_items_are_found_by_their_key(tmp_path: Path) -> None:
    motors = [
        {"motors": [{"name": n, "angle": float(k)} for k, n in order]}
        for i in range(200)
        for order in [[(0, "a"), (1, "b")] if i % 2 else [(1, "b"), (0, "a")]]
    ]
    path = json_file(
        tmp_path / "a.mcap", [(START + i * 10**7, "/m", "M", m) for i, m in enumerate(motors)]
    )
    keys = ["motors.b.angle", "motors.a.angle"]
    got = rows_of(path, mapping({"q": Channel(key=keys, topic="/m")}, time=AS_SAMPLED))
    assert (got.rows["q"] == [1.0, 0.0]).all()
    with pytest.raises(HeadwayError, match="found b, a"):
        rows_of(path, mapping({"q": Channel(key="motors.c.angle", topic="/m")}, time=AS_SAMPLED))


def test_two_schemas_two_publishers_or_two_frames_have_to_be_chosen_between(
    tmp_path: Path,
) -> None:
    def at(i: int) -> int:
        return START + i * 5_000_000

    schemas = json_file(
        tmp_path / "a.mcap",
        [(at(i), "/x", "AB"[i % 2], {"v": [float(i % 2)] * 3}) for i in range(200)],
    )
    x = Channel(key="v", topic="/x")
    with pytest.raises(RecordingError, match="one schema, found A, B: choose by `schema`"):
        rows_of(schemas, mapping({"q": x}, time=AS_SAMPLED))
    chosen = Channel(key="v", topic="/x", schema="B")
    assert (rows_of(schemas, mapping({"q": chosen}, time=AS_SAMPLED)).rows["q"] == 1.0).all()

    twins = json_file(
        tmp_path / "b.mcap",
        [(at(i), "/x", f"A#{i % 2}", {"v": [float(i % 2)] * 3}) for i in range(200)],
    )
    with pytest.raises(RecordingError, match=r"one publisher, found 2 \(channels 1, 2\)"):
        rows_of(twins, mapping({"q": x}, time=AS_SAMPLED))
    chosen = Channel(key="v", topic="/x", publisher=2)
    assert (rows_of(twins, mapping({"q": chosen}, time=AS_SAMPLED)).rows["q"] == 1.0).all()
    again = json_file(  # a publisher that was started again is the same one
        tmp_path / "c.mcap",
        [(at(i), "/x", f"A#{i // 100}", {"v": [1.0] * 3}) for i in range(200)],
    )
    assert (rows_of(again, mapping({"q": x}, time=Time(rate_hz=200.0))).rows["q"] == 1.0).all()

    frames = json_file(
        tmp_path / "d.mcap",
        [
            (at(i), "/x", "A", {"header": {"frame_id": "ab"[i % 2]}, "v": [float(i % 2)] * 3})
            for i in range(200)
        ],
    )
    with pytest.raises(RecordingError, match=r"one frame, found those of 'a', 'b': choose by"):
        rows_of(frames, mapping({"q": x}, time=AS_SAMPLED))
    chosen = Channel(key="v", topic="/x", where={"header.frame_id": "b"})
    assert (rows_of(frames, mapping({"q": chosen}, time=AS_SAMPLED)).rows["q"] == 1.0).all()


def test_joints_of_two_topics_are_brought_into_one_order(tmp_path: Path) -> None:
    def at(i: int) -> int:
        return START + i * 10_000_000

    path = json_file(
        tmp_path / "a.mcap",
        [
            (
                at(i),
                topic,
                "J",
                {"joint_names": n, "v": [float(JOINTS.index(k)) for k in n]},
            )
            for i in range(100)
            for topic, n in (("/q", JOINTS), ("/ref", JOINTS[::-1]))
        ],
    )
    m = mapping(
        {"q": Channel(key="v", topic="/q"), "q_ref": Channel(key="v", topic="/ref")},
        time=AS_SAMPLED,
    )
    rows = rows_of(path, m).rows
    np.testing.assert_array_equal(rows["q"], rows["q_ref"])


def test_units_in_names_of_columns_are_taken_or_refused(tmp_path: Path) -> None:
    q = np.random.default_rng(0).normal(size=200)
    path = npz(tmp_path / "a.npz", 200, q=None, wrench=None, **{"j1 [deg]": q, "j2_deg": q})
    keys = ["j1 [deg]", "j2_deg"]
    at = Time(key="t", rate_hz=200.0)
    got = rows_of(path, mapping({"q": Channel(key=keys)}, time=at))
    np.testing.assert_allclose(got.rows["q"][:, 1], np.deg2rad(q))
    assert any("unit deg, as the names" in n for n in got.notes)
    with pytest.raises(ConfigError, match="gives the unit rad, the names of the columns say deg"):
        rows_of(path, mapping({"q": Channel(key=keys, unit="rad")}, time=at))
    wrong = npz(tmp_path / "b.npz", 200, q=None, wrench=None, **{"j1 [N]": q})
    with pytest.raises(ConfigError, match=r"`j1 \[N\]` is in N by its name, q wants rad, deg"):
        rows_of(wrong, mapping({"q": Channel(key="j1 [N]")}, time=at))
    mixed = npz(tmp_path / "c.npz", 200, q=None, wrench=None, **{"j1 [deg]": q, "j2 [rad]": q})
    with pytest.raises(ConfigError, match="one unit for all columns, found deg and rad"):
        rows_of(mixed, mapping({"q": Channel(key=["j1 [deg]", "j2 [rad]"])}, time=at))


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("q1 [Deg]", "deg"), ("q1 (DEG/S)", "deg/s"), ("w [Rpm]", "rpm"), ("w_MM", "mm"),
        ("t (msec)", "ms"), ("f [mN]", "mN"), ("f [KN]", "kN"), ("f [NM]", "Nm"),
        # these are other units, or none that is known, and said as they are
        ("f [MN]", "MN"), ("f [mn]", "mn"), ("t [Ns]", "Ns"), ("f [dyn]", "dyn"), ("f [M]", "M"),
        ("f_MN", None), ("q[0]", None), ("q (2)", None), ("flag [1]", None), ("f [-]", None),
        ("f (x)", None), ("fx", None),
    ],
)  # fmt: skip
def test_the_unit_that_a_name_carries(name: str, unit: str | None) -> None:
    assert of_name(name) == unit


def test_a_unit_in_brackets_that_is_not_known_is_refused_or_told_by_the_mapping(
    tmp_path: Path,
) -> None:
    f = 2.0 * np.ones(200)
    path = npz(tmp_path / "a.npz", 200, q=None, wrench=None, **{"f [dyn]": f, "on [bool]": f > 1})
    at = Time(key="t", rate_hz=200.0)
    with pytest.raises(ConfigError) as e:
        rows_of(path, mapping({"force_norm": Channel(key="f [dyn]")}, time=at))
    assert "wanted a unit in the name of the column `f [dyn]`, found 'dyn'" in str(e.value)
    assert "valid: N, mN, kN, kgf, lbf: give `unit` or `scale` in the mapping" in str(e.value)
    for told, newtons in (({"scale": 4.448}, 8.896), ({"unit": "kgf"}, 2 * 9.80665)):
        channel = Channel(key="f [dyn]", **told)
        rows = rows_of(path, mapping({"force_norm": channel}, time=at)).rows
        np.testing.assert_allclose(rows["force_norm"], newtons)
    # a flag has no unit that could be another one
    rows = rows_of(path, mapping({"operator": Channel(key="on [bool]")}, time=at)).rows
    assert (rows["operator"] == 1.0).all()


def test_stamps_in_a_unit_that_is_not_known_are_refused_unless_they_are_dates(
    tmp_path: Path,
) -> None:
    minutes = np.arange(400) / 12_000
    path = npz(tmp_path / "a.npz", t=None, **{"t [min]": minutes})
    with pytest.raises(ConfigError, match=r"column `t \[min\]`, found 'min', valid: s, ms, us, ns"):
        rows_of(path, mapping(time=Time(key="t [min]")))
    assert rows_of(path, mapping(time=Time(key="t [min]", unit="s", rate_hz=400.0))).n > 1
    dates = np.datetime64("2026-11-28", "us") + np.arange(400) * np.timedelta64(5000, "us")
    path = npz(tmp_path / "b.npz", t=None, **{"t (UTC)": dates})
    assert rows_of(path, mapping(time=Time(key="t (UTC)"))).hz == 200.0


@pytest.mark.parametrize(
    ("labels", "joints"),
    [
        (["q.pan", "q.lift"], ["pan", "lift"]),
        (["q_ref.pan", "q_ref.lift"], ["pan", "lift"]),
        (["pan.pos", "lift.vel"], ["pan", "lift"]),
        (["pan", "q_lift"], ["pan", "q_lift"]),
        (["pan.pos", "pan.vel"], ["pan.pos", "pan.vel"]),  # of one joint: the rest tells them apart
    ],
)
def test_a_joint_is_the_same_whatever_is_known_of_it(labels: list[str], joints: list[str]) -> None:
    assert joint_names(tuple(labels)) == tuple(joints)


def test_names_and_columns_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`names` or `columns`, found both"):
        mapping({"q": Channel(key="q", names=["a"], columns=[0])})
    path = npz(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match="`names` is for messages that name their values"):
        rows_of(path, mapping({"q": Channel(key="q", names=["a"])}))
