"""Whether a device that was opened is the one that the configuration expects."""

from __future__ import annotations

import re

from headway.errors import DeviceError
from headway.types import Info


def check(
    found: Info, *, model: str = "", serial: str = "", firmware: tuple[int, ...] = ()
) -> None:
    """Raises DeviceError where `found`, what a device says about itself, is not as expected:
    `model` is a part of its model's name, `serial` its serial number, `firmware` the oldest version
    that will do, as (5, 9). What is empty is not asked for."""
    where = f"at {found.uri}" if found.uri else f"of kind {found.kind}"
    if model and model.lower() not in found.model.lower():
        raise DeviceError(
            f"wanted a {model} {where}, found {found.model or 'a device without a name'}: check "
            "which port or address the device has"
        )
    if serial and serial != found.serial:
        raise DeviceError(
            f"wanted the {found.model or 'device'} with the serial number {serial} {where}, found "
            f"{found.serial or 'none'}: name its port or address, or correct `serial`"
        )
    if firmware:
        has = tuple(int(n) for n in re.findall(r"\d+", found.firmware))
        if not has or has < firmware:
            wanted = ".".join(map(str, firmware))
            raise DeviceError(
                f"wanted firmware {wanted} or newer in the {found.model} {where}, found "
                f"{found.firmware or 'no version'}: update the device"
            )
