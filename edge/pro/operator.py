"""The Process-Reward Operator (PRO) in the loop: features of the telemetry go into an ONNX head,
which gives the signals; the reward follows from them.

The reward of a step of the head is gamma * Phi(t+1) - Phi(t) - lambda * risk - mu * (1 -
stability), with Phi = -time-to-go [s]. lambda and mu are the bundle's `risk_weight` and
`stability_weight`. The first two terms are potential-based shaping (Ng, Harada & Russell 1999):
with gamma = 1 only a decrease of time-to-go earns a reward, so dawdling earns nothing. Where the
head tells of the line of an order that is due, Phi begins anew with each line, SETTLED_S after it
has become due. This reward is recorded and drawn. Policies are not trained by it: learning from
execution has cross-fitted heads of the same kind and a potential of its own
(`headway.learn.execution.values`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import numpy as np

from headway.bundle import Bundle, Tensor
from headway.config import suggest
from headway.edge.engines.engine import Engine
from headway.edge.pro import made_from, one_launch
from headway.edge.pro.made_from import Gaps, Given, MadeFrom, Watch
from headway.edge.pro.one_launch import OneLaunch
from headway.errors import SpecMismatch, refuse
from headway.kernels import FeatureStream, cuda, feature_stream, spec
from headway.kernels.telemetry import Scale, empty
from headway.types import Signals

OUTPUTS = ("progress", "stability", "completion", "risk", "time_to_go")  # in the order of Signals
SIGNALS = (*OUTPUTS, "reward")
# How long a head takes to tell of the next line: 0.3 to 0.5 s, those of models/workflows_pro.
SETTLED_S = 0.5
TRAIN = "train a head on this robot's recordings by `headway pro train`"
_NUMBERS = struct.Struct("=q6d")  # of a row of /pro: t_ns, SIGNALS


@cache
def pro_dtype() -> np.dtype[np.void]:
    """Layout of a row of the topic /pro; `time_to_go` is in [s]."""
    return np.dtype(
        [
            ("t_ns", np.int64),
            *[(name, np.float64) for name in SIGNALS],
            ("features", np.float32, (len(spec.NAMES),)),
            ("mask", np.float32, (len(spec.MASKS),)),
        ]
    )


class ProOperator:
    """Runs the PRO head of `bundle` in `engine`. Call `reset` before an episode and `step` once per
    tick. `scale` makes the features of different robots comparable; `joints` of the arm; `hz` of
    the loop, of which `head_hz`, the rate of the head, is a divisor; `features`: the implementation
    that computes them ("auto", "cuda", "cpp" or "numpy").

    Where features and head are both on a CUDA device, a step is one launch: `one_launch` is True.

    `updated` is True on ticks on which the head ran. `record` then holds the row for the recording,
    and `reward_now` the reward of that step of the head; on other ticks `reward_now` is 0.
    `lost` names the groups of telemetry that what the head was made from had, and that at this tick
    have been missing for `made_from.LOST_S`; each is named once a loss.

    Raises SpecMismatch for a bundle that is no PRO head, or is made for other features, shapes,
    another robot or another rate; Missing or ConfigError for an implementation that cannot run
    here. `step` raises SpecMismatch for a group of telemetry that does not come once within the
    first second of an episode.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        scale: Scale,
        joints: int,
        *,
        hz: float,
        head_hz: float,
        features: str = "auto",
        given: Given | None = None,
        watched: bool = True,
    ) -> None:
        self.given = given or Given("", hz)
        refuse(misfits(bundle, self.given, head_hz))
        info = bundle.manifest.pro
        assert info is not None
        self._watches: list[Watch] = []  # all of them; each begins anew with each episode
        self._gaps = Gaps(hz)
        self.hold_to(_trained_on(bundle), info, TRAIN, watched=watched)
        self.info, self.engine = info, engine
        self._settling = round(SETTLED_S * head_hz)  # steps
        self._every = max(1, round(hz / head_hz))  # ticks of a file may be slower than the head
        self.stream: FeatureStream
        if one_launch.fits(engine, features, self._every):
            self.stream = OneLaunch(cuda.device(), engine, scale, joints, hz)
        else:
            self.stream = feature_stream(features, scale, joints, hz)  # type: ignore[arg-type]
        self.one_launch = isinstance(self.stream, OneLaunch)
        self._features = engine.bind("features")[0]
        self._mask = engine.bind("mask")[0]
        self._h, self._h_out = engine.bind("h"), engine.bind("h_out")
        self._out = [engine.bind(name) for name in OUTPUTS]
        self._keep()
        self.reset()
        if self.stream.impl == "cuda" or hasattr(engine, "enqueue"):
            self._warm_up(joints)

    def _warm_up(self, joints: int) -> None:
        """The first runs on a device load kernels and record a graph, which takes many ticks of the
        loop: not while the arm is active."""
        row = empty(joints, 1)[0]
        for _ in range(2):  # launched one by one, then as a graph
            self.stream.step(row)
            if not self.one_launch:
                self.engine.run()
        self.reset()

    def hold_to(
        self, what: str, made: MadeFrom, then: str, *, task: str = "", watched: bool = True
    ) -> None:
        """Refuse to go on with what was `made` from other telemetry than this: at once what shows
        already, and if it is `watched` from the first second of each episode what shows then.
        Arguments and errors as those of `made_from.check`."""
        made_from.check(what, made, self.given, then, task)
        watch = Watch(what, made, self.given, then)
        if watched and not watch.done:
            self._watches.append(watch)
            self._watching = True
            self._gaps.want(made.groups)

    def _keep(self) -> None:
        rows = np.zeros(1, pro_dtype())
        self.record: np.void = rows[0]
        self._seen = (rows["features"][0], self._features), (rows["mask"][0], self._mask)
        self._numbers = rows.view(np.uint8).data

    def reset(self) -> None:
        """Begin an episode: the features, the state of the head and the reward start afresh, until
        the head has run `step` returns neutral signals, and all groups have to come again."""
        self.stream.reset()
        self.stream.bind(self._features, self._mask)  # it writes where the head reads
        self._h[:] = 0.0
        self._phi: float | None = None
        self._unsettled = 0  # steps that are left until Phi begins anew
        self.updated = False
        self.reward_now = 0.0
        self.lost: tuple[str, ...] = ()
        for watch in self._watches:
            watch.begin()
        self._watching = bool(self._watches)  # whether a group has not come yet
        self._gaps.begin()
        self.signals = Signals(0.0, 1.0, 0.5, 0.0, 0.0, 0.0)

    def begin_line(self) -> None:
        """The next line of an order is due. A head that tells of the line then says how long that
        one takes, which is no loss: until it has settled there is no reward."""
        if self.info.about == "line":
            self._unsettled = self._settling

    def step(self, row: np.void, tick: int, missed: int = 0) -> Signals:
        """The signals after the telemetry row `row`, at the tick with the index `tick`, before
        which the loop has skipped `missed` ticks. The head runs every hz / head_hz ticks, and where
        that tick was skipped at the next one; on the ticks in between, its last signals are
        returned."""
        self.updated = tick % self._every <= missed
        self.reward_now, self.lost = 0.0, ()
        if not self.updated:
            self.stream.push(row)
            return self.signals
        self.stream.step(row)
        if self._watching:
            self._watch(tick)
        if self._watches:
            self.lost = self._gaps.step(self._mask, tick)
        if not self.one_launch:  # else the stream's step was the head's too
            self.engine.run()
            self._h[:] = self._h_out
        progress, stability, completion, risk, to_go = out = [x.item(0) for x in self._out]
        self.reward_now = reward = self._reward(stability, risk, to_go)
        self.signals = Signals(progress, stability, completion, risk, to_go, reward)
        _NUMBERS.pack_into(self._numbers, 0, row["t_ns"], *out, reward)
        for kept, seen in self._seen:
            kept[:] = seen
        return self.signals

    def _watch(self, tick: int) -> None:
        for watch in self._watches:
            watch.step(self._mask, tick)
        self._watching = not all(watch.done for watch in self._watches)

    def _reward(self, stability: float, risk: float, time_to_go: float) -> float:
        phi = -time_to_go
        before, self._phi = self._phi, phi
        if self._unsettled:
            self._unsettled -= 1
            before = None
        if before is None:
            return 0.0
        info = self.info
        shaped = info.gamma * phi - before
        return shaped - info.risk_weight * risk - info.stability_weight * (1 - stability)


def misfits(bundle: Bundle, given: Given, head_hz: float) -> Iterator[SpecMismatch]:
    """An error for each thing for which `ProOperator` refuses `bundle`, at `head_hz` [Hz] of its
    head and with the telemetry that is `given`."""
    info = bundle.manifest.pro
    if info is None:
        yield SpecMismatch(
            f"wanted a bundle of kind pro, found {bundle.manifest.kind}: {bundle.path}"
        )
        return
    if info.spec_hash != spec.spec_hash():
        yield SpecMismatch(
            f"bundle {bundle.path} wants PRO spec {info.spec_hash[:12]}, kernels provide "
            f"{spec.spec_hash()[:12]}: carry it over with `python -m headway.learn.pro.widen`, "
            "or train it again (`headway pro train`; the shipped one: `make models`)"
        )
    try:
        made_from.check(_trained_on(bundle), info, given, TRAIN)
    except SpecMismatch as e:
        yield e
    if abs(info.rate_hz - head_hz) > 1e-6:
        yield SpecMismatch(
            f"bundle {bundle.path} was trained at {info.rate_hz} Hz, the loop runs its head at "
            f"{head_hz} Hz: set loop.pro_hz = {info.rate_hz}"
        )
    try:
        _check_manifest(bundle)
    except SpecMismatch as e:
        yield e


def _trained_on(bundle: Bundle) -> str:
    return f"bundle {bundle.path} was trained on"


def _check_manifest(bundle: Bundle) -> None:
    """Check that the head has exactly the inputs that are filled and the outputs that are read
    here, with the same shapes and units. Raises SpecMismatch."""
    manifest, where = bundle.manifest, bundle.path
    info = manifest.pro
    assert info is not None
    n, m, hidden = len(spec.NAMES), len(spec.MASKS), info.hidden
    filled = {"features": (1, n), "mask": (1, m), "h": (1, hidden)}
    read = {**dict.fromkeys(OUTPUTS, (1, 1)), "h_out": (1, hidden)}
    for tensors, wanted, what in (
        (manifest.inputs, filled, "filled"),
        (manifest.outputs, read, "read"),
    ):
        found = {t.name: t for t in tensors}
        if set(found) != set(wanted):
            raise SpecMismatch(
                f"{where}: wanted a head whose {', '.join(wanted)} are {what}, found "
                f"{', '.join(found)}: train it again with `make models`"
            )
        for name, shape in wanted.items():
            _check_tensor(found[name], shape, str(where))
    if info.masks and info.masks != spec.MASKS:
        raise SpecMismatch(
            f"{where}: wanted pro.masks {', '.join(spec.MASKS)} in this order, found "
            f"{', '.join(info.masks)}: train it again with `make models`"
        )
    if len(info.tasks) > spec.N_TASKS:
        raise SpecMismatch(
            f"{where}: wanted at most {spec.N_TASKS} names in pro.tasks, found "
            f"{', '.join(info.tasks)}: train a head for fewer tasks"
        )
    for key, values in (("temperature", info.temperature), ("thresholds", info.thresholds)):
        unknown = [name for name in values if name not in OUTPUTS]
        if unknown:
            raise SpecMismatch(
                f"{where}: pro.{key} wants names of signals, found `{unknown[0]}`: "
                f"{suggest(unknown[0], OUTPUTS)}"
            )


def _check_tensor(tensor: Tensor, shape: tuple[int, ...], where: str) -> None:
    unit = "s" if tensor.name == "time_to_go" else "1"
    if tensor.shape != shape or tensor.dtype != "float32" or tensor.unit not in ("", unit):
        raise SpecMismatch(
            f"{where}: wanted `{tensor.name}` as float32 {shape} in {unit!r}, found {tensor.dtype} "
            f"{tensor.shape} in {tensor.unit!r}: export the head again"
        )
    if tensor.mean is not None:
        raise SpecMismatch(
            f"{where}: `{tensor.name}` has mean and std, which nobody applies to a PRO head: "
            "normalise inside the graph"
        )
