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

So that the conformance suite can run a driver against it, a module also says

    DRIVERS = (("ft", "ft300"),)        # folder and kind of each driver that it is a partner of
    WIRE = ("serial", ("port",))        # what the line is, and the driver's keys for its address
    def table(folder: str, uri: str) -> dict[str, Any]

`table` gives the keys of the driver's `Config`, without `kind`, for the emulator at `uri`, the
address that it told `ready`. WIRE is "serial", "tcp" or "udp", and one key that takes a path or
HOST:PORT, or two that take the host and the port; the fault proxy is put there. Optional:

    SETUP = {...}       # keys of the emulator's `Config` for the suite
    PLANT = {...}       # keys of the servo plant, as `model` for another robot than a ur5e
    HOST_GONE = "holds" # an arm that stays at its last goal when its host is killed, as its page
                        # says; without it, its journal has an entry `stopped` then
    NEEDS = {("grippers", "feetech"): ("arms", "feetech")}   # a driver at the port of another one

A module without DRIVERS is a partner of no driver.
"""
