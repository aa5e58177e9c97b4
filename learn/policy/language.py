"""How well a policy understands language: on text alone, and in rollouts.

    python -m headway.learn.policy.language --bundle models/policy

prints, on text alone, how many of each scene's sentences are taken for the command that they mean,
and how many sentences that are no command are refused; for sentences that were trained on, for
those that were held out, and for those of `unseen_sentences.toml`. What is refused never moves the
robot; what is taken for another command does, so both are counted. A sentence of the last two that
was learned from, word by word, is no test: it is left out. Those are the lists to learn from, and
what a training of `--steps` with `--seed` draws from them at random.

For rollouts: run a workflow with `scene_config.phrasing` "train" and "held_out" on the same seeds
and `compare` the results; and run it with the policy `Misled`, which is told something else than
the station says: then it has to fail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from headway.bundle import Bundle, load
from headway.config import read_toml
from headway.drivers.sim.phrases import Command
from headway.edge.control.result import Result, success_of
from headway.edge.policy.instructions import Encoder, open_encoder
from headway.edge.policy.policy import Policy
from headway.errors import Refused, SpecMismatch
from headway.instructions import EmbeddingSpec
from headway.learn.policy.corpus import Corpus, Spoken, corpus_of, plain_words
from headway.tools.statistics import wilson
from headway.types import Chunk, Observation

READS_ALIKE = 0.2  # by which embeddings of a command, about 1 in size, may differ for one head
UNSEEN = Path(__file__).with_name("unseen_sentences.toml")


@dataclass(frozen=True)
class Count:
    """`right` of `n` sentences were taken as they should be, and the others were `refused` or, if
    they are commands, taken for another one."""

    n: int
    right: int
    refused: int

    def __str__(self) -> str:
        if not self.n:
            return "no sentences"
        low, high = wilson(self.right, self.n)
        return (
            f"{self.right}/{self.n} = {self.right / self.n:.1%} right ({low:.1%} to {high:.1%}), "
            f"{self.refused} refused"
        )


@dataclass(frozen=True)
class Understood:
    """What a policy understands, by the split of the sentences: commands, and what is none.
    `wrong` lists the sentences that were not taken as they should be, with what they were taken
    for, "" for refused."""

    commands: dict[str, Count]
    refused: dict[str, Count]
    wrong: tuple[tuple[str, str], ...]


def plain_embeddings(
    made: Bundle, spec: EmbeddingSpec, commands: Sequence[Command]
) -> NDArray[np.float32]:
    """What the text encoder `spec` of the policy `made` makes of the plain sentence of each of
    `commands` (commands, e). Raises Refused where it refuses one."""
    with closing(open_encoder(spec, made.path, made.manifest.name)) as encoder:
        found = [np.array(encoder.encode(c.plain)[spec.input]).ravel() for c in commands]
    return np.stack(found).astype(np.float32)


class Listener:
    """Asks the text encoder of the policy in the folder `bundle` which of `commands` it takes a
    sentence for. Raises SpecMismatch for a bundle without a text encoder that can refuse."""

    def __init__(self, bundle: Path, commands: Sequence[Command]) -> None:
        manifest = load(bundle).manifest
        spec = manifest.policy.instruction if manifest.policy is not None else None
        if getattr(spec, "refused", None) is None or spec is None:
            raise SpecMismatch(
                f"wanted a policy with a text encoder that can refuse, found {bundle}: export one "
                "with headway.learn.policy.train"
            )
        self._encoder: Encoder = open_encoder(spec, bundle, manifest.name)
        self._input = spec.inputs[0]
        self._commands = tuple(commands)
        known = [self._embedding(command.plain) for command in commands]
        self._known = np.array([np.zeros_like(known[0]) if k is None else k for k in known])

    def hear(self, text: str) -> Command | None:
        """The command that `text` is taken for: the one whose plain sentence has the nearest
        embedding. None: the text is refused."""
        found = self._embedding(text)
        if found is None:
            return None
        return self._commands[int(np.argmin(((self._known - found) ** 2).sum(axis=1)))]

    def _embedding(self, text: str) -> NDArray[np.float32] | None:
        try:
            return np.array(self._encoder.encode(text)[self._input]).ravel()
        except Refused:
            return None

    def close(self) -> None:
        """Free the encoder."""
        self._encoder.close()


@dataclass(frozen=True)
class Said:
    """Sentences of a scene: `commands` with what they mean, and `nothing`, which are no command."""

    commands: tuple[tuple[str, Command], ...]
    nothing: tuple[str, ...]


def said(scene: Spoken) -> dict[str, Said]:
    """The sentences of `scene` by split: those that were trained on, those that were held out, and
    "unseen", those of UNSEEN, whose author had seen none of the others."""
    found = {
        "train": Said(
            tuple((text, c) for c in scene.commands for text in c.texts("train")), scene.refused
        ),
        "held_out": Said(
            tuple((text, c) for c in scene.commands for text in c.held_out),
            scene.refused_held_out,
        ),
    }
    theirs = read_toml(UNSEEN).get(scene.name)
    if theirs is not None:
        plain = {command.plain: command for command in scene.commands}
        found["unseen"] = Said(
            tuple((t, plain[meant]) for meant, texts in theirs["commands"].items() for t in texts),
            tuple(theirs["not_commands"]),
        )
    return found


def judged_by(scene: Spoken, corpus: Corpus, met: Collection[str] = frozenset()) -> dict[str, Said]:
    """As `said`, without what a policy that learned `corpus` has met word by word: sentences that
    are held out or unseen in this scene, and to be learned from in it or in another one, or among
    those that were `met` in its training (as `plain_words`)."""
    whole = (frame for frame in corpus.frames.texts() if "{" not in frame)
    written = (*corpus.refused, *(t for c in corpus.commands for t in c.texts("train")), *whole)
    learned = {" ".join(plain_words(text)) for text in written} | set(met)

    def new(text: str) -> bool:
        return " ".join(plain_words(text)) not in learned

    return {
        split: sentences
        if split == "train"
        else Said(
            tuple((text, c) for text, c in sentences.commands if new(text)),
            tuple(text for text in sentences.nothing if new(text)),
        )
        for split, sentences in said(scene).items()
    }


def understood(
    listener: Listener,
    scene: Spoken,
    corpus: Corpus | None = None,
    met: Collection[str] = frozenset(),
) -> Understood:
    """What the policy of `listener` makes of all sentences of `scene`, whose commands are among
    those that it tells apart. It has learned the sentences of `corpus`, by default those of the
    scene alone, and those that were `met`."""
    commands, refused, wrong = {}, {}, []
    for split, sentences in judged_by(scene, corpus or Corpus((scene,)), met).items():
        taken = [(text, command, listener.hear(text)) for text, command in sentences.commands]
        right = sum(heard == command for _, command, heard in taken)
        commands[split] = Count(len(taken), right, sum(heard is None for *_, heard in taken))
        wrong += [(text, h.plain if h else "") for text, command, h in taken if h != command]
        others = [(text, listener.hear(text)) for text in sentences.nothing if text]
        silent = sum(heard is None for _, heard in others)
        refused[split] = Count(len(others), silent, silent)
        wrong += [(text, heard.plain) for text, heard in others if heard]
    return Understood(commands, refused, tuple(wrong))


@dataclass(frozen=True)
class Compared:
    """Success rates of the same orders in two conditions, and their `ratio` (second / first) with
    its bootstrap interval of 95 %, paired by order."""

    first: float
    second: float
    ratio: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return (
            f"{self.first:.1%} and {self.second:.1%} of {self.n} orders: ratio {self.ratio:.2f} "
            f"({self.low:.2f} to {self.high:.2f})"
        )


def compare(first: Iterable[Result], second: Iterable[Result], seed: int = 0) -> Compared:
    """Compare the results of the same orders in two conditions. Orders without an outcome in one of
    them do not count. Raises ValueError where none is left, or none succeeds in the first."""
    pairs = [
        (bool(a.success), bool(b.success))
        for a, b in zip(first, second, strict=True)
        if success_of(a.end, a.success) is not None and success_of(b.end, b.success) is not None
    ]
    good = np.array(pairs, float).reshape(-1, 2)
    if not good[:, 0].any():
        raise ValueError(f"wanted orders that succeed in the first condition, found 0/{len(good)}")
    rng = np.random.default_rng(seed)
    drawn = good[rng.integers(len(good), size=(2000, len(good)))].mean(axis=1)
    ratios = drawn[:, 1] / np.maximum(drawn[:, 0], 1.0 / len(good))
    a, b = good.mean(axis=0).tolist()
    low, high = np.quantile(ratios, [0.025, 0.975]).tolist()
    return Compared(a, b, b / a, low, high, len(good))


class Misled:
    """`policy`, which hears another one of `commands` than is said: the next one in their order
    whose plain sentence differs in the fewest places. So "scan the grey bag" becomes "scan the
    green bag", and what is misheard is just what tells the two apart."""

    def __init__(self, policy: Policy, commands: Sequence[Command]) -> None:
        self._policy, self._commands = policy, Corpus((Spoken("", tuple(commands), ()),))
        self.name, self.actions, self.needs = policy.name, policy.actions, policy.needs
        self.cameras, self.state_names = policy.cameras, policy.state_names
        self.check_instruction, self.reset = policy.check_instruction, policy.reset

    def infer(self, obs: Observation) -> Chunk:
        """The chunk of the policy for the other command. A text that is no command is passed on."""
        meant = self._commands.index(obs.instruction)
        text = obs.instruction
        if meant is not None:
            text = self._other(meant).plain
        return self._policy.infer(structs.replace(obs, instruction=text))

    def _other(self, meant: int) -> Command:
        commands = self._commands.commands
        after = [commands[(meant + 1 + i) % len(commands)] for i in range(len(commands) - 1)]
        said = plain_words(commands[meant].plain)

        def places(other: Command) -> int:
            heard = plain_words(other.plain)
            apart = sum(a != b for a, b in zip(said, heard, strict=False))
            return apart + abs(len(said) - len(heard))

        return min(after, key=places)


def main(
    bundle: Path,
    scenes: tuple[str, ...] = ("pick_place", "shoebox", "returns"),
    wrong: bool = False,
    steps: int = 3000,
    seed: int = 0,
) -> None:
    """Print what a policy understands of the sentences of each of `scenes`, whose commands all
    compete for each sentence.

    Args:
        bundle: folder of the policy.
        scenes: those that its text encoder was taught.
        wrong: print the sentences too that it does not take as it should.
        steps: of that training; 0: do not look for what it has drawn.
        seed: of that training.
    """
    from headway.learn.policy.text_training import met

    corpus = corpus_of(scenes)
    drawn = met(corpus, steps=steps, seed=seed)
    listener = Listener(bundle, corpus.commands)
    for scene in corpus.scenes:
        found = understood(listener, scene, corpus, drawn)
        print(scene.name)
        for split in found.commands:
            print(f"  {split:8}  commands     {found.commands[split]}")
            print(f"  {split:8}  no commands  {found.refused[split]}")
        for text, heard in found.wrong if wrong else ():
            print(f"    {text!r} -> {heard or 'refused'}")
    listener.close()


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
