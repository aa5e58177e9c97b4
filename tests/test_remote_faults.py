"""The client, against servers that are slow, die, lie, or are gone."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from remote_rig import (
    ANY_SIZE,
    WAIT,
    H,
    Time,
    answer,
    black,
    fake,
    observation,
)

from headway.edge.policy.remote.client import FIRST_PAUSE_S, LONGEST_PAUSE_S
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import to_metadata
from headway.errors import BadMessage, DeviceError, SpecMismatch


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ("hello", "wanted metadata as a map"),
        (b"\xc1", "wanted one msgpack message"),
        (encode([1]), "wanted metadata as a map"),
        (encode({"headway": {"actions": 3}}), "same version of Headway"),
    ],
)
def test_metadata_that_is_none(opened, metadata, says):
    with (
        fake(lambda ws, n: ws.recv(), metadata=metadata) as url,
        pytest.raises((DeviceError, SpecMismatch), match=says),
    ):
        opened(url)


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (answer(actions=np.full((H, 7), np.nan)), BadMessage, "wanted finite actions, found NaN"),
        (answer(actions=np.full((H, 7), 1e300)), BadMessage, "wanted finite actions"),
        (answer(actions=np.zeros((2, 7))), BadMessage, r"wanted actions \(4 or more, 7\)"),
        (answer(actions=np.zeros((H, 14))), BadMessage, r"found \(4, 14\) of float64"),
        (answer(actions=None), BadMessage, "found none among 'actions'"),
        (encode({"x": 1}), BadMessage, "found none among 'x'"),
        (answer()[:-3], BadMessage, "wanted one msgpack message"),
        (b"", BadMessage, "wanted one msgpack message"),
        (answer(x=bytes(50_000)), DeviceError, "closed the connection: 1009"),
        ("Traceback ...\n  File\nValueError: no such key\n", DeviceError,
         "answered with an error: ValueError: no such key"),
        ("\x1b[2Jgone\r", DeviceError, r"answered with an error: \?\[2Jgone"),
        ("", DeviceError, "answered with an error: it does not say which"),
    ],
)  # fmt: skip
def test_answers_that_are_none(opened, reply, error, says):
    """Each is an error that says so; after a pause the next inference connects anew and is good."""

    def bad_then_good(ws, n):
        for _ in ws:
            ws.send(answer() if n else reply)

    with fake(bad_then_good) as url:
        time = Time()
        policy = opened(url, max_bytes=20_000, clock=time)
        with pytest.raises(error, match=says):
            policy.infer(observation())
        with pytest.raises(DeviceError, match=r"not asked again for 0\.1 s after: ws://"):
            policy.infer(observation())
        time.now += FIRST_PAUSE_S
        assert policy.infer(observation()).actions.shape == (H, 7)


def test_a_server_that_is_slow(opened):
    go = threading.Event()

    def slow(ws, n):
        for data in ws:
            assert n or go.wait(WAIT)
            ws.send(answer(actions=np.full((H, 7), decode(data)["observation/state"][0])))

    with fake(slow) as url:
        time = Time()
        policy = opened(url, timeout_s=0.1, clock=time)
        with pytest.raises(DeviceError, match=r"within 0\.1 s, found none.*raise `timeout_s`"):
            policy.infer(observation())
        go.set()  # its answer to the old question comes too late, and is never taken for a new one
        time.now += FIRST_PAUSE_S
        policy._timeout_s = WAIT
        found = policy.infer(observation(state=np.float32([7, 0, 0])))
        assert (found.actions == 7).all()


def test_a_server_that_does_not_read(opened):
    """More than the system buffers on both ends."""
    done = threading.Event()
    frame = black((2000, 2500, 3))
    with fake(lambda ws, n: done.wait(WAIT), metadata=to_metadata(ANY_SIZE)) as url:
        policy = opened(url, timeout_s=0.2)
        with pytest.raises(DeviceError, match=r"within 0\.2 s"):
            policy.infer(observation(images={"wrist": frame}))
        done.set()


def test_a_server_that_dies_during_an_inference(opened):
    def dies(ws, n):
        for _ in ws:
            if n == 0:
                ws.close_socket()
                return
            ws.send(answer())

    with fake(dies) as url:
        time = Time()
        policy = opened(url, clock=time)
        with pytest.raises(DeviceError, match="closed the connection"):
            policy.infer(observation())
        time.now += FIRST_PAUSE_S
        assert policy.infer(observation()).actions.shape == (H, 7)


def test_a_server_that_restarted_meanwhile_is_asked_without_a_pause(opened):
    closed = threading.Event()

    def leaves(ws, n):
        for _ in ws:
            ws.send(answer())
            if n == 0:
                ws.close(1012, "restart")
                closed.set()
                return

    with fake(leaves) as url:
        policy = opened(url)
        assert policy.infer(observation()).actions.shape == (H, 7)
        assert closed.wait(WAIT)
        assert policy.infer(observation()).actions.shape == (H, 7)


def test_what_came_unasked_is_no_answer(opened):
    """The connection is left, since nobody knows any more which answer is to what."""

    def talks(ws, n):
        for _ in ws:
            ws.send(answer(actions=np.full((H, 7), float(n))))
            if n == 0:
                ws.send(answer(actions=np.full((H, 7), 99.0)))

    with fake(talks) as url:
        policy = opened(url)
        assert policy.infer(observation()).actions[0, 0] == 0
        websocket = policy._websocket
        assert websocket._events or websocket._poll.poll(1e3 * WAIT)  # it is here
        assert policy.infer(observation()).actions[0, 0] == 1


def test_pauses_double_up_to_the_longest(opened):
    with fake(lambda ws, n: ws.recv()) as url:
        time = Time()
        policy = opened(url, clock=time)
    pauses = []
    for _ in range(9):
        with pytest.raises(DeviceError, match=r"closed the connection|found none"):
            policy.infer(observation())
        pauses.append(policy._retry_at - time.now)
        with pytest.raises(DeviceError, match="not asked again for"):
            policy.infer(observation())
        time.now = policy._retry_at
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert pauses[-2:] == [LONGEST_PAUSE_S] * 2
