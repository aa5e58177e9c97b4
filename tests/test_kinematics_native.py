"""The compiled kinematics agree with the Python ones, which are there where they are not."""

import pickle
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from properties import examples
from test_kinematics import joints

from headway.drivers import native
from headway.drivers.kinematics import Chain, mat_to_quat, rotvec_to_mat
from headway.drivers.model import load

UR5E = load("ur5e")

needs_cpp = pytest.mark.skipif(native.module("auto") is None, reason="C++ kinematics not built")
PYTHON = replace(UR5E.chain, impl="python")
CPP = UR5E.chain  # where it is built
HOME = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])


@needs_cpp
@given(joints)
def test_forward_kinematics_and_jacobian_are_the_same(q):
    np.testing.assert_allclose(CPP.transforms(q), PYTHON.transforms(q), rtol=0, atol=1e-14)
    np.testing.assert_allclose(CPP.position(q), PYTHON.position(q), rtol=0, atol=1e-14)
    for have, want in zip(CPP.state(q), PYTHON.state(q), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-14)
    dq = np.linspace(-1.0, 1.0, 6)
    (pose, twist), (other, spin) = CPP.motion(q, dq), PYTHON.motion(q, dq)
    np.testing.assert_array_equal(pose.quat, mat_to_quat(CPP.state(q)[0]))
    for same in (CPP.pose(q), other, PYTHON.pose(q)):
        np.testing.assert_allclose(same.pos, pose.pos, rtol=0, atol=1e-14)
        np.testing.assert_allclose(abs(same.quat @ pose.quat), 1.0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(pose.pos, other.pos, rtol=0, atol=1e-14)
    np.testing.assert_allclose(twist, spin, rtol=0, atol=1e-14)
    np.testing.assert_allclose(twist, PYTHON.jacobian(q) @ dq, rtol=0, atol=1e-14)


@needs_cpp
@given(st.integers(1, 16), st.integers(0, 1000))
def test_chains_of_any_length_are_the_same(n, seed):
    rng = np.random.default_rng(seed)
    dh = tuple(map(tuple, rng.uniform(-1, 1, (n, 3))))
    given_ = (dh, float(rng.uniform(-3, 3)), tuple(rng.uniform(-1, 1, 3)))
    q = rng.uniform(-3, 3, n)
    for have, want in zip(
        Chain.from_dh(*given_, impl="cpp").state(q),
        Chain.from_dh(*given_, impl="python").state(q),
        strict=True,
    ):
        np.testing.assert_allclose(have, want, atol=1e-12)


def test_a_chain_longer_than_the_compiled_code_takes_is_computed_in_python():
    long = Chain.from_dh(((0.1, 0.0, 0.0),) * 17)
    assert long.computed_by == "python"
    np.testing.assert_allclose(long.position(np.zeros(17)), [1.7, 0.0, 0.0])


@needs_cpp
@given(joints, st.tuples(*[st.floats(-0.1, 0.1)] * 6))
@examples(60)
def test_inverse_kinematics_converges_to_the_same(q, step):
    R, p = PYTHON.fk(q)
    target = R @ rotvec_to_mat(np.array(step[3:])), p + step[:3]
    for iterations in (0, 1, 3):  # the same steps on the way
        have, left = CPP.ik(*target, q, iterations=iterations)
        want, rest = PYTHON.ik(*target, q, iterations=iterations)
        np.testing.assert_allclose(have, want, atol=1e-7)
        assert left == pytest.approx(rest, abs=1e-7)
    have, left = CPP.ik(*target, q, iterations=30)
    want, rest = PYTHON.ik(*target, q, iterations=30)
    assert (left < 2e-5) == (rest < 2e-5)


@pytest.mark.parametrize("impl", ["python", pytest.param("cpp", marks=needs_cpp)])
def test_a_chunk_is_one_solution_after_another(impl):
    chain = replace(UR5E.chain, impl=impl)
    R, p = chain.fk(HOME)
    rng = np.random.default_rng(1)
    actions = np.cumsum(rng.normal(0, 0.01, (16, 7)), axis=0)
    q, worst = chain.ik_chunk(R, p, actions, HOME)
    assert q.shape == (17, 6)
    np.testing.assert_array_equal(q[0], HOME)
    residuals = []
    for k, a in enumerate(actions):
        one, residual = chain.ik(R @ rotvec_to_mat(a[3:6]), p + R @ a[:3], q[k], iterations=8)
        np.testing.assert_allclose(q[k + 1], one, atol=1e-12)
        residuals.append(residual)
    assert worst == pytest.approx(max(residuals), abs=1e-12)
    assert worst < 1e-4


@pytest.mark.parametrize("impl", ["python", pytest.param("cpp", marks=needs_cpp)])
@pytest.mark.parametrize(
    ("column", "value", "left"),
    [(0, np.nan, 0.0), (4, np.inf, 0.0), (6, np.nan, 0.0), (3, 1e200, np.inf)],
)
def test_what_is_not_finite_ends_a_chunk(impl, column, value, left):
    chain = replace(UR5E.chain, impl=impl)
    actions = np.zeros((5, 7))
    actions[2, column] = value
    q, worst = chain.ik_chunk(*chain.fk(HOME), actions, HOME)
    np.testing.assert_allclose(q[:3], [HOME] * 3)
    assert np.isnan(q[3:]).all()
    assert worst == pytest.approx(left, abs=2e-5)


@pytest.mark.parametrize("impl", ["python", pytest.param("cpp", marks=needs_cpp)])
@given(st.lists(st.tuples(*[st.floats(width=64)] * 7), min_size=1, max_size=4))
@example([(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), (1.1e305, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)])
@examples(60)
def test_no_action_whatever_makes_it_raise(impl, rows):
    chain = replace(UR5E.chain, impl=impl)
    q, worst = chain.ik_chunk(*chain.fk(HOME), np.array(rows), HOME)
    known = np.isfinite(q)
    assert (known.all(axis=1) == known.any(axis=1)).all()
    assert not np.diff(known[:, 0].astype(int)).max(initial=-1) > 0  # once lost, always lost
    assert worst >= 0.0


@needs_cpp
def test_compiled_arguments_of_another_shape_are_refused():
    with pytest.raises(TypeError):
        CPP.fk_into(HOME, np.empty((3, 3)), np.empty(4))
    with pytest.raises(TypeError):  # a copy would be filled, and lost
        CPP.fk_into(HOME, np.empty((3, 3), np.float32), np.empty(3))
    with pytest.raises(ValueError, match="rows of the Jacobian"):
        CPP.state_into(HOME, np.empty((3, 3)), np.empty(3), np.empty((5, 6)))
    with pytest.raises(ValueError, match="wanted 6 numbers per action, found 5"):
        CPP.ik_chunk(*CPP.fk(HOME), np.zeros((4, 5)), HOME)


@needs_cpp
def test_the_loops_forms_allocate_nothing():
    R, p, J = np.empty((3, 3)), np.empty(3), np.empty((6, 6))

    def go():
        for _ in range(100):
            CPP.fk_into(HOME, R, p)
            CPP.state_into(HOME, R, p, J)

    go()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    go()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1000


@needs_cpp
def test_threads_may_share_a_chain():
    rng = np.random.default_rng(2)
    R, p = CPP.fk(HOME)
    chunks = [np.cumsum(rng.normal(0, 0.01, (20, 7)), axis=0) for _ in range(4)]
    want = [CPP.ik_chunk(R, p, a, HOME)[0] for a in chunks]
    have = [None] * 4

    def solve(i):
        for _ in range(50):
            have[i] = CPP.ik_chunk(R, p, chunks[i], HOME)[0]

    threads = [threading.Thread(target=solve, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(have, want)


def test_a_chain_can_be_pickled_after_use():
    chain = UR5E.chain
    chain.position(HOME)
    again = pickle.loads(pickle.dumps(chain))
    assert again == chain
    np.testing.assert_array_equal(again.position(HOME), chain.position(HOME))
