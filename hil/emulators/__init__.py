"""Emulators: programs that speak the real bytes of a device, on a pseudo-terminal or a loopback
socket, so that a driver, or anybody else's client, cannot tell them from the device.

Each is written from the device's manual and never imports a codec of `headway.drivers.codecs`: a
mistake that both made together would be found by nobody.
"""
