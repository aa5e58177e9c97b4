"""Learning from recordings, those of real robots included: demonstrations, rollouts of the policy,
and those in which somebody took over, in any mixture. Which a chunk is says its recording.

Each recording is looked at once with the policy's eyes; what came of that is kept, so that the same
command with more recordings only looks at the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np

from headway.edge.policy.kinds.bundle import open_policy
from headway.errors import ConfigError, HeadwayError, OutputError, of_file
from headway.kernels import spec
from headway.learn.execution import critic, extraction, store, values
from headway.learn.execution.base import Base
from headway.learn.execution.lessons import Lesson, lesson, of_all
from headway.learn.execution.process_bundle import save_head
from headway.learn.execution.settings import Learning
from headway.learn.files import first_of_each
from headway.learn.rollout import POLICY
from headway.learn.rollout_recorded import of_recording
from headway.tools.flags import beside
from headway.tools.score.identity import sha256_of

Tell = Callable[[str, float], object]  # what is done, and the share of it (0..1)


@dataclass(frozen=True)
class Found:
    """The lessons in recordings, and why files were left out; `copies` of others, which nobody
    learns from twice, are counted alone."""

    lessons: list[Lesson]
    left_out: list[str]
    copies: int = 0


def look(paths: Sequence[Path], base: Base, kept: Path, tell: Tell) -> Found:
    """The lessons in the recordings `paths`, as the eyes of `base` see them; the folder `kept` has
    those that were looked at before. A recording that cannot be read, or has no decisions that can
    be learned from, is left out. So is a copy of another one: a head would be judged by what it was
    taught. Raises OutputError where a lesson cannot be written into `kept`."""
    lessons, left_out = [], []
    digests = [sha256_of(path) for path in paths]
    once = first_of_each(digests)
    policy = open_policy(str(base.folder))
    try:
        for n, i in enumerate(once):
            path, digest = paths[i], digests[i]
            tell("looking at recordings", n / len(once))
            try:
                name = _name(path, digest, base)
                if (kept / name).exists():
                    found = store.load_lesson(kept / name)
                else:
                    found = lesson(of_recording(path, policy, to_latent=base.to_latent))
                    store.save_lesson(kept / name, found)
                lessons.append(replace(found, sha256=digest))
            except OutputError:  # a full disk is not about this recording
                raise
            except HeadwayError as e:
                left_out.append(of_file(path, e))
    finally:
        policy.close()
    return Found(lessons, left_out, len(paths) - len(once))


def _name(path: Path, digest: str, base: Base) -> str:
    """The name of the file that keeps the lesson in the recording `path`. It follows from the
    recording's content, of which `digest` is the SHA-256, from its flags, the eyes, and the
    definition of PRO's features."""
    made = sha256(f"{digest} {base.eyes} {spec.spec_hash()}".encode())
    if beside(path).exists():
        made.update(beside(path).read_bytes())
    return f"{made.hexdigest()[:32]}.npz"


def improve(
    lessons: Sequence[Lesson], base: Base, how: Learning, out: Path, seed: int, tell: Tell
) -> None:
    """Teach a policy by `lessons`, and write it to the folder `out` as `policy`, with its `critic`
    and PRO's head `pro` where the arm has them. Raises ConfigError where the lessons do not do for
    the arm, BundleError."""
    arm, note = how.arm, f"{len(lessons)} recordings"
    source = of_all(lessons, "source")
    tell("cloning", 0.0)
    head = extraction.improved(
        base.head(seed, how.clone.width), base.loss, lessons,
        extraction.weights(lessons, None, how.mix), how.clone, seed,
        lambda share: tell("cloning", share),
    )  # fmt: skip
    advantage = None
    if arm.credit != "demonstrations":
        if not (source == POLICY).any():
            raise ConfigError(
                "wanted recordings in which the policy drove, found demonstrations and corrections "
                "alone: there is nothing of its own to learn from; take the arm B0"
            )
        tell("judging decisions", 0.0)
        judged = values.judge(lessons, arm.credit, how, seed)
        advantage = judged.advantage
        if judged.heads and arm.credit == "pro":
            save_head(out / "pro", lessons, judged.heads, how.process, seed, note)
        if arm.candidates > 1:
            tell("critic", 0.0)
            base.save_critic(
                critic.teach(lessons, advantage, how.critic, seed), out / "critic", note
            )
    weight = extraction.weights(lessons, advantage, how.mix)
    better = extraction.improved(
        head, base.loss, lessons, weight, how.head, seed, lambda share: tell("head", share)
    )
    base.save(better, out / "policy", note)


class Counts(msgspec.Struct, frozen=True):
    """What lessons hold."""

    episodes: int
    seconds: float
    known: int  # episodes with an outcome
    right: int  # of them
    lines: int  # that were closed
    failures: int
    decisions: tuple[int, int, int]  # of the policy, of who took over, of demonstrators

    @classmethod
    def of(cls, lessons: Sequence[Lesson]) -> Counts:
        source = np.bincount(of_all(lessons, "source"), minlength=3)
        outcomes = [x.success for x in lessons if x.success is not None]
        return cls(
            len(lessons), sum(x.end_s for x in lessons), len(outcomes), sum(outcomes),
            sum(len(x.happened.closed) for x in lessons),
            sum(len(x.happened.failures) for x in lessons),
            (int(source[0]), int(source[1]), int(source[2])),
        )  # fmt: skip
