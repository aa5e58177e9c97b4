"""`pytest -p headway.hil.pytest_plugin --pyargs headway.hil`: whether devices keep their promises,
see `pytest_plugin`."""

from __future__ import annotations

from headway.hil.suite.results import Result


def test_promise(hil_result: Result) -> None:
    assert hil_result.verdict == "kept", hil_result.said
