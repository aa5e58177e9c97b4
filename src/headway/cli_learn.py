"""The command `headway learn`: a policy that learns from its executions."""

from __future__ import annotations

from pathlib import Path

import tyro


def learn(config: tyro.conf.Positional[Path]) -> int:
    """Improve a policy by its own executions; started again, it goes on where it was.

    Args:
        config: TOML file that says which policy, and what it learns from (docs/learning.md).
    """
    from headway.errors import Missing

    try:
        from headway.learn.execution.command import learn_command
    except ImportError as e:
        raise Missing(
            f"learning wants PyTorch and ONNX: pip install 'headway[learn,sim]' ({e})"
        ) from None

    return learn_command(config)
