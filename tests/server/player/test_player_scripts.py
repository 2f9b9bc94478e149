"""The page's scripts without a browser: their own tests in Node, and the types of the client's JSDoc."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIENT = Path(__file__).parents[3] / "streamer" / "server" / "player" / "streamer-client.js"
TYPESCRIPT = "typescript@7.0.2"
OLDEST_NODE = (20, 19)
"""The first that reads `.js` files as the modules that they are."""


def has_node() -> bool:
    """Return whether Node is there, and new enough."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in version.strip().lstrip("v").split(".")[:2]) >= OLDEST_NODE


needs_node = pytest.mark.skipif(not has_node(), reason="node 20.19 or newer, and npm, are not installed")


async def run(*command: str, directory: Path) -> tuple[int, str]:
    """Return the exit status of a command and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@needs_node
@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.name)
async def test_the_scripts_keep_their_contracts(file: Path) -> None:
    """Every test of the file passes in Node."""
    status, output = await run("node", "--test", str(file), directory=HERE)
    assert status == 0, output


@needs_node
async def test_the_types_of_the_client_fit(tmp_path: Path) -> None:
    """TypeScript finds nothing wrong with the client's JSDoc, as strict as it can be."""
    options = ("--strict", "--target", "es2022", "--module", "esnext", "--lib", "es2023,dom,dom.iterable")
    command = ("npm", "exec", "--yes", "--prefer-offline", f"--package={TYPESCRIPT}", "--", "tsc", "--noEmit")
    status, output = await run(*command, "--allowJs", "--checkJs", *options, str(CLIENT), directory=tmp_path)
    if "npm error" in output:
        pytest.skip(f"npm cannot fetch {TYPESCRIPT}")
    assert status == 0, output
