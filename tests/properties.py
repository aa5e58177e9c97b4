"""How many examples a property test looks at."""

from __future__ import annotations

from typing import Any

import hypothesis


def examples(n: int, **kwargs: Any) -> hypothesis.settings:
    """Settings of a property test that is dear, or cheap: `n` examples where others take 100, and
    in `make fuzz` more of them by the same factor."""
    share = hypothesis.settings.default.max_examples / 100
    return hypothesis.settings(max_examples=round(n * share), **kwargs)
