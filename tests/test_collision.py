"""Distances against a sampled minimum and MuJoCo's, and the guard that keeps them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guard_rig import CHAIN, HOME, IDLE, WIDE, T
from guard_rig import impl as impl
from hypothesis import example, given
from hypothesis import strategies as st
from properties import examples

from headway import config
from headway.compiled import Impl
from headway.drivers.capsules import Capsule
from headway.drivers.kinematics import Chain
from headway.drivers.model import load
from headway.edge.guard import collision
from headway.edge.guard import native as guard_native
from headway.edge.guard.config import Box, FixedCapsule
from headway.edge.guard.guard import Decision, Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.errors import ConfigError
from headway.types import Vec

UR5E = load("ur5e")

coordinate = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 0.5, -0.5, 1e-7]))
point = st.tuples(coordinate, coordinate, coordinate)
segment = st.one_of(st.tuples(point, point), point.map(lambda p: (p, p)))
box = st.tuples(point, point).map(
    lambda pq: (
        tuple(map(min, *pq)),
        tuple(map(max, *pq)),
    )
)


def guard(impl: Impl, chain: Chain = CHAIN, q0: Vec = HOME, **cfg: Any) -> Guard:
    made = Guard(GuardConfig(**{**WIDE, **cfg}), UR5E.limits, T, chain, impl)
    made.reset(q0)
    return made


def send(g: Guard, q: Vec) -> Decision:
    return g.apply(q, **IDLE)


def distances(q: Vec, **cfg: Any) -> tuple[list[float], collision.Scene]:
    scene = collision.scene(GuardConfig(**{**WIDE, "collision_margin": 1.0, **cfg}), CHAIN.body, 7)
    assert scene is not None
    found = collision.Collisions(scene).distances(CHAIN.transforms(q))
    return found, scene


def along(s: Any, n: int) -> Vec:
    a, b = np.array(s, float)
    return a + np.linspace(0, 1, n)[:, None] * (b - a)


@given(segment, segment)
@example(((0, 0, 0), (1, 0, 0)), ((0, 0, 0.5), (1, 0, 0.5)))  # parallel
@example(((0, 0, 0), (1, 0, 0)), ((2, 0, 0), (3, 0, 0)))  # in line
@example(((-1, 0, 0), (1, 0, 0)), ((0, -1, 0), (0, 1, 0)))  # crossing
@examples(300)
def test_two_segments_are_as_far_apart_as_their_nearest_points(one: Any, two: Any) -> None:
    d = np.sqrt(collision.segments_apart(*one, *two))
    assert d == pytest.approx(np.sqrt(collision.segments_apart(*two, *one)), abs=1e-7)
    points = along(one, 101)[:, None] - along(two, 101)[None]
    sampled = np.sqrt((points**2).sum(-1).min())
    step = (np.linalg.norm(np.subtract(*one)) + np.linalg.norm(np.subtract(*two))) / 200
    assert sampled - step - 2e-6 <= d <= sampled + 2e-6  # a short segment counts as a point


@given(segment, box)
@example(((-1, 0.2, 0.2), (1, 0.2, 0.2)), ((-0.5, 0, 0), (0.5, 1, 1)))  # through it
@example(((-1, 0.5, 2), (1, 0.5, 2)), ((-0.5, 0, 0), (0.5, 1, 1)))  # along a face
@example(((1, 0, 0), (-0.609375, 1e-7, 0)), ((-0.6012440863553511, 1e-7, 0), (0, 1, 0)))  # nearly
@examples(300)
def test_a_segment_is_as_far_from_a_box_as_its_nearest_point(one: Any, two: Any) -> None:
    d = np.sqrt(collision.box_apart(*one, *two))
    x = along(one, 2001)
    lower, upper = np.array(two, float)
    sampled = np.sqrt((np.maximum(np.maximum(lower - x, x - upper), 0) ** 2).sum(-1).min())
    step = np.linalg.norm(np.subtract(*one)) / 4000
    assert sampled - step - 1e-8 <= d <= sampled + 1e-8  # the root of what rounding leaves


@pytest.mark.skipif(guard_native.module("auto") is None, reason="C++ guard not built")
@given(segment, segment, box)
def test_compiled_distances_are_the_same(one: Any, two: Any, cube: Any) -> None:
    m = guard_native.module("cpp")
    flat = [np.array(s, float).ravel() for s in (one, two, cube)]
    assert m.segments_apart(flat[0], flat[1]) == collision.segments_apart(*one, *two)
    assert m.box_apart(flat[0], flat[2]) == collision.box_apart(*one, *cube)


def test_distances_are_mujocos() -> None:
    mujoco = pytest.importorskip("mujoco")
    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b, c, d = rng.uniform(-1, 1, (4, 3))
        r, s = rng.uniform(0.01, 0.1, 2)
        lower, size = rng.uniform(-1, 0.5, 3), rng.uniform(0.1, 0.8, 3)
        text = [" ".join(map(str, x)) for x in (np.r_[a, b], np.r_[c, d], size / 2)]
        model = mujoco.MjModel.from_xml_string(
            f'<mujoco><worldbody><body><freejoint/><geom type="capsule" size="{r}"'
            f' fromto="{text[0]}"/></body><geom type="capsule" size="{s}" fromto="{text[1]}"/>'
            f'<geom type="box" size="{text[2]}" pos="{" ".join(map(str, lower + size / 2))}"/>'
            "</worldbody></mujoco>"
        )
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        one, two, cube = (tuple(a), tuple(b)), (tuple(c), tuple(d)), (lower, lower + size)
        moving = int(np.flatnonzero(model.geom_bodyid)[0])
        fixed = [i for i in range(3) if i != moving]
        for i in fixed:
            want = mujoco.mj_geomDistance(model, data, moving, i, 10.0, None)
            have = (
                np.sqrt(collision.box_apart(*one, *map(tuple, cube))) - r
                if model.geom_type[i] == mujoco.mjtGeom.mjGEOM_BOX
                else np.sqrt(collision.segments_apart(*one, *two)) - r - s
            )
            if have > 1e-9 - r:  # else the segment is in the box: how deep is another question
                assert have == pytest.approx(want, abs=1e-5)


def test_neighbours_and_what_is_meant_to_touch_are_left_out() -> None:
    scene = collision.scene(GuardConfig(**WIDE, floor_z=0.0), CHAIN.body, 7)
    for kind, i, j, *_ in scene.pairs:
        one = scene.capsules[i]
        if kind == collision.SEGMENT:
            assert abs(one.frame - scene.capsules[j].frame) > 1
        else:
            assert one.frame > 0
            assert not one.contact
    assert sum(kind == collision.FLOOR for kind, *_ in scene.pairs) == 12
    assert "gripper and upper arm" in scene.names
    unchecked = GuardConfig(**WIDE, check_collision=False, floor_z=0.0)
    assert collision.scene(unchecked, CHAIN.body, 7).pairs == ()
    assert collision.scene(GuardConfig(**WIDE), (), 7).pairs == ()


def test_numbers_that_are_not_finite_are_refused_where_a_program_gives_them() -> None:
    pole = FixedCapsule(name="pole", a=(0.0, 0.0, np.nan), b=(0.0, 0.0, 1.0), radius=0.1)
    for odd in ({"floor_z": np.nan}, {"fixed_capsules": (pole,)}):
        with pytest.raises(ValueError, match="of finite numbers, found Scene"):
            collision.scene(GuardConfig(**WIDE, **odd), CHAIN.body, 7)


def test_what_cannot_be_checked_is_named() -> None:
    with pytest.raises(ValueError, match="chain has a body"):
        Guard(GuardConfig(**WIDE, floor_z=0.0), UR5E.limits, T, replace(UR5E.chain, body=()))
    with pytest.raises(ValueError, match="chain has a body"):
        Guard(GuardConfig(**WIDE, floor_z=0.0), UR5E.limits, T, lambda q: q[:3])
    odd = replace(UR5E.chain, body=(Capsule("hat", 7, (0.0,) * 3, (0.0,) * 3, 0.1),))
    with pytest.raises(ValueError, match=r"capsule hat wants a frame 0\.\.6, found 7"):
        Guard(GuardConfig(**WIDE), UR5E.limits, T, odd)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"collision_margin": -1.0}, "collision_margin"),
        ({"floor_z": float("nan")}, "floor_z"),
        ({"capsules": [{"name": "a", "frame": 1, "a": [0, 0, 0], "b": [0, 0, 1],
                        "radius": -0.1}]}, "radius"),
        ({"boxes": [{"name": "bin", "lower": [0, 0, 1], "upper": [1, 1, 0]}]}, "lower <= upper"),
        ({"fixed_capsules": [{"name": "pole", "a": [0, 0, float("inf")], "b": [0, 0, 1],
                              "radius": 0.1}]}, r"`fixed_capsules\[0\]\.a\[2\]` wants a finite"),
    ],
)  # fmt: skip
def test_senseless_obstacles_are_named(table: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config.decode({**WIDE, **table}, GuardConfig, "run.toml [guard]")


def drive(g: Guard, joint: int, speed: float, ticks: int) -> tuple[list[Vec], Reason, str]:
    """Speed one joint up smoothly and cruise until something is refused; then hold."""
    rows = [HOME.copy()]
    reason, detail = Reason.OK, ""
    for k in range(ticks):
        x = min(1.0, (k + 1) * T / 0.4)
        q = rows[-1].copy()
        q[joint] += speed * T * x * x * (3 - 2 * x)
        sent = send(g, q)
        rows.append(sent.q.copy())
        if sent.changed:
            reason, detail = sent.reason, sent.detail
            break
    rows += [g.apply(None, **IDLE).q.copy() for _ in range(400)]
    return rows, reason, detail


POST = Box(name="post", lower=(0.2, 0.25, 0.0), upper=(0.6, 0.3, 1.0))
POLE = FixedCapsule(name="pole", a=(0.25, 0.3, 0.0), b=(0.25, 0.3, 1.0), radius=0.03)


@pytest.mark.parametrize(
    ("joint", "speed", "cfg", "pair"),
    [
        (2, 1.0, {}, "gripper and upper arm"),  # the elbow folds
        (1, 1.0, {"floor_z": 0.0}, "gripper and the floor"),
        (0, 0.5, {"boxes": (POST,)}, "and post"),
        (0, 0.5, {"fixed_capsules": (POLE,)}, "and pole"),
    ],
)
def test_a_motion_into_something_is_stopped_before_it(
    impl: Impl, joint: int, speed: float, cfg: dict[str, Any], pair: str
) -> None:
    free, reason, detail = drive(guard(impl, check_collision=False), joint, speed, 700)
    assert reason is Reason.OK, detail
    assert min(min(distances(q, **cfg)[0]) for q in free[::20]) < 0.0  # it would have hit
    rows, reason, detail = drive(guard(impl, **cfg), joint, speed, 700)
    assert reason is Reason.COLLISION, detail
    assert f"{pair} would stop" in detail
    nearest = [min(distances(q, **cfg)[0]) for q in rows[-450::10]]
    assert min(nearest) >= 0.005 - 1e-9  # the margin, at rest and on the way
    assert nearest[-1] < 0.005 + 2 * speed * T  # and no sooner than it had to be
    np.testing.assert_array_equal(rows[-1], rows[-2])


def test_who_is_too_near_already_may_only_part(impl: Impl) -> None:
    """A pole stands 3 mm from the arm where it starts; 5 are wanted."""
    pole = FixedCapsule(name="pole", a=(0.35, 0.3, 0.0), b=(0.35, 0.3, 1.0), radius=0.03)
    start = HOME.copy()
    near = lambda q: min(distances(q, fixed_capsules=(pole,))[0])  # noqa: E731
    lo, hi = 0.0, 1.0
    while hi - lo > 1e-9:
        start[0] = 0.5 * (lo + hi)
        lo, hi = (start[0], hi) if near(start) > 0.003 else (lo, start[0])
    assert near(start) == pytest.approx(0.003, abs=1e-6)
    turn = np.array([1e-7, 0, 0, 0, 0, 0])
    g = guard(impl, q0=start, fixed_capsules=(pole,))
    assert send(g, start).reason is Reason.OK  # to stand still is allowed
    d = send(g, start + turn)
    assert d.reason is Reason.COLLISION
    assert "and pole are 0.0030 m apart" in d.detail
    assert (d.finding.stopping, d.finding.found) == (False, pytest.approx(0.003, abs=1e-6))
    g.reset(start)
    assert send(g, start - 10 * turn).reason is Reason.OK
    assert send(g, start - 5 * turn).reason is Reason.COLLISION  # what was gained is kept
    g.reset(start)
    spin = np.array([0, 0, 0, 0, 0, 1e-7])
    refused = {send(g, start + k**3 * spin).reason for k in range(1, 30)}
    assert refused == {Reason.OK}  # what moves elsewhere is free, rounding or not


def test_the_shipped_arm_has_room_where_it_works() -> None:
    for way in ((0.0,) * 6, (0.5, 0.3, -0.3, 0.1, 0.2, 1.0), (-0.5, 0.2, 0.2, -0.3, 0, -1)):
        assert min(distances(HOME + way, floor_z=0.0)[0]) > 0.005
