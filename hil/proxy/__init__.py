"""A fault proxy: it sits on the line between a host and a device, for serial ports, TCP and UDP,
and does to the bytes what cables, adapters and networks do.

    python -m headway.hil.proxy '{"kind": "serial", "device": "/dev/pts/7", "random": {"flip":
    0.01}}'

`line.Line` is the core, without input or output: chunks of bytes with times go in, chunks with
times come out, and the same seed and input always give the same output. `pump.Proxy` puts two of
them, one per direction, between real ends. `process.ProxyProcess` runs one as a process of its own
and begins faults on demand. On a line to real hardware it wants `allow_hardware`.

docs/hil.md has the table of all faults and says for each where it is brought about: here, in an
emulator, or by the suite.
"""
