"""What a mapping says about an episode as a whole: its phases, events, outcome and session."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Literal

from headway import config
from headway.config import SecondsOrNone

BEFORE_S = 0.25  # how long before a failure its risk is to be told, where the mapping does not say


class Phase(config.Struct, frozen=True):
    """`starts` are the times at which the controller's phases 0, 1, ... began, in the unit of the
    stamps."""

    starts: str
    names: tuple[str, ...] = ()
    topic: str | None = None
    optional: bool = False


Word = str | float | bool


class Outcome(config.Struct, frozen=True):
    """How the task ended, by a word: the last value of `key`, or the name of the `folder` that the
    file lies in, or without these the column `outcome` of [labels]. One of `success` is a success,
    one of `failure` none; without `failure` any other word is none, with it any other word says
    nothing."""

    success: list[Word]
    failure: list[Word] | None = None
    key: str | None = None
    folder: bool = False
    topic: str | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if self.key is not None and self.folder:
            raise ValueError("[outcome] wants `key` or `folder = true`, found both")
        if self.key is None and (self.topic is not None or self.optional):
            raise ValueError("[outcome] `topic` and `optional` are about `key`: leave them out")

    def of(self, word: str) -> bool | None:
        """Whether an outcome called `word` is a success; None where nothing is said about it."""
        if any(_same(word, s) for s in self.success):
            return True
        known = self.failure is None or any(_same(word, f) for f in self.failure)
        return False if known else None


def _same(word: str, wanted: Word) -> bool:
    """Whether a word of the file is the value `wanted` of the mapping: files may write 1, 1.0 and
    true for the same."""
    try:
        return float(word) == float(wanted)
    except ValueError:
        return word.strip().lower() == str(wanted).lower()


class Events(config.Struct, frozen=True):
    """Either `times` with `labels`, or `text`: words over time, where each new word is an event.

    `failures`, `retries` and `ignore` say what the words mean, for training and judging PRO: what
    went wrong, what was begun anew, and what is neither although the controller reacted to it (a
    false alarm). Each is a word or a pattern such as `*_collision`, whatever its case; a word that
    several match counts as ignored before it counts as a retry, and as a retry before a failure.
    From `before_s` [s] before a failure on PRO's risk is to tell it: little where sensors show it
    only when it happens, more where it announces itself.
    From `end_after_s` [s] after the first failure or ignored event on, an episode tells what the
    controller did about it, and no longer what led to it: nothing from there on is learned or
    judged.
    """

    times: str | None = None
    labels: str | None = None
    text: str | None = None
    topic: str | None = None
    optional: bool = False
    failures: tuple[str, ...] = ()
    retries: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    before_s: SecondsOrNone = BEFORE_S
    end_after_s: SecondsOrNone | None = None

    def kind_of(self, word: str) -> Literal["failure", "retry", "ignore", ""]:
        """What the event `word` means, "" for one that nothing is said about."""
        for kind, patterns in (
            ("ignore", self.ignore),
            ("retry", self.retries),
            ("failure", self.failures),
        ):
            if any(fnmatchcase(word.strip().lower(), p.lower()) for p in patterns):
                return kind  # type: ignore[return-value]
        return ""


class Session(config.Struct, frozen=True):
    """Which episodes belong together, as those of one day, cell or operator: by the first word of
    `key`, by the name of the `folder` that the file lies in, or by what a regular expression with
    one group finds in the file's path (`pattern`) or, beside `key`, in that word. A head is then
    judged on other sessions than it was taught."""

    key: str | None = None
    topic: str | None = None
    folder: bool = False
    pattern: str | None = None

    def __post_init__(self) -> None:
        given = [self.key is not None, self.folder, self.pattern is not None]
        if sum(given) != 1 and not (sum(given) == 2 and not self.folder):
            raise ValueError("[session] wants one of `key`, `folder = true` and `pattern`")
        if self.pattern is None:
            return
        try:
            groups = re.compile(self.pattern).groups
        except re.error as e:
            raise ValueError(f"session.pattern is no regular expression: {e}") from None
        if groups != 1:
            raise ValueError(
                f"session.pattern wants one group in parentheses, found {groups}: as in "
                "'(20[0-9]{6})'"
            )


class Labels(config.Struct, frozen=True):
    """A table of what is known of episodes whose files do not say it, see `labelfile`: `file` is
    its path, relative to the mapping file."""

    file: str
