"""Emulators: programs that speak the real bytes of a device, on a pseudo-terminal or a loopback
socket, so that a driver, or anybody else's client, cannot tell them from the device.

The folder is the registry: each module is a kind, with a strict struct `Config` and

    serve(cfg: Config, plant: Plant, journal: Journal, ready: Callable[[str], None],
          stop: threading.Event) -> None

which opens its port, calls `ready` with the address, and serves until `stop` is set. What the wire
commands moves the `plant` (`headway.hil.plant`), and what it does by itself, such as a stop when
its host falls silent, it writes into the `journal`. `python -m headway.hil.emulators KIND` runs
one, `headway.hil.launch.Emulator` starts one as a process of its own.

Each is written from the device's manual and never imports a codec of `headway.drivers.codecs`: a
mistake that both made together would be found by nobody.
"""
