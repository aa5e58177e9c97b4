"""What is shipped with the package: paths of run configurations and models, and the usual task.

In the repository the folders `configs` and `models` lie at the root and are linked from
`src/headway`; a wheel contains them as `headway/configs` and `headway/models`. A configuration
names its models relative to itself, so the same file works in both places.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent
CONFIG = ROOT / "configs" / "pick_place_sim.toml"  # what `headway run` uses when no file is named
POLICY = ROOT / "models" / "pick_place_policy"
PRO = ROOT / "models" / "pick_place_pro"
RISK = ROOT / "models" / "pick_place_pro.risk.json"
TASK = "pick_place"  # the kind of a `[task]` without the key `kind`
EDITABLE = (CONFIG, POLICY, PRO, RISK)  # what `headway init` copies
