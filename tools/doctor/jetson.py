"""What the doctor asks of a Jetson."""

from __future__ import annotations

import re

from headway.tools.doctor.doctor import Finding, Host

GPU = "acceleration"  # the group of these findings


def jetson(host: Host) -> list[Finding]:
    """The power mode of a Jetson; nothing on other machines."""
    text = host.read("/etc/nv_tegra_release")
    if text is None:
        return []
    mode = host.run("nvpmodel", "-q") or ""
    model = host.read("/proc/device-tree/model") or "Jetson"
    power = mode.splitlines()[0].rpartition(":")[2].strip() if mode else "unknown"
    full = "MAXN" in power.upper()
    # Not 0 on every board: an Orin Nano Super has 15 W there.
    conf = host.read("/etc/nvpmodel.conf") or ""
    modes = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S*MAXN\S*)", conf)
    number = modes[0][0] if modes else "N"
    step = "" if full else f"for full clocks: sudo nvpmodel -m {number} && sudo jetson_clocks"
    if not (full or modes):
        step += "; N is the number of the mode MAXN in /etc/nvpmodel.conf"
    release = text.splitlines()[0].lstrip("# ").split(", GCID")[0]
    found = f"{model}, {release}, power mode {power}"
    return [Finding(GPU, "Jetson", "ok" if full else "warn", found, step)]
