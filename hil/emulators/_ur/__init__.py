"""The parts of the emulator of a Universal Robots controller, in the order of reading: `fields`
(what RTDE knows by name), `memory` (what these names hold), `kinematics`, `motion` (servoj and its
kin), `robot` (modes, safety, programs, watchdogs), `expressions`, `language` and `script`
(URScript), `functions` (what a script may call), `ur_rtde` (the program of that client),
`programs`, `rtde`, `dashboard` and `scripts` (the ports), `wire` (sockets), `faults` and
`conductor`."""
