"""A live view of a run: one viewer process, which the recorder's writer processes feed.

    loop -> ring -> writer process -> file
                          \\-> pipe -> viewer process -> Foxglove WebSocket clients, Rerun

The view costs the loop no work. A client that is too slow loses messages, which are counted. If the
viewer process dies, the view is lost and the run goes on.
"""
