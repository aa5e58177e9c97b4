"""The parts of the emulator of a Universal Robots controller, in the order of reading: `fields` (what
RTDE knows by name), `memory` (what these names hold), `kinematics`, `motion` (servoj and its kin),
`robot` (modes, safety, programs, watchdogs), `language` and `script` (URScript), `functions` (what a
script may call), `ur_rtde` (the program of that client), `rtde`, `dashboard`, `scripts` (the ports),
`wire` (sockets) and `faults`."""
