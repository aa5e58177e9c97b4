"""A workflow of one's own: press the buttons that the station asks for."""

from pathlib import Path

CONFIG = Path(__file__).with_name("press_button.toml")
