"""A policy on another computer: client (`client`) and server (`server`) of openpi's WebSocket
protocol.

When a client connects, the server sends its metadata. It then answers each observation (a map) with
a map that has `actions` (h, d) and `server_timing`. An error is a text frame, after which the
server closes the connection; for an instruction that the policy refuses it begins with REFUSED, and
the connection stays open. Messages are msgpack with NumPy arrays as maps, see `codec`. The
protocol has no reset, so a policy must not keep anything between inferences.
Source: github.com/Physical-Intelligence/openpi, packages/openpi-client.
"""

MAX_BYTES = 16 << 20  # of a message, unless configured: five 1280 x 720 images fit
REFUSED = "Refused: "  # begins the text frame for an instruction that the policy refuses
