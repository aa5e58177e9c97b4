"""The conformance suite: does a device keep its promises?

    headway hil ROBOT.toml            the devices of a run configuration
    headway hil --all                 every driver kind, each against its partner
    pytest -p headway.hil.pytest_plugin --pyargs headway.hil --robot ROBOT.toml

    promises    what is promised, by name; each is checked by a function
    subject     a device under test: its driver, its emulator, what may be done to it
    stream, commands, stops, host_gone, leaks, line_faults    the checks
    runner      runs them, each with a deadline
    outputs, page    JUnit XML, JSON, one HTML page

A check says `kept`, `broken` or `not applicable`, with the numbers that it has measured.
"""
