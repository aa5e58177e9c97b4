"""A live view of a run: one viewer process beside it, fed by the recorder's writer processes.

    loop -> ring -> writer process -> file
                          \\-> pipe -> viewer process -> Foxglove WebSocket clients, Rerun

The loop does nothing for it. A slow or vanished client costs itself messages, which are counted; a
dead viewer process costs the view.
"""
