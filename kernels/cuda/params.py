"""What a CUDA kernel is told about one robot: the struct `Params`, defined here for both sides.

`struct()` is its C++ text, which `cpp/generate.py` writes into the generated header; `layout.py`
fills the same table as a NumPy record. Nothing but the standard library, as the build reads this.
"""

from __future__ import annotations

JOINTS, COLUMNS, FIELDS, TAPS = 16, 130, 34, 272  # most that fit
SCRATCH_BYTES = 2048  # shared memory for single results
HEAD_BYTES = 512  # of a stream's state: counters and state machines
RING_EXTRA = 9  # rows of a stream's ring beyond the channels with statistics and the joints
INBOX_ROWS = 16  # rows that one launch of the stream takes at most
SIZES = {"double": 8, "float": 4, "int": 4, "std::uint8_t": 1}

# name -> (C++ type, how many); from wide to narrow, so that there is no padding
PARAMS: dict[str, tuple[str, int]] = {
    "rate": ("double", 1),  # [Hz]
    "joint_norm": ("double", 1),  # 1 / sqrt(J)
    "q_tol": ("double", 1),
    "v_max": ("double", 1),
    "stroke": ("double", 1),
    "force_max": ("double", 1),
    "load_gain": ("double", 1),
    "settle": ("double", 1),  # [ticks]
    "settle_min": ("double", 1),
    "slow2": ("double", 1),  # speed [m/s]^2 below which the TCP is slow
    "q_min": ("double", JOINTS),
    "q_max": ("double", JOINTS),
    "dq_max": ("double", JOINTS),
    "tau_max": ("double", JOINTS),
    "dq_inv": ("float", JOINTS),  # 1 / dq_max
    "tau_inv": ("float", JOINTS),
    "dq_dead": ("float", JOINTS),  # |dq| above it is beyond the deadband, as in float64
    "dq_sat": ("float", JOINTS),  # |dq| from it on is saturated, as in float64
    "taps": ("float", TAPS),
    "joints": ("int", 1),
    "columns": ("int", 1),  # of a row, t_ns not counted
    "ticks": ("int", 1),  # of a window
    "pitch": ("int", 1),  # floats from one column of a window to the next
    "words": ("int", 1),  # of 32 ticks in a window
    "longer": ("int", 1),
    "shorter": ("int", 1),
    "diff": ("int", 1),
    "diff_force": ("int", 1),
    "n_taps": ("int", 1),
    "k_motion": ("int", 1),  # last spectral bin at or below motion_hf_hz
    "k_low": ("int", 1),  # ... lf_hz
    "k_lo": ("int", 1),  # first and last bin of the band
    "k_hi": ("int", 1),
    "history": ("int", 1),  # rows that a stream keeps
    "column": ("int", FIELDS),  # telemetry field -> its first column
    "slot": ("int", FIELDS),  # telemetry field -> its first staged column, or -1
    "sh_scratch": ("int", 1),  # bytes into shared memory
    "sh_table": ("int", 1),
    "sh_fold": ("int", 1),
    "sh_flags": ("int", 1),
    "sh_words": ("int", 1),
    "sh_power": ("int", 1),
    "sh_band": ("int", 1),
    "sh_x": ("int", 1),
    "at_valid": ("int", 1),  # bytes into a stream's state
    "at_taps": ("int", 1),
    "at_rows": ("int", 1),
    "at_ring": ("int", 1),
    "at_flags": ("int", 1),
    "staged": ("int", 1),  # columns that are staged
    "mask_of": ("std::uint8_t", COLUMNS),  # column -> mask bit
    "slot_of": ("std::uint8_t", COLUMNS),  # column -> staged column, or 255
}
PARAMS_BYTES = sum(SIZES[kind] * n for kind, n in PARAMS.values())


def struct() -> list[str]:
    """The lines of the C++ header."""
    members = [f"  {kind} {name}{f'[{n}]' if n > 1 else ''};" for name, (kind, n) in PARAMS.items()]
    return [
        "namespace headway::gpu {",
        f"inline constexpr int SCRATCH_BYTES = {SCRATCH_BYTES}, HEAD_BYTES = {HEAD_BYTES};",
        f"inline constexpr int INBOX_ROWS = {INBOX_ROWS}, MAX_JOINTS = {JOINTS};",
        f"inline constexpr int RING_EXTRA = {RING_EXTRA};",
        "struct Params {",
        *members,
        "};",
        f"static_assert(sizeof(Params) == {PARAMS_BYTES});",
        "}  // namespace headway::gpu",
    ]
