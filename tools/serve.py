"""`headway serve`: serve a policy bundle to other computers."""

from __future__ import annotations

import ipaddress
import os
import signal
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape

from headway.edge.policy.kinds.bundle import open_policy
from headway.edge.policy.remote.layout import of_bundle
from headway.edge.policy.remote.memory import keep_memory
from headway.edge.policy.remote.server import PolicyServer
from headway.errors import ConfigError


def serve_command(
    bundle: Path,
    host: str,
    port: int,
    engine: str,
    max_clients: int,
    candidates: int = 1,
    critic: Path | None = None,
    trust: Path | None = None,
    noise: float = 1.0,
) -> int:
    """Serve the policy in the folder `bundle` until SIGINT or SIGTERM; a second signal ends the
    process at once. `headway.cli.serve` explains the arguments. Returns the exit code. Raises
    ConfigError and BundleError, and what the engine and the server raise when they cannot start."""
    if not 0.0 <= noise <= 1.0:  # NaN neither
        raise ConfigError(f"wanted --noise from 0 to 1, found {noise}: 1 is all of it")
    if candidates < 1:
        raise ConfigError(f"wanted --candidates of 1 or more, found {candidates}")
    console = Console()
    policy = open_policy(
        str(bundle), engine, candidates, str(critic or ""), trust=str(trust or ""), noise=noise
    )
    layout = of_bundle(policy.bundle.manifest)
    ended, end = os.pipe()
    asked = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        asked = True
        os.write(end, b"x")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        keep_memory()
        server = PolicyServer(
            policy, layout, host=host, port=port, max_clients=max_clients,
            say=lambda line: console.print(escape(line), highlight=False),
        )  # fmt: skip
        with server:
            console.print(f"policy {policy.name} on {policy.detail}")
            if not is_loopback(host):
                console.print(
                    "[yellow]there is no authentication and no encryption: whoever reaches "
                    f"{escape(host)} can ask this policy[/yellow]"
                )
            shown = f"[{host}]" if ":" in host else host
            console.print(escape(f"serving ws://{shown}:{server.port}, /healthz; Ctrl-C stops"))
            os.read(ended, 1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(ended)
        os.close(end)
        policy.close()
    console.print("stopped")
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
