"""A report read back: its text, its panels and their series."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np


class Page(HTMLParser):
    """Elements and visible text of a page, and the data for its plots."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.data_text = ""
        self._inside = ""
        self.feed(self.html)
        self.data: dict[str, Any] = json.loads(self.data_text)
        self.panels = {p["title"]: p for p in self.data["panels"]}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = "data" if dict(attrs).get("id") == "data" else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data_text += data
        elif not self._inside:
            self.text += data + " "

    def series(self, panel: str, label: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        found = {s["label"]: s["y"] for s in self.panels[panel]["series"]}
        return np.frombuffer(base64.b64decode(found[label]), "<f4")

    def times(self, panel: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.frombuffer(base64.b64decode(self.data["times"][self.panels[panel]["x"]]), "<f8")
