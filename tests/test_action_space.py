"""What a policy's answer means: its declaration is checked, and its numbers become SI units."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from headway import config
from headway.actions import ROTATIONS, ActionSpace, Columns
from headway.errors import ConfigError, SpecMismatch

TCP = ("x", "y", "z", "rx", "ry", "rz", "grip")
QUAT = ("x", "y", "z", "qx", "qy", "qz", "qw", "grip")
ARM = ("a", "b", "c")


def space(**changes: Any) -> ActionSpace:
    given: dict[str, Any] = {"names": TCP, "chunk": 4, "dt_s": 0.1} | changes
    return ActionSpace(**given)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"names": TCP[:5]}, "wanted the names x y z rx ry rz in any order"),
        ({"names": (*TCP, "foo")}, "list others in `ignored`"),
        ({"names": ("x", "y", "z", "qw", "qx", "qy")}, "wanted the names x y z rx ry rz"),
        ({"names": QUAT}, 'the names are those of rotation = "quat"'),
        ({"names": (*QUAT, "rx"), "rotation": "quat"}, "found x, y, z, qx, qy, qz, qw, rx"),
        ({"names": (*TCP, "grip")}, "found grip more than once"),
        ({"names": ("a", "a"), "space": "joint"}, "found a more than once"),
        ({"names": ("grip",), "space": "joint"}, "wanted the names of joints, found grip"),
        ({"ignored": ("gripp",)}, "did you mean `grip`"),
        ({"ends": "grap"}, "did you mean `grip`"),
        ({"names": (*TCP, "-"), "ends": "-"}, "wanted `ends` to be one of the names"),
        ({"names": (*TCP, "done"), "ends": "done", "ignored": ("done",)}, "`ends` to be one of"),
        ({"scale": (1.0, 2.0)}, "one of `scale` for each of the 7 names, found 2"),
        ({"offset": (1.0,) * 8}, "one of `offset` for each of the 7 names, found 8"),
        ({"units": ("m",)}, "one of `units` for each of the 7 names, found 1"),
        ({"scale": (1.0,) * 3 + (0.0,) + (1.0,) * 3}, "for rx, found 0.0 and 0.0"),
        ({"scale": (math.inf,) + (1.0,) * 6}, "for x, found inf"),
        ({"offset": (1.0,) * 6 + (math.nan,)}, "for grip, found 1.0 and nan"),
        ({"units": ("m", "m", "s", "rad", "rad", "rad", "1")}, "unit of z: wanted a unit of leng"),
        ({"units": ("m", "m", "mmm", "rad", "rad", "rad", "1")}, "unit of z: .*did you mean `mm`"),
        ({"grip_open": 1.0}, "grip_open and grip_closed to differ, found 1.0"),
        ({"grip_closed": math.nan}, "finite grip_open and grip_closed"),
        ({"grip": "force", "grip_closed": -2.0}, "grip_closed > 0 N"),
        ({"mode": "velocity", "names": QUAT, "rotation": "quat"}, "wanted an angular velocity"),
        ({"ends_above": math.inf}, "finite ends_above"),
        ({"chunk": 4000, "hold_s": 20.0}, "at most 4096 rows"),
        ({"dt_s": 1e-320, "hold_s": 1.0}, "at most 4096 rows"),
    ],
)
def test_a_declaration_that_does_not_fit_is_an_error_that_says_so(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        space(**changes)


def test_it_is_a_section_of_a_file_and_its_errors_come_as_such() -> None:
    section = {"names": ["a", "b"], "space": "joint", "mode": "step", "chunk": 1, "dt_s": 0.05}
    made = config.decode(section, ActionSpace, "run.toml")
    assert (made.joints, made.mode, made.grip) == (("a", "b"), "step", "binary")
    with pytest.raises(ConfigError, match=r"run\.toml: unknown key `scal`: did you mean `scale`"):
        config.decode(section | {"scal": [1.0]}, ActionSpace, "run.toml")
    with pytest.raises(ConfigError, match=r"run\.toml: .*one of `scale` for each of the 2 names"):
        config.decode(section | {"scale": [1.0]}, ActionSpace, "run.toml")
    with pytest.raises(ConfigError, match="`hold_s` wants a finite number >= 0"):
        config.decode(section | {"hold_s": -1}, ActionSpace, "run.toml")
    assert (
        config.decode(section | {"hold_s": 0, "scale": [1, 2]}, ActionSpace, "run.toml").rows == 2
    )
    with pytest.raises(ConfigError, match="`chunk` wants a whole number >= 1"):
        config.decode(section | {"chunk": 0}, ActionSpace, "run.toml")


def test_columns_are_found_by_meaning_in_any_order() -> None:
    names = ("qw", "grip", "-", "z", "y", "x", "-", "done", "qz", "qy", "qx", "foo")
    made = space(names=names, rotation="quat", ends="done", ignored=("foo",))
    assert made.columns == Columns((), (5, 4, 3), (0, 10, 9, 8), 1, 7)
    assert sorted(made.columns.used) == [0, 1, 3, 4, 5, 7, 8, 9, 10]
    assert made.joints == ()
    for rotation, parts in ROTATIONS.items():
        made = space(names=("x", "y", "z", *reversed(parts)), rotation=rotation)
        assert [made.names[k] for k in made.columns.rotation] == list(parts)
        assert made.columns.grip is None


def test_joint_names_are_checked_against_a_robot_and_put_into_its_order() -> None:
    made = space(names=("c", "grip", "a", "-", "b"), space="joint")
    assert made.joints == ("c", "a", "b")
    assert made.check_joints(ARM) == (2, 4, 0)
    with pytest.raises(SpecMismatch, match="lack d: name them"):
        made.check_joints((*ARM, "d"))
    with pytest.raises(SpecMismatch, match="lack d and name c, which it does not have"):
        made.check_joints(("a", "b", "d"))
    assert space().check_joints(ARM) == ()


def test_how_long_a_chunk_lasts_and_how_many_waypoints_it_has() -> None:
    chunk = space()
    assert (chunk.hold_rows, chunk.rows) == (0, 5)
    assert chunk.duration_s == pytest.approx(0.4)
    single = space(chunk=1)
    assert (single.hold_rows, single.rows) == (3, 5)
    assert single.duration_s == pytest.approx(0.4)
    assert space(chunk=1, hold_s=0.0).rows == 2
    assert space(hold_s=0.3).hold_rows == 3  # 0.3 / 0.1 is a little less than 3
    assert space(hold_s=0.31).hold_rows == 4


def test_values_are_raw_times_scale_plus_offset_in_si_units_and_back() -> None:
    made = space(
        names=("rx", "grip", "x", "y", "-", "z", "ry", "rz"),
        units=("deg", "mm", "mm", "cm", "s", "m", "rad", "deg"),
        scale=(2.0, 1.0, 10.0, 1.0, 0.0, 1.0, 1.0, 1.0),
        offset=(1.0, 0.0, 0.5, 0.0, math.nan, 0.0, 0.0, 0.0),
        grip="width",
        chunk=2,
    )
    raw = np.ones((3, 8), np.float32)
    out = made.to_si(raw)
    deg = math.pi / 180
    assert out.dtype == np.float32
    assert out.shape == (2, 8)
    wanted = [3 * deg, 1e-3, 10.5e-3, 1e-2, 1.0, 1.0, 1.0, deg]
    np.testing.assert_allclose(out[1], wanted, rtol=1e-6)
    np.testing.assert_allclose(made.from_si(out), raw[:2], rtol=1e-5)
    moving = space(units=("mm/s",) * 3 + ("deg/s",) * 3 + ("1",), mode="velocity")
    assert [moving.si_unit(k) for k in (0, 3, 6)] == ["m/s", "rad/s", "1"]
    np.testing.assert_allclose(moving.to_si(np.ones((4, 7)))[0], [1e-3] * 3 + [deg] * 3 + [1.0])
    force = space(grip="force", units=("m",) * 3 + ("rad",) * 3 + ("kN",))
    assert force.to_si(np.ones((4, 7)))[0, 6] == 1000.0


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (np.zeros((4, 6)), r"found \(4, 6\)"),
        (np.zeros(7), r"found \(7,\)"),
        (np.zeros((4, 7), np.int64), "of int64"),
        (np.zeros((3, 7)), "at least chunk = 4 rows of actions, found 3"),
    ],
)
def test_an_answer_of_another_shape_or_type_is_an_error(raw: Any, says: str) -> None:
    with pytest.raises(SpecMismatch, match=says):
        space().to_si(raw)


def test_statistics_become_scale_and_offset() -> None:
    names = ("a", "b", "-")
    joints = space(names=names, space="joint", chunk=1)
    made = joints.with_mean_std((1.0, 2.0, 0.0), (0.5, 4.0, 0.0))
    np.testing.assert_allclose(made.to_si(np.array([[1.0, -1.0, 9.0]])), [[1.5, -2.0, 9.0]])
    made = joints.with_range((0.0, 10.0, 0.0), (2.0, 20.0, 0.0))
    np.testing.assert_allclose(made.to_si(np.array([[-1.0, 1.0, 9.0]])), [[0.0, 20.0, 9.0]])
    np.testing.assert_allclose(made.to_si(np.array([[0.0, 0.0, 9.0]])), [[1.0, 15.0, 9.0]])
    made = joints.with_range((0.0, 10.0, 0.0), (2.0, 20.0, 0.0), raw=(0.0, 1.0))
    np.testing.assert_allclose(made.to_si(np.array([[0.0, 1.0, 9.0]])), [[0.0, 20.0, 9.0]])


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.0, 0.0), (1.0, 0.0), "std > 0 for b, found mean = 0.0 and std = 0.0"),
        ((0.0, 0.0), (-1.0, 1.0), "std > 0 for a"),
        ((0.0, math.nan), (1.0, 1.0), "for b, found mean = nan"),
        ((0.0, 0.0), (1.0,), "`mean` and of `std` for each of the 2 names, found 2 and 1"),
    ],
)
def test_a_std_of_zero_and_other_nonsense_is_an_error(mean: Any, std: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        space(names=("a", "b"), space="joint").with_mean_std(mean, std)


@pytest.mark.parametrize(
    ("low", "high", "raw", "says"),
    [
        ((0.0, 1.0), (1.0, 1.0), (-1.0, 1.0), "low < high for b, found low = 1.0 and high = 1.0"),
        ((2.0, 0.0), (1.0, 1.0), (-1.0, 1.0), "low < high for a"),
        ((0.0, 0.0), (1.0, math.inf), (-1.0, 1.0), "low < high for b"),
        ((0.0,), (1.0, 2.0), (-1.0, 1.0), "found 1 and 2"),
        ((0.0, 0.0), (1.0, 1.0), (1.0, 1.0), "wanted raw numbers from one to another"),
    ],
)
def test_a_range_without_width_is_an_error(low: Any, high: Any, raw: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        space(names=("a", "b"), space="joint").with_range(low, high, raw)


def test_scale_and_statistics_together_are_an_error() -> None:
    made = structs.replace(space(), scale=(1.0,) * 7)
    with pytest.raises(ValueError, match="found both: leave one out"):
        made.with_mean_std((0.0,) * 7, (1.0,) * 7)


def test_the_values_of_open_and_closed_jaws_have_defaults() -> None:
    assert space().grip_range(0.08) == (0.0, 1.0)
    assert space(grip="normalised", grip_open=1.0, grip_closed=-1.0).grip_range(0.08) == (1.0, -1.0)
    assert space(grip="width").grip_range(0.08) == (0.08, 0.0)
    assert space(grip="width", grip_open=0.04).grip_range(0.08) == (0.04, 0.0)
    assert space(grip="force").grip_range(None) == (0.0, 1.0)


def test_the_examples_of_the_documentation_are_action_spaces() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "actions.md").read_text()
    examples = [part.split("```")[0] for part in text.split("```toml\n")[1:]]
    assert len(examples) == 2
    for example in examples:
        made = config.decode(config.tomllib.loads(example), ActionSpace, "docs/actions.md")
        assert made.columns.grip is not None


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "actions.md").read_text()
    assert [f.name for f in structs.fields(ActionSpace) if f"`{f.name}`" not in text] == []
