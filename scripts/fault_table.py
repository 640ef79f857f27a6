"""Make the table of faults from the observations of the tests."""

from __future__ import annotations

import json
import platform
import re
import sys
from pathlib import Path
from typing import Any, Final

KINDS: Final = ("local", "LocalJupyterServer", "container", "jupyter_server", "Enterprise Gateway")
PAGE: Final = Path(__file__).parents[1] / "tests" / "faults.md"
#: The position of the table in the page.
PLACE: Final = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table(observations: list[dict[str, Any]]) -> str:
    """Return a table with a row for each fault, in the order of the first tries."""
    faults = dict.fromkeys(observation["fault"] for observation in observations)
    rows = [_row(fault, [each for each in observations if each["fault"] == fault]) for fault in faults]
    head = ["fault", "effect", "time", *KINDS]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(fault: str, tries: list[dict[str, Any]]) -> list[str]:
    told = dict.fromkeys(_told(each) for each in tries)
    slowest = max(each["seconds"] for each in tries)
    return [
        fault,
        "; ".join(list(told)[:3]),
        f"{slowest:.1f} s" if slowest else "",
        *(_verdict(kind, tries) for kind in KINDS),
    ]


def _told(each: dict[str, Any]) -> str:
    note = re.sub(r"container [\w-]+", "container …", each["note"].split("It last said:")[0]).strip()
    return " ".join(filter(None, [f"`{each['status']}`" if each["status"] else "", note]))


def _verdict(kind: str, tries: list[dict[str, Any]]) -> str:
    verdicts = [each["passed"] for each in tries if each["kind"] == kind]
    return "" if not verdicts else "kept" if all(verdicts) else "**broken**"


def main() -> None:
    """Print the table and, if requested, write it to its page."""
    seen, *options = sys.argv[1:]
    observations = [json.loads(line) for line in Path(seen).read_text(encoding="utf-8").splitlines()]
    made = f"\n{table(observations)}\nSeen with Python {platform.python_version()} on {platform.system()}.\n\n"
    sys.stdout.write(made)
    if options:
        PAGE.write_text(PLACE.sub(lambda _: made, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
