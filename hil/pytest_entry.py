"""Where pytest finds the conformance suite (entry point `pytest11`). Every run of pytest in an
environment with Headway loads this module, so it imports nothing and does nothing, unless
`headway.hil` is among the arguments, as in

    pytest --pyargs headway.hil --robot ROBOT.toml

Only then are the options of `headway.hil.pytest_plugin` there."""

from __future__ import annotations

from typing import Any

_PACKAGE, _PLUGIN = "headway.hil", "headway.hil.pytest_plugin"


def pytest_load_initial_conftests(early_config: Any, args: list[str]) -> None:
    """Load the plugin where it is asked for."""
    if any(a == _PACKAGE or a.startswith((_PACKAGE + ".", _PACKAGE + "::")) for a in args):
        early_config.pluginmanager.import_plugin(_PLUGIN)
