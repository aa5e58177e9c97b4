"""A policy on another computer: openpi's WebSocket protocol, spoken as server and as client.

The server sends its metadata on connecting, then answers each observation (a map) with a map that
has `actions` (h, d) and `server_timing`; an error is a text frame, after which it closes. Messages
are msgpack with NumPy arrays as maps, see `codec`. The protocol has no reset: nothing may be kept
between inferences. Source: github.com/Physical-Intelligence/openpi, packages/openpi-client.
"""

MAX_BYTES = 16 << 20  # of a message, unless configured; five 1280 x 720 images
