"""A server that answers in openpi's format without a policy: slow waves of the joints. It shows a
run with `--policy ws://...` where no GPU and no checkpoint are at hand. It wants the keys that
openpi's policies want, and answers as openpi's server does where they are missing: with a
traceback, after which it ends the connection.

    python examples/serve/stand_in.py droid --port 8000      # 7 joint velocities and a gripper
    python examples/serve/stand_in.py aloha --port 8000      # 14 joint positions of two arms
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from websockets.sync.server import ServerConnection, serve

from headway.edge.policy.remote.codec import decode, encode

# As DROID's and ALOHA's policies answer: rows, columns, seconds between rows.
DROID, ALOHA = (10, 8, 1 / 15), (50, 14, 1 / 50)
# What they want to be told, and the cameras that ALOHA's may be shown, the first one always.
DROID_KEYS = (
    "observation/exterior_image_1_left", "observation/wrist_image_left",
    "observation/joint_position", "observation/gripper_position",
)  # fmt: skip
CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")


def droid(message: dict[str, Any], t: float) -> Any:
    """Joint velocities (-1..1 of the controller's scale), then the gripper, 0 open to 1 closed."""
    for key in DROID_KEYS:
        np.asarray(message[key])
    rows, columns, dt = DROID
    times = t + dt * np.arange(1, rows + 1)
    actions = np.tile(0.04 * np.sin(times)[:, None], (1, columns))
    actions[:, 7] = times % 8.0 > 4.0
    return actions


def aloha(message: dict[str, Any], t: float) -> Any:
    """Joint positions near those of the message's state, gripper in between."""
    images = message["images"]
    if set(images) - set(CAMERAS):
        raise ValueError(f"Expected images to contain {CAMERAS}, got {tuple(images)}")
    np.asarray(images[CAMERAS[0]])
    rows, columns, dt = ALOHA
    moved = 0.1 * (np.sin(t + dt * np.arange(1, rows + 1)) - np.sin(t))
    return np.asarray(message["state"]).reshape(1, columns) + moved[:, None]


def handler(answer: Callable[[dict[str, Any], float], Any]) -> Callable[[ServerConnection], None]:
    """What the server does with a connection, where `answer` makes the actions."""

    def handle(ws: ServerConnection) -> None:
        ws.send(encode({}))  # openpi's metadata do not describe the policy
        for n, data in enumerate(ws):
            message = decode(data)
            if n == 0:
                keys = ", ".join(k for k in message if k != "prompt")
                print(f"asked: {message.get('prompt')!r}, {keys}")
            begun = time.perf_counter()
            try:
                actions = answer(message, 0.3 * n).astype(np.float32)
            except (KeyError, ValueError):
                ws.send(traceback.format_exc())
                ws.close(1011, "Internal server error. Traceback included in previous frame.")
                return
            timing = {"infer_ms": 1e3 * (time.perf_counter() - begun)}
            ws.send(encode({"actions": actions, "server_timing": timing}))

    return handle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", choices=("droid", "aloha"))
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    handle = handler({"droid": droid, "aloha": aloha}[args.robot])
    with serve(handle, "127.0.0.1", args.port, compression=None, max_size=None) as server:
        print(f"ws://127.0.0.1:{args.port} answers as a policy of {args.robot} would; Ctrl-C stops")
        server.serve_forever()


if __name__ == "__main__":
    main()
