"""Run one proxy as a process of its own.

    python -m headway.hil.proxy TABLE [--allow-hardware]

TABLE is a JSON object with the keys of `pump.ProxyConfig`, or the path of a TOML file with them.
The first line of its standard output is a JSON object: `uri` says where the host finds the device.
Each line of its standard input is a JSON object of one fault, which begins then. It ends on
SIGTERM, and when its standard input ends; then it prints how many chunks each kind of fault has
hit.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import Any

from headway import config
from headway.errors import HeadwayError
from headway.hil.proxy.faults import Fault
from headway.hil.proxy.pump import Proxy, ProxyConfig


def main(argv: list[str]) -> int:
    """Run the proxy that `argv` describes until it is told to end. Returns the exit code."""
    allowed = "--allow-hardware" in argv
    (text,) = (a for a in argv if a != "--allow-hardware")
    table: dict[str, Any] = json.loads(text) if text.startswith("{") else config.read_toml(text)
    if allowed:
        table["allow_hardware"] = True
    cfg = config.decode(table, ProxyConfig, "proxy")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    proxy = Proxy(cfg)
    try:
        print(json.dumps({"uri": proxy.open()}), flush=True)
        threading.Thread(target=_listen, args=(proxy, stop), daemon=True).start()
        proxy.run(stop)
    finally:
        proxy.close()
    print(json.dumps({"hits": dict(proxy.hits)}), flush=True)
    return 0


def _listen(proxy: Proxy, stop: threading.Event) -> None:
    for line in sys.stdin:
        _inject(proxy, line)
    stop.set()


def _inject(proxy: Proxy, line: str) -> None:
    try:
        fault: Fault = config.decode(json.loads(line), Fault, "fault")
        said: dict[str, Any] = {"begun_ns": proxy.inject(fault)}
    except (HeadwayError, ValueError) as e:
        said = {"error": str(e)}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HeadwayError as e:
        print(f"headway proxy: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
