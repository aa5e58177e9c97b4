"""Recordings that stand in for devices which no emulator can: a camera at USB has no line that a
program could serve. The driver's own code plays them, from the file to the image.

The folder is the registry, as that of the emulators: each module is a kind, and says

    DRIVERS = (("cameras", "uvc"),)     # folder and kind of each driver that it is a partner of
    def record(folder: Path) -> dict[str, Any]

`record` writes the recording into `folder` and gives the keys of the driver's `Config`, without
`kind`, that play it. It raises Missing where the library that writes it is not installed. It has to
last longer than a check reads, `SECONDS`.
"""

SECONDS = 6.0
"""How long a recording lasts [s]; the longest look of a check takes 4.2 s."""
