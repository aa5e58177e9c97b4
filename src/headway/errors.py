"""Every error that Headway raises on purpose.

HeadwayError
├── ConfigError            a configuration that does not fit; names the file and the key
├── BundleError            a model folder that is missing, incomplete or altered
│   ├── SpecMismatch       a bundle made for another feature spec, shape or rate
│   └── Untrusted          a bundle that no trusted key signed, or a place that others can write
├── RecordingError         a recording that cannot be written or read
│   └── Truncated          a recording that ends early
├── DeviceError            a device that cannot be opened, or that failed
│   ├── Busy               a device that another process holds
│   ├── Stale              a device without a sample that is new enough
│   ├── ArmStopped         an arm that its own controller has stopped, and that takes no command
│   ├── Unstable           a simulated world whose physics blew up
│   ├── BadMessage         a message from another program that is malformed, too large or unsafe
│   └── Missing            a package or system library that the device needs
├── PolicyError            a policy that did not answer, or whose worker is gone
│   └── Refused            an instruction that a policy takes for nothing that it can carry out;
│                          also a SpecMismatch, as other instructions that it was not taught
├── CommandRejected        a command that the guard did not let through
└── OutputError            output that cannot be written: a full disk, a closed terminal

Each message says what was wanted, what was found and what to do next. `exit_code` is what the
command line returns for the error. `headway run` also returns 1 when an episode ended in a fault or
a protective stop, where its recording says why, and when a report could not be written.
"""

from __future__ import annotations

import pathlib
from collections import abc


class HeadwayError(Exception):
    """Base of all errors raised on purpose. The command line prints them without a traceback."""

    exit_code = 1


class ConfigError(HeadwayError):
    """A configuration that does not fit. The message names the file and the key."""

    exit_code = 2


class BundleError(HeadwayError):
    """A model folder that is missing, incomplete or altered, or a model that does not run."""

    exit_code = 3


class SpecMismatch(BundleError):
    """A bundle that was made for another feature spec, shape or rate."""


class Untrusted(BundleError):
    """A bundle that no trusted key vouches for, or a file in a place that other users can write."""


class RecordingError(HeadwayError):
    """A recording that cannot be written or read."""

    exit_code = 4


class Truncated(RecordingError):
    """A recording that ends early; everything before that point can be read."""


class DeviceError(HeadwayError):
    """A device that cannot be opened, that failed, or that does not take a command."""

    exit_code = 5


class Busy(DeviceError):
    """A device, port or file that another process holds."""


class ArmStopped(DeviceError):
    """An arm that its own controller has stopped (a protective stop, a reflex, an emergency stop).
    It takes no command until somebody has looked and `activate` has been called."""


class Stale(DeviceError):
    """A device without a sample that is new enough."""


class Unstable(DeviceError):
    """A simulated world whose physics blew up: what it says from then on means nothing."""


class BadMessage(DeviceError):
    """A message from another program that is malformed, too large or unsafe."""


class Missing(DeviceError):
    """A package, system library or compiled module that is needed and not installed."""


class PolicyError(HeadwayError):
    """A policy that failed or did not answer, or whose process is gone."""

    exit_code = 7


class Refused(SpecMismatch, PolicyError):
    """An instruction that a policy takes for nothing that it can carry out. When a run begins with
    it, the run is refused; during an episode the arm holds until there is another one."""

    exit_code = SpecMismatch.exit_code


class CommandRejected(HeadwayError):
    """A command that the guard cannot let through, because it has no valid state of the arm to
    start from; also a state from which no stop can be planned."""

    exit_code = 6


class OutputError(HeadwayError):
    """The standard output cannot be written: a full disk, a closed terminal."""

    exit_code = 8


def refuse(misfits: abc.Iterable[HeadwayError]) -> None:
    """Raises the first of `misfits`, if there is one: a run is refused for the first thing that
    does not fit, `headway check` lists them all."""
    for misfit in misfits:
        raise misfit


def of_file(path: pathlib.Path, e: Exception) -> str:
    """What `e` says about the file at `path`, which it may have named already."""
    return str(e) if str(path) in str(e) else f"{path}: {e}"
