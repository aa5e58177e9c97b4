"""Policies that make their chunks from noise: the noise of each decision, several chunks from one
pass of the model, and a critic that chooses among them.

One observation gives one code, whatever the noise, so only the part of the model that makes chunks
works once per candidate. The critic is given the code and all chunks, in the units of the policy's
own head, and scores them in one pass, too.

The random numbers of a decision follow from the seed of its episode and its number in it alone: a
run in lock-step that is repeated decides the same, and so does a policy whose process was started
again. The first candidate is the same however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.bundle import Bundle
from headway.edge.engines.engine import Engine, open_bundle
from headway.edge.engines.options import DEFAULT, EngineOptions
from headway.errors import PolicyError, SpecMismatch, refuse
from headway.types import Observation

_FLAT = 1e-9  # scores that spread less than this are equal: each of them is as likely


class Thought(NamedTuple):
    """What a policy thought before it answered with a chunk, for whoever records training data:
    copies of the `code` (c,) and of each candidate's `latent` (n, a), the critic's `scores` (n,),
    NaN without a critic, and the index `chosen` of the chunk that was answered."""

    code: NDArray[np.float32]
    latent: NDArray[np.float32]
    scores: NDArray[np.float32]
    chosen: int


class Judge:
    """The critic of `bundle`, whose model runs in `engine`, for the policy of `policy`. Raises
    SpecMismatch for a bundle of another kind, and for a critic that was made for other eyes or
    another size of code or chunk than the policy's."""

    def __init__(self, bundle: Bundle, engine: Engine, policy: Bundle) -> None:
        refuse(misfits(bundle, policy))
        manifest = bundle.manifest
        info = manifest.critic
        assert info is not None
        self.name, self.sha256 = manifest.name, manifest.files[manifest.onnx].sha256
        self.engine = engine
        self._code, self._latent = engine.bind(info.code), engine.bind(info.latent)
        self._scores = engine.bind(info.score)

    def scores(self, code: NDArray[np.float32], latent: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores (n,) of the chunks `latent` (n, a) for what was seen, `code` (1, c), in an
        array that the next call overwrites. Raises PolicyError for one that is no number."""
        self._code[...], self._latent[...] = code, latent
        self.engine.run()
        if not np.isfinite(self._scores).all():
            raise PolicyError(
                f"critic {self.name} gave a score that is no number: it was given a code up to "
                f"{np.abs(code).max():.3g} and a chunk up to {np.abs(latent).max():.3g}"
            )
        return self._scores


def misfits(critic: Bundle, policy: Bundle) -> Iterator[SpecMismatch]:
    """An error for each thing for which `Judge` refuses `critic` beside `policy`."""
    manifest, judged = critic.manifest, policy.manifest
    info = manifest.critic
    noise = judged.policy.noise if judged.policy is not None else None
    if info is None:
        yield _no_critic(critic)
        return
    if noise is None:
        yield SpecMismatch(
            f"critic {manifest.name} judges chunks that are made from noise, and policy "
            f"{judged.name} makes none from it: leave `critic` out"
        )
        return
    if not noise.thought:
        yield SpecMismatch(
            f"policy {judged.name} does not give what a critic judges by (policy.noise has no "
            f"`code`): leave the critic {manifest.name} out"
        )
        return
    if info.eyes != judged.eyes:
        yield SpecMismatch(
            f"critic {manifest.name} was trained for the eyes {info.eyes[:12]} "
            f"({info.policy or 'of a policy without a name'}), policy {judged.name} has "
            f"{judged.eyes[:12]}: name the critic that was trained with this policy"
        )
    sizes = {t.name: t.shape[1:] for t in (*judged.inputs, *judged.outputs)}
    for t in manifest.inputs:
        name = noise.code if t.name == info.code else noise.latent
        if t.shape[1:] != sizes[name]:
            yield SpecMismatch(
                f"critic {manifest.name} wants {t.shape[1]} numbers as `{t.name}`, policy "
                f"{judged.name} gives {sizes[name][0]}: name the critic that was trained with "
                "this policy"
            )


class Candidates:
    """The chunks that a policy of `bundle` makes from noise at a time, in the buffers of `engine`:
    `count` of them. Call `draw` before the model runs and `choose` after it. `judge` is None for a
    policy without a critic, which makes one chunk at a time.

    `temperature` 0 takes the chunk with the highest score. Above, each is taken with a probability
    in proportion to exp(z / temperature), where z is its score minus the mean of the scores, over
    their standard deviation: so that other chunks than the best are tried, too.

    `noise` 1 is the noise that the policy was trained with. With less of it chunks are nearer to
    the one from zero noise, and with 0 the same observation always gives that chunk."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        judge: Judge | None,
        temperature: float,
        noise: float = 1.0,
    ) -> None:
        info = bundle.manifest.policy
        assert info is not None
        assert info.noise is not None
        self._noise = engine.bind(info.noise.input)
        # () for a policy that does not tell its thoughts
        self._told = tuple(engine.bind(name) for name in info.noise.thought)
        self.count = len(self._noise)
        self._judge, self._temperature, self._strength = judge, temperature, noise
        self._rng = np.random.default_rng(0)
        self._unknown: NDArray[np.float32] = np.full(self.count, np.nan, np.float32)
        parts = [f"{self.count} candidates a chunk"] if self.count > 1 or judge is not None else []
        parts += [f"judged by {judge.name}"] if judge is not None else []
        parts += [f"{noise:g} of its noise"] if noise != 1.0 else []
        self.detail = ", ".join(parts)

    def draw(self, obs: Observation) -> None:
        """Fill the model's noise for the decision about `obs`."""
        self._rng = np.random.default_rng((obs.seed, obs.number))
        self._rng.standard_normal(out=self._noise, dtype=np.float32)
        self._noise *= self._strength

    def choose(self) -> Thought | None:
        """What the model made of the noise, and which chunk is taken; None for a policy without a
        code, which makes one chunk. Raises PolicyError where the critic fails."""
        if not self._told:
            return None
        code, latent = self._told
        scores: NDArray[np.float32] = self._unknown
        if self._judge is not None:
            scores = self._judge.scores(code, latent).copy()
        chosen = 0 if self.count == 1 else self._taken(scores)
        return Thought(code[0].copy(), latent.copy(), scores, chosen)

    def _taken(self, scores: NDArray[np.float32]) -> int:
        if self._temperature == 0.0:
            return int(np.argmax(scores))
        z = scores.astype(np.float64) - scores.mean(dtype=np.float64)
        spread = z.std()
        z = z / spread if spread > _FLAT else np.zeros(self.count)
        odds = np.exp((z - z.max()) / self._temperature)
        return int(self._rng.choice(self.count, p=odds / odds.sum()))


def open_judge(
    critic: Bundle, policy: Bundle, engine: str, candidates: int, options: EngineOptions = DEFAULT
) -> Judge:
    """The critic in the bundle `critic` for `candidates` chunks at a time of the one in `policy`,
    with an engine of the kind `engine` and its `options`. Raises what `open_bundle` and `Judge`
    raise."""
    if critic.manifest.critic is None:  # such a bundle may not even open with several candidates
        raise _no_critic(critic)
    opened = open_bundle(critic, engine, candidates, options)
    try:
        return Judge(critic, opened, policy)
    except SpecMismatch:
        opened.close()
        raise


def _no_critic(found: Bundle) -> SpecMismatch:
    return SpecMismatch(
        f"wanted a bundle of kind critic, found {found.manifest.kind}: {found.path}"
    )
