"""Draws the package's tree into docs/architecture.md: `python -m docs.draw_tree`.

The page says in which order folders and files are read; what each of them is comes from its own opening sentence. Files
that are new are added at the end of their folder. A folder of `streamer/server` that has a module `endpoints` is a
protocol, which may be left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).parent / "architecture.md"
PACKAGE = Path(__file__).parents[1] / "streamer"
BEGIN, END = "<!-- drawn by docs/draw_tree.py -->\n", "<!-- end of the drawing -->\n"
NAME_WIDTH, MAX_WIDTH = 26, 120
_LINE = re.compile(r"    (?P<folder>[\w/]*/)|      (?P<stem>\w+) ")


def modules() -> dict[str, list[str]]:
    """The stems of the package's modules by their folders, `` for the root."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.stem.startswith("__"):
            folder = path.parent.relative_to(PACKAGE).as_posix()
            found.setdefault("" if folder == "." else folder, []).append(path.stem)
    return found


def listed(page: str) -> dict[str, list[str]]:
    """The stems that the page lists by their folders, in its order."""
    found: dict[str, list[str]] = {}
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        if match := _LINE.match(line):
            if match["folder"] is not None:
                folder = match["folder"].removeprefix("streamer/").rstrip("/")
                found[folder] = []
            else:
                found[folder].append(match["stem"])
    return found


def drawn_page(page: str) -> str:
    """The page with the tree of today between its marks."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + "\n".join(_lines(listed(page), modules())) + "\n" + END + rest.partition(END)[2]


def _lines(order: Mapping[str, list[str]], there: Mapping[str, list[str]]) -> Iterator[str]:
    for folder in [
        *(folder for folder in order if folder in there),
        *(new for new in there if new not in order),
    ]:
        if folder not in order and _is_protocol(folder, there):
            continue
        path = PACKAGE / folder
        yield f"    {f'streamer/{folder}'.rstrip('/')}/".ljust(NAME_WIDTH + 6) + _what(path / "__init__.py")
        known = [stem for stem in order.get(folder, ()) if stem in there[folder]]
        for stem in [*known, *(stem for stem in there[folder] if stem not in known)]:
            yield "      " + f"{stem} ".ljust(NAME_WIDTH) + _what(path / f"{stem}.py")


def _is_protocol(folder: str, there: Mapping[str, list[str]]) -> bool:
    return folder.startswith("server/") and "endpoints" in there[folder]


def _what(path: Path) -> str:
    """Return the opening sentence of a module, up to its first stop or semicolon, without the ends that do not fit."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    sentence = re.split(r"(?<=[^.])[.;](?= |$)", text)[0]
    room = MAX_WIDTH - NAME_WIDTH - 6
    while len(sentence) > room:
        shorter = max((sentence.rpartition(end)[0] for end in (",", ": ")), key=len)
        sentence = shorter or sentence[: room - 1].rpartition(" ")[0] + "…"
    return sentence


if __name__ == "__main__":
    PAGE.write_text(drawn_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
