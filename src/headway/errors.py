"""Every error that Headway raises on purpose.

HeadwayError
├── ConfigError            a TOML file that does not fit: file, key, nearest valid key
├── BundleError            a model folder that is missing, incomplete or altered
│   └── SpecMismatch       a bundle made for another feature spec, shape or rate
├── RecordingError         a recording that cannot be written or read
│   └── Truncated          ... readable up to a point; carries what was read
├── DeviceError            a device that cannot be opened or answered wrongly
│   ├── Busy               ... because another process holds it
│   ├── Stale              no sample young enough; never waits for one
│   ├── BadMessage         a message of another program: malformed, too large or unsafe
│   └── Missing            a package or system library that the device needs
├── PolicyError            a policy that failed to answer, or whose process is gone
├── CommandRejected        a command that the guard did not let through
└── OutputError            what is printed cannot be written: a full disk, a closed terminal

Each message says what was wanted, what was found and what to do next. `exit_code` is what the
command line returns for it; `headway run` also returns 1 when an episode ended in a fault or in a
protective stop, which its recording explains.
"""

from __future__ import annotations


class HeadwayError(Exception):
    """Base of all errors raised on purpose; the CLI prints these without a traceback."""

    exit_code = 1


class ConfigError(HeadwayError):
    exit_code = 2


class BundleError(HeadwayError):
    exit_code = 3


class SpecMismatch(BundleError):
    pass


class RecordingError(HeadwayError):
    exit_code = 4


class Truncated(RecordingError):
    """A recording that ends in the middle; everything before that point was read."""


class DeviceError(HeadwayError):
    exit_code = 5


class Busy(DeviceError):
    pass


class Stale(DeviceError):
    pass


class BadMessage(DeviceError):
    pass


class Missing(DeviceError):
    pass


class PolicyError(HeadwayError):
    exit_code = 7


class CommandRejected(HeadwayError):
    exit_code = 6


class OutputError(HeadwayError):
    exit_code = 8
