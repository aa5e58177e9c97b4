"""`python sees.py OTHER`, run by the Python of a virtual environment: it sees the packages of the
virtual environment OTHER too, behind its own. Editable packages included, which PYTHONPATH leaves
out."""

import os
import sys
import sysconfig

_LINE = "import site; site.addsitedir({!r})\n"


def main(other: str) -> None:
    own = sysconfig.get_path("purelib")
    theirs = sysconfig.get_path("purelib", vars={"base": os.path.abspath(other)})
    with open(os.path.join(own, "sees.pth"), "w") as f:
        f.write(_LINE.format(theirs))


if __name__ == "__main__":
    main(sys.argv[1])
