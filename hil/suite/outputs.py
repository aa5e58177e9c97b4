"""The results as JSON and JUnit XML, and counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from headway.hil.suite.device_faults import FAULTS as AT_DEVICE
from headway.hil.suite.line_faults import FACTS, FAULTS
from headway.hil.suite.results import Result

JSON, JUNIT, PAGE = "results.json", "junit.xml", "index.html"
# All but XML 1.0's Char (w3.org/TR/xml, 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SIGNS = {"kept": "kept", "broken": "BROKEN", "not applicable": "-"}


def write_json(results: Sequence[Result], path: Path) -> None:
    """All results with all numbers."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(results)), indent=1) + b"\n")


def write_junit(results: Sequence[Result], path: Path) -> None:
    """A test suite per device, a test case per promise."""
    root = ElementTree.Element("testsuites", name="headway hil")
    for device in devices(results):
        own = [r for r in results if r.device == device]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=device,
            tests=str(len(own)),
            failures=str(sum(r.verdict == "broken" for r in own)),
            skipped=str(sum(r.verdict == "not applicable" for r in own)),
            time=f"{sum(r.seconds for r in own):.3f}",
        )
        for r in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=device, name=r.promise, time=f"{r.seconds:.3f}"
            )
            if r.verdict == "broken":
                ElementTree.SubElement(case, "failure", message=_printable(r.said))
            elif r.verdict == "not applicable":
                ElementTree.SubElement(case, "skipped", message=_printable(r.said))
            said = [f"{name} = {value:.6g}" for name, value in r.numbers.items()]
            text = "\n".join([_printable(r.said), *said])
            ElementTree.SubElement(case, "system-out").text = text
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """`text` without characters that XML cannot have, as a serial number that is padded by zeros
    has them: one of them, and nobody reads the file."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def devices(results: Sequence[Result]) -> list[str]:
    """Their names, in order."""
    return list(dict.fromkeys(r.device for r in results))


def line(result: Result, wide: int = 100) -> str:
    """A line of text about `result`."""
    measured = ", ".join(f"{k} {v:.4g}" for k, v in result.numbers.items())
    about = "; ".join(filter(None, (result.said, measured)))
    text = f"{result.device:16} {result.promise:16} {_SIGNS[result.verdict]:7} {about}"
    return text if len(text) <= wide else text[: wide - 3] + "..."


def matrix(results: Sequence[Result]) -> list[list[str]]:
    """Faults by devices: the first row and column are titles. `ok`: the device came through it as
    it should; `-`: it does not happen on its line, or in its emulator."""
    titles = (*FAULTS, *(f"device {kind}" for kind in AT_DEVICE))
    kinds = {f"fault {title}": title for title in titles}
    own = {(r.device, r.promise): r for r in results if r.promise in kinds}
    rows = [["", *titles]]
    for device in dict.fromkeys(name for name, _ in own):
        verdicts = (own.get((device, promise)) for promise in kinds)
        said = {"kept": "ok", "broken": "BROKEN", "not applicable": "-"}
        rows.append([device, *("-" if r is None else said[r.verdict] for r in verdicts)])
    return rows


def facts(results: Sequence[Result]) -> dict[str, int]:
    """Counted over all faults and devices: wrong values, values beyond limits, calls that hang."""
    counted = {"faults": sum(r.promise.startswith("fault ") for r in results if r.numbers)}
    counted |= {name: int(sum(r.numbers.get(name, 0.0) for r in results)) for name in FACTS}
    counted["unfit_commands_taken"] = int(sum(r.numbers.get("unfit_taken", 0.0) for r in results))
    return counted


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """`rows` in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
