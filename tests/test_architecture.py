"""The tree keeps its shape: who may import whom, and how long a file or function may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "streamer"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 60
OUTSIDE = ("training", "benchmarks", "client_examples", "tests")
METRICS_LIBRARY = "prometheus_client"
TORCHLESS = (
    "text",
    "audio",
    "config",
    "options",
    "synthesis",
    "server",
    "speech",
    "loadtest",
    "telemetry",
)
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base"}

FORBIDDEN: dict[str, tuple[str, ...]] = {
    "server": (
        "streamer.engine",
        "streamer.stages",
        "streamer.models",
        "streamer.backends",
        "streamer.assembly",
        "streamer.store",
    ),
    "speech": (
        "streamer.engine",
        "streamer.stages",
        "streamer.models",
        "streamer.backends",
        "streamer.server",
        "streamer.store",
    ),
    "engine": (
        "streamer.stages",
        "streamer.text",
        "streamer.server",
        "streamer.speech",
        "streamer.store",
        "asyncio",
        "websockets",
    ),
    "engine/scheduler": ("torch", "numpy"),
    "models": ("streamer.stages", "streamer.engine", "streamer.server", "streamer.text", "asyncio"),
    "stages": ("streamer.server", "streamer.speech", "asyncio", "websockets"),
    "loadtest": (
        "streamer.server",
        "streamer.engine",
        "streamer.models",
        "streamer.stages",
        "streamer.speech",
    ),
    "audio": ("streamer.server", "streamer.engine", "streamer.models", "asyncio"),
    "text": ("streamer.server", "streamer.engine", "asyncio"),
    **{
        name: ("torch", "transformers")
        for name in TORCHLESS
        if name not in ("server", "speech", "audio", "text")
    },
}
for _name in ("server", "speech", "audio", "text"):
    FORBIDDEN[_name] = (*FORBIDDEN[_name], "torch")


def name_of(path: Path) -> str:
    """`streamer/engine/slots.py` is `engine/slots`."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module a file names in an import, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    """The rules of docs/architecture.md hold for every import."""
    name, found = name_of(path), set(imports(path))
    for place, forbidden in FORBIDDEN.items():
        if name == place or name.startswith(place + "/"):
            assert not [module for module in found if is_within(module, forbidden)], place
    assert not [module for module in found if is_within(module, OUTSIDE)]
    if not name.startswith("telemetry"):
        assert not [module for module in found if is_within(module, (METRICS_LIBRARY,))]
    assert not FORBIDDEN_NAMES & set(name.split("/"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_and_stays_small(path: Path) -> None:
    """A docstring opens each file; files and functions keep within the budgets."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a module opens with one sentence"
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


def test_the_environment_is_read_in_one_place() -> None:
    """Only `config` touches `os.environ`."""
    readers = {
        name_of(path) for path in MODULES if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {"config"}


def test_nothing_unpickles_but_the_weight_files() -> None:
    """`torch.load` stands in one module, with `weights_only=True`; `pickle` stands nowhere."""
    loaders = {name_of(path) for path in MODULES if "torch.load(" in path.read_text()}
    assert loaders == {"models/files/weight_files"}
    source = (PACKAGE / "models/files/weight_files.py").read_text()
    assert source.count("torch.load(") == source.count("weights_only=True")
    for path in MODULES:
        assert not {"pickle", "dill", "joblib"} & {module.split(".")[0] for module in imports(path)}
        assert "allow_pickle=True" not in path.read_text()


def test_packages_do_not_import_each_other_in_circles() -> None:
    """The folders (and single modules) of the package form no cycle."""
    edges: dict[str, set[str]] = {}
    for path in MODULES:
        part = name_of(path).split("/")[0]
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "streamer" and len(parts) > 1 and parts[1] != part and part != "__init__":
                edges.setdefault(part, set()).add(parts[1])
    seen: dict[str, bool] = {}

    def visit(part: str, way: tuple[str, ...]) -> None:
        assert part not in way, " -> ".join((*way, part))
        if not seen.get(part):
            for other in sorted(edges.get(part, ())):
                visit(other, (*way, part))
            seen[part] = True

    for part in sorted(edges):
        if part not in ("", "streamer"):
            visit(part, ())


def test_the_package_is_imported_without_torch() -> None:
    """`import streamer` and the whole server side cost no torch."""
    modules = "streamer.server.app, streamer.speech.pipeline, streamer.commands.cli"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
