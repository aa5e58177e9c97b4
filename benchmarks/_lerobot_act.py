"""LeRobot's side of the benchmark `lerobot_act`: answers in LeRobot's own Python.

    python -m headway.benchmarks._lerobot_act CHECKPOINT OBSERVATION.npz

For each line on the standard input, the number of threads that PyTorch may use, LeRobot answers
once to the observation in the file, by feature; a line of JSON then has what it took, `us`, and the
row that LeRobot would send to the robot, `action`."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import torch

from headway.export.lerobot import torchvision_operators  # noqa: F401 - before LeRobot
from headway.export.lerobot.checkpoint import Checkpoint


def main(path: Path, observation: Path) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # LeRobot says there what it loads
        checkpoint = Checkpoint(path)
    policy = checkpoint.policy
    with np.load(observation) as found:
        seen = {name: found[name] for name in found.files}
    print(torch.get_num_threads(), flush=True)
    for line in sys.stdin:
        torch.set_num_threads(int(line))
        policy.reset()  # its queue of actions is empty, so that the network runs
        begun = perf_counter_ns()
        with torch.inference_mode():
            sent = checkpoint.after(policy.select_action(checkpoint.observation(seen)))
        took = (perf_counter_ns() - begun) / 1e3
        print(json.dumps({"us": took, "action": sent[0].tolist()}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
