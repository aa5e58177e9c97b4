"""`first_difference` says whether two recordings are the same, record for record.

In lock-step, runs with the same seed give the same bytes in every record except `headway.run`,
which says when and where the run took place (`headway.edge.host.origin`). The length of that record
differs between hosts, and so do the offsets in the file's summary. Therefore the records of the
data section are compared, not the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from mcap.opcode import Opcode

from headway.mcapfile import DAMAGE, MAGIC, MESSAGE, RUN, Piece, metadata_name, record_head, unpack
from headway.mcapfile import records_in as bodies
from headway.mcaplog import Recording, open_recording


class _Record(NamedTuple):
    """Opcode `op` and `body` of a record, and the `offset` of the body in the file [bytes]."""

    op: int
    offset: int
    body: bytes


def first_difference(a: Path, b: Path) -> str:
    """The first difference between the recordings `a` and `b` in words, or "" when all records of
    the data section are the same, except metadata named RUN. Damage counts as a difference. Raises
    RecordingError for a file that is no recording."""
    logs = open_recording(a), open_recording(b)
    for log in logs:
        if log.truncated:
            return log.note
    n = 0
    with open(a, "rb") as fa, open(b, "rb") as fb:
        try:
            for x, y in zip_longest(_records(fa.fileno()), _records(fb.fileno())):
                if x is None or y is None:
                    return f"{a if x is None else b} ends after {n} records, the other goes on"
                if (x.op, x.body) != (y.op, y.body):
                    return _in_words(logs, fa.fileno(), fb.fileno(), x, y)
                n += 1
        except DAMAGE as e:
            return f"{a} or {b} is damaged after {n} records ({e}): copy it again"
    return ""


def _records(fd: int) -> Iterator[_Record]:
    """The records of the data section, without metadata named RUN. Raises one of DAMAGE where the
    records do not lead to its end: something in the middle is damaged."""
    at, size = len(MAGIC), os.fstat(fd).st_size
    while True:
        op, body, end = record_head(fd, at)
        if op in (Opcode.DATA_END, Opcode.FOOTER):
            return
        if end > size:
            raise ValueError(f"the record at byte {at} reaches beyond the end")
        data = os.pread(fd, end - body, body)
        if op != Opcode.METADATA or metadata_name(data) != RUN:
            yield _Record(op, body, data)
        at = end


def _in_words(logs: tuple[Recording, Recording], fa: int, fb: int, x: _Record, y: _Record) -> str:
    where = f"at byte {x.offset} of {logs[0].path} and byte {y.offset} of {logs[1].path}"
    if x.op != y.op:
        return f"records of different kinds ({x.op} and {y.op}) {where}"
    if x.op == Opcode.METADATA:
        return f"metadata {metadata_name(x.body)!r} differ {where}"
    if x.op != Opcode.CHUNK:
        return f"records of kind {x.op} differ {where}"
    try:
        have, want = (
            unpack(fd, Piece(r.offset, len(r.body), True)) for fd, r in ((fa, x), (fb, y))
        )
        for (i, j), (k, m) in zip(
            bodies(have, Opcode.MESSAGE), bodies(want, Opcode.MESSAGE), strict=False
        ):
            if have[i:j] != want[k:m]:
                channel, seq, t_ns, _ = MESSAGE.unpack_from(have, i)
                topic = logs[0].topic_of(channel)
                return f"message {seq} on {topic} at {t_ns} ns differs, in the chunk {where}"
    except DAMAGE as e:
        return f"a chunk is damaged ({e}) {where}"
    return f"chunks differ {where}"
