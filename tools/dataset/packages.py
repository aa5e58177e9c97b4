"""The packages of the extra `lerobot`, imported when a command needs them."""

from __future__ import annotations

import importlib
from typing import Any

from headway.errors import Missing

USES = {"pyarrow": "Parquet files", "pyarrow.parquet": "Parquet files", "av": "MP4 files"}


def need(name: str) -> Any:
    """The module `name`, one of `USES`. Raises Missing where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise Missing(
            f"wanted {name.partition('.')[0]} for the {USES[name]} of a data set, found none "
            f"({e}): pip install 'headway[lerobot]'"
        ) from None
