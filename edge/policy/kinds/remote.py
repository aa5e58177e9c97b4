"""A policy on another computer, asked through openpi's WebSocket protocol."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from headway import config
from headway.config import Seconds
from headway.edge.policy.remote import MAX_BYTES
from headway.edge.policy.remote.client import RemotePolicy
from headway.edge.policy.remote.layout import Layout
from headway.edge.policy.remote.memory import keep_memory

PATHS: tuple[str, ...] = ()  # no key is a path


class Config(config.Struct, frozen=True):
    """Keys of `[policy]` for the kind `remote`. `layout` is for servers that do not describe
    themselves; the description of one that does is used instead."""

    url: str  # ws://HOST:PORT or wss://HOST:PORT
    timeout_s: Seconds = 2.0  # of an inference, with the transfer in both directions
    connect_s: Seconds = 5.0  # of connecting
    max_bytes: Annotated[int, Meta(ge=1, le=1 << 31)] = MAX_BYTES  # of a message
    layout: Layout | None = None


def patience_s(cfg: Config) -> float:
    """How long an inference may take before the policy counts as hung [s]: the connection's own
    timeouts come first, since their errors say why."""
    return 2 * cfg.timeout_s + cfg.connect_s + 1.0


def open_policy(
    url: str,
    layout: dict[str, Any] | None = None,
    timeout_s: float = 2.0,
    connect_s: float = 5.0,
    max_bytes: int = MAX_BYTES,
) -> RemotePolicy:
    """Connect to the policy server at `url` (ws:// or wss://); every argument is plain data.

    `layout`: the fields of `headway.edge.policy.remote.layout.Layout`; needed when the server does
    not describe itself, not used when it does. For the rest see `RemotePolicy`. Raises ConfigError,
    SpecMismatch, and DeviceError when no policy server answers.
    """
    keep_memory()
    known = config.decode(layout, Layout, "[policy.layout]") if layout is not None else None
    return RemotePolicy(url, known, timeout_s=timeout_s, connect_s=connect_s, max_bytes=max_bytes)
