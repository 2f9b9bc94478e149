"""The tree keeps its shape: who may import whom, directly or not, and how long a file or function may grow."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "streamer"
PATHS = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 60
MAX_LEVELS = 11
"""Length of the longest chain of imports between the package's folders and root modules."""
LONG_FILES: Mapping[str, int] = {"server/session": 350}
"""Files that may have up to 350 lines; each says at its top why it is not cut."""
OUTSIDE = ("training", "benchmarks", "client_examples", "tests", "docs")
TORCH = ("torch", "transformers")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base"}

MODEL_SIDE = ("streamer.engine", "streamer.stages", "streamer.models", "streamer.backends")
ABOVE_SERVER = ("streamer.assembly", "streamer.store", "streamer.commands", "streamer.api")
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "server": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH),
    "speech": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH, "streamer.server", "websockets"),
    "engine": (
        "streamer.stages",
        "streamer.text",
        "streamer.server",
        "streamer.speech",
        "asyncio",
        "websockets",
    ),
    "engine/scheduler": TORCH,
    "backends/workers/synthesizer": (*TORCH, "streamer.engine", "streamer.stages", "streamer.backends.local"),
    "backends/workers/worker": (*TORCH, "streamer.engine", "streamer.stages", "websockets"),
    "backends/ray/listings": (*TORCH, "streamer.engine", "streamer.stages", "streamer.backends.local"),
    "backends/ray/replica": (*TORCH, "streamer.engine", "streamer.stages", "streamer.backends.local"),
    "backends/ray/autoscaling": ("streamer", "ray"),
    "models": ("streamer.stages", "streamer.engine", "streamer.server", "streamer.text", "asyncio"),
    "stages": ("streamer.server", "streamer.speech", "websockets"),
    "store": ("streamer.assembly", "streamer.commands", "streamer.server", "streamer.speech"),
    "loadtest": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH, "streamer.server", "streamer.speech"),
    "audio": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH, "streamer.server", "streamer.speech", "asyncio"),
    "text": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH, "streamer.server", "streamer.speech", "asyncio"),
    "synthesis": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH),
    "config": (*MODEL_SIDE, *ABOVE_SERVER, *TORCH),
    "options": TORCH,
    "errors": TORCH,
    "sampling": TORCH,
    "telemetry": (*MODEL_SIDE, *TORCH),
    "voices": (*MODEL_SIDE, *TORCH),
}
"""What a folder or module must not import, neither itself nor through what it imports."""
GROUND_FLOOR = ("streamer.models.config",)
"""Bark's sizes: plain numbers, which voices and tokenizers are checked against without a model."""
KEPT_IN: dict[str, tuple[str, ...]] = {
    "prometheus_client": ("telemetry",),
    "opentelemetry": ("telemetry/open_telemetry",),
    "ray": ("backends/ray/application", "backends/ray/local_cluster"),
    "mcp": ("commands/mcp",),
}
"""Libraries that are imported in one place only."""


def name_of(path: Path) -> str:
    """`streamer/engine/slots.py` is `engine/slots`."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


def dotted(path: Path) -> str:
    """`streamer/engine/slots.py` is `streamer.engine.slots`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in PATHS}


def type_checking_imports(tree: ast.Module) -> set[ast.AST]:
    """The imports that only type checkers read."""
    return {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports when it runs, wherever in the file the import stands."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set[str]()
    ignored = type_checking_imports(tree)
    for node in ast.walk(tree):
        if node in ignored:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in full if name in MODULES}
            if not full <= MODULES.keys():
                found.add(node.module or "")
    return frozenset(found)


def indirect_imports(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every module that `name` reaches, each with one way there."""
    ways: dict[str, tuple[str, ...]] = {name: (name,)}
    queue = [name]
    for module in queue:
        for imported in sorted(imports(MODULES[module])) if module in MODULES else ():
            if imported not in ways:
                ways[imported] = (*ways[module], imported)
                queue.append(imported)
                yield imported, ways[imported]


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    """The rules of docs/architecture.md hold for every import, and for what it imports in turn."""
    name = name_of(path)
    for place, forbidden in FORBIDDEN.items():
        if name == place or name.startswith(place + "/"):
            broken = [
                way
                for module, way in indirect_imports(dotted(path))
                if is_within(module, forbidden) and module not in GROUND_FLOOR
            ]
            assert not broken, " -> ".join(broken[0])
    assert not [module for module in imports(path) if is_within(module, OUTSIDE)]
    for library, places in KEPT_IN.items():
        if not name.startswith(places):
            assert not [module for module in imports(path) if is_within(module, (library,))]
    assert not FORBIDDEN_NAMES & set(name.split("/"))


def protocol_of(module: str) -> str | None:
    """The folder of the protocol that a module belongs to: those of `server` that have a module `endpoints`."""
    folder = ".".join(module.split(".")[:3])
    return folder if f"{folder}.endpoints" in MODULES else None


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_a_protocol_is_known_to_itself_alone(path: Path) -> None:
    """A protocol's folder can be added and taken away: neither the server nor another protocol imports it."""
    here = protocol_of(dotted(path))
    others = {protocol_of(module) for module in imports(path)} - {None, here}
    assert not others


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_a_module_says_what_it_is_and_stays_small(path: Path) -> None:
    """A docstring opens each file; files and functions keep within the budgets."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a module opens with one sentence"
    assert text.count("\n") <= LONG_FILES.get(name_of(path), MAX_FILE_LINES)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


def test_no_file_holds_what_a_merge_left() -> None:
    """A conflict that was committed is found, even if a formatter has indented it."""
    marker = re.compile(r"^\s*(<{7} |>{7} )", re.MULTILINE)
    folders = ("streamer", "tests", "docs", "benchmarks", "client_examples", "training")
    paths = [*ROOT.glob("*.md"), *(path for folder in folders for path in ROOT.glob(f"{folder}/**/*.*"))]
    kinds = {".py", ".md", ".js", ".html", ".css", ".txt", ".toml"}
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path.suffix in kinds}
    assert len(texts) > 100
    assert [path for path, text in texts.items() if marker.search(text)] == []


def test_the_environment_is_read_in_one_place() -> None:
    """Only `process_environment` touches the environment's variables."""
    readers = set()
    for path in PATHS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"):
                readers.add(name_of(path))
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                assert not {alias.name for alias in node.names} & {"environ", "environb", "getenv"}, path
    assert readers == {"process_environment"}


def test_nothing_unpickles_but_the_weight_files() -> None:
    """`torch.load` stands in one module, with `weights_only=True`; `pickle` stands nowhere."""
    loaders = {name_of(path) for path in PATHS if "torch.load(" in path.read_text()}
    assert loaders == {"models/files/weight_files"}
    source = (PACKAGE / "models/files/weight_files.py").read_text()
    assert source.count("torch.load(") == source.count("weights_only=True")
    for path in PATHS:
        assert not {"pickle", "dill", "joblib"} & {module.split(".")[0] for module in imports(path)}
        assert "allow_pickle=True" not in path.read_text()


def longest_chain(edges: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return the longest chain of imports; fail with the circle if there is one."""
    longest: dict[str, tuple[str, ...]] = {}

    def visit(node: str, way: tuple[str, ...]) -> tuple[str, ...]:
        assert node not in way, "a circle: " + " -> ".join((*way[way.index(node) :], node))
        if node not in longest:
            chains = [visit(other, (*way, node)) for other in sorted(edges.get(node, ()))]
            longest[node] = (node, *max(chains, key=len, default=()))
        return longest[node]

    return max((visit(node, ()) for node in sorted(edges)), key=len)


def test_no_module_imports_itself_through_others() -> None:
    """The modules of the package form no circle, imports inside functions included."""
    assert longest_chain({name: {i for i in imports(path) if i in MODULES} for name, path in MODULES.items()})


def test_folders_stand_on_few_levels_and_in_no_circle() -> None:
    """The package's folders, and the modules at its root, form no circle and at most eleven levels."""
    edges: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        for imported in imports(path) & MODULES.keys():
            here, there = [*name.split("."), ""][1], [*imported.split("."), ""][1]
            if here and there and here != there:
                edges.setdefault(here, set()).add(there)
    chain = longest_chain(edges)
    assert len(chain) <= MAX_LEVELS, " -> ".join(chain)


def test_the_package_is_imported_without_torch() -> None:
    """`import streamer` and the whole server side cost no torch."""
    modules = "streamer.server.app, streamer.speech.pipeline, streamer.commands.cli"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
