"""The quicker writer writes the library's bytes."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import Writer

from headway.edge.recording.quick import QuickWriter

MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 2**40), st.binary(max_size=60), st.integers(0, 2**32 - 1),
        st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


def written(kind, messages, size=400):
    out = io.BytesIO()
    writer = kind(out, chunk_size=size)
    writer.start(library="test")
    schema = writer.register_schema("s", "protobuf", b"")
    channels = [writer.register_channel(f"/{i}", "protobuf", schema) for i in range(3)]
    for channel, t, data, seq, flush in messages:
        writer.add_message(channels[channel], t, data, t + 1, seq)
        if flush:
            writer.flush()
    writer.finish()
    return out.getvalue()


@given(MESSAGES)
def test_the_librarys_bytes(messages):
    found = written(QuickWriter, messages)
    assert found == written(Writer, messages)
    reader = make_reader(io.BytesIO(found), validate_crcs=True)
    read = [(m.log_time, m.data, m.sequence) for _, _, m in reader.iter_messages()]
    assert sorted(read) == sorted((t, data, seq) for _, t, data, seq, _ in messages)


def test_it_really_is_the_quick_way_here(monkeypatch):
    """With the library as it is installed; another one falls back to its own method."""
    used = []
    usual = Writer.add_message
    monkeypatch.setattr(Writer, "add_message", lambda *a, **k: used.append(usual(*a, **k)))
    assert written(QuickWriter, [(0, 1, b"a", 0, False)])
    assert used == []


def test_a_library_with_other_insides_is_used_as_it_is():
    class Other(QuickWriter):
        def start(self, *args, **kwargs):
            super().start(*args, **kwargs)
            self._known = False  # what `start` finds where a counter has another name

    messages = [(0, 5, b"abc", 1, False), (1, 3, b"", 2, True)]
    assert written(Other, messages) == written(Writer, messages)
