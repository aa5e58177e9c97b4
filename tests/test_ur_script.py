"""The emulator's URScript, without sockets and without a clock."""

from __future__ import annotations

import numpy as np
import pytest
from ur_controller import Controller

from headway.hil.emulators._ur.robot import PAUSED, PLAYING, STOPPED


def value(expression, kind="float"):
    """What `expression` of URScript is, by way of an output register."""
    controller = Controller().run(
        f"def p():\n write_output_{kind}_register(1, {expression})\nend\n"
    )
    assert not [text for text in controller.said if "exception" in text or "error" in text]
    return controller.out(1, "int" if kind == "integer" else "double")


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("1 + 2 * 3 - -4", 11.0),
        ("(1 + 2) * 3 / 4", 2.25),
        ("7 % 4 + .5 + 1e-1", 3.6),
        ("[1, 2, 3][1]", 2.0),
        ("p[0.5, 2, 3, 4, 5, 6][0]", 0.5),
        ("sqrt(norm(-16)) + d2r(180)", 4.0 + np.pi),
        ("get_list_length([1, 2])", 2.0),
        ("get_steptime()", 0.002),
    ],
)
def test_what_expressions_are(expression, wanted):
    assert value(expression) == pytest.approx(wanted)


PARTS = """
def p():
  global total = 0
  def add(n, times=2):  # a comment: end
    total = total + n * times
    if total > 5 and not total == 8:
      return True
    elif total == 8 or False:
      return False
    else:
      return False
    end
  end
  a = [1, 2]
  b = a
  b[0] = 7
  i = 0
  while True:
    i = i + 1
    if i == 2:
      continue
    end
    if i > 4:
      break
    end
    add(1)
  end
  write_output_integer_register(0, total)
  write_output_integer_register(1, a[0])
  if add(0, times=3):
    write_output_boolean_register(3, True)
  end
  textmsg("total ", total)
end
"""


def test_functions_scopes_lists_and_branches():
    controller = Controller().run(PARTS)
    assert controller.out(0) == 6
    assert controller.out(1) == 1  # lists are copied
    assert controller.memory.values["output_bit_registers0_to_31"] == 0b1000
    assert "total 6" in controller.said
    assert controller.robot.runtime == STOPPED


def test_threads_take_turns_and_end_with_the_program():
    source = """
def p():
  n = 0
  thread count():
    while True:
      n = n + 1
      write_output_integer_register(2, n)
      sync()
    end
  end
  h = run count()
  sleep(0.02)
  kill h
  sleep(0.02)
end
"""
    controller = Controller().run(source, 30)
    assert controller.out(2) == 9  # it begins a cycle after the program
    assert controller.robot.runtime == STOPPED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def p():\n x = = 1\nend\n", "line 2: wanted a name, found ="),
        ("def p():\n if x:\n", "wanted `end`, found the end of the program"),
        ("def p():\n x = 1 $ 2\nend\n", "line 2: syntax error at '$ 2'"),
        ("def p():\n force_mode(1)\nend\n", "line 2: force_mode is not defined, or not in"),
        ("def p():\n x = run nobody()\nend\n", "nobody is not defined"),
        ("sec p():\n servoj([0,0,0,0,0,0])\nend\n", "servoj is not defined"),
        ("for i in x:\n", "wanted"),
    ],
)
def test_what_does_not_compile_is_named_and_not_run(source, said):
    controller = Controller().run(source)
    assert any("compile error" in text and said in text for text in controller.said)
    assert controller.robot.runtime == STOPPED


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("x = 1 / 0", "line 3: division by zero"),
        ("x = nothing", "a variable has no value"),
        ("if 1:\n end", "wanted a boolean, found an integer"),
        ("x = [1, 2]\n y = x[2]", "line 4: list index out of range"),
        ("set_tool_digital_out(2, True)", "no tool digital output 2"),
        ("servoj([1, 2])", "servoj wants a list of 6 numbers"),
        ("write_output_integer_register(48, 1)", "no register output_int_register_48"),
        ("while True:\n x = 1\n end", "infinite loop"),
        ('rtde_set_watchdog("nobody", 10)', "there is no input nobody"),
        ("x = sync()", "returns nothing"),
        ("thread t():\n t()\n end\n t()", "too deeply"),
    ],
)
def test_what_fails_while_it_runs_ends_the_program_with_the_line(statement, said):
    controller = Controller().run(f"def p():\n  sync()\n {statement}\nend\n", 3)
    assert any("runtime exception in p" in text and said in text for text in controller.said)
    assert controller.robot.runtime == STOPPED


@pytest.mark.parametrize(
    "statement",
    [
        "speedj([0, 0, bad, 0, 0, 0], 1, 1)",
        "speedj([0, 0, 0, 0, 0, 0], bad, 1)",
        "movej([0, 0, 0.1, 0, 0, 0], bad, 1)",
        "servoj([0, 0, 0, 0, 0, bad])",
        "servoj([0, 0, 0, 0, 0, 0], t=0.002, lookahead_time=bad, gain=300)",
        "servoj([0, 0, 0, 0, 0, 0], t=bad)",
        "stopj(bad)",
        "set_tcp(p[0, 0, bad, 0, 0, 0])",
    ],
)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_moves_nothing(statement, number):
    """Of a register, as a careless host writes it."""
    controller = Controller(input_double_register_3=number)
    controller.run(f"def p():\n bad = read_input_float_register(3)\n {statement}\nend\n", 20)
    assert (controller.plant.q == 0.0).all()
    assert np.isfinite(controller.memory.values["actual_TCP_pose"]).all()
    assert controller.robot.runtime == STOPPED


def test_a_secondary_program_leaves_the_other_running():
    controller = Controller().run("def p():\n while True:\n sync()\n end\nend\n", 2)
    controller.run("sec s():\n set_standard_digital_out(2, True)\nend\n")
    assert controller.memory.values["actual_digital_output_bits"] == 4
    assert controller.robot.runtime == PLAYING


def test_a_line_stops_the_program_that_runs():
    controller = Controller().run("def p():\n while True:\n sync()\n end\nend\n", 2)
    controller.run("stopj(2)\n", 3)
    assert controller.robot.runtime == STOPPED


def test_a_watchdog_may_pause():
    watch = 'rtde_set_watchdog("input_int_register_0", 100)'
    source = f"def p():\n {watch}\n while True:\n sync()\n end\nend\n"
    controller = Controller().run(source, 10)
    assert controller.robot.runtime == PAUSED
    assert controller.robot.resume()
    assert controller.robot.runtime == PLAYING
