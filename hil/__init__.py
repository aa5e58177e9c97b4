"""Hardware in the loop: emulators that speak the real bytes of devices, faults on their lines, and
the suite that says whether a device keeps its promises."""
