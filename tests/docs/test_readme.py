"""Contracts of the README: its programs run, its links lead somewhere."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import av
import pytest

from tests.server.speaking import running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENT, IN_PROCESS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
(REQUEST,) = re.findall(r"^    (curl .*)$", README, flags=re.MULTILINE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BUILTIN_MODEL = ROOT / "streamer" / "voices" / "builtin" / "config.json"


async def run(program: str, directory: Path, timeout_s: float = 30) -> None:
    """Run the program in `directory`, and check that it succeeds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=directory, env={**os.environ, "NO_PROXY": "*"}
    )
    async with asyncio.timeout(timeout_s):
        assert await process.wait() == 0


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


async def test_the_client_speaks_into_a_file(tmp_path: Path) -> None:
    """The ten lines, with the test server's port in place of the usual one, leave a file that plays."""
    async with running() as server:
        await run(CLIENT.replace("localhost:8765", f"127.0.0.1:{server.server.port}"), tmp_path)
    assert duration_s(tmp_path / "hello.ogg") > 0.5


def test_the_client_has_ten_lines() -> None:
    """The client has as many lines as its heading says."""
    assert len([line for line in CLIENT.splitlines() if line.strip()]) == 10


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_request_speaks_into_a_file(tmp_path: Path) -> None:
    """The curl command, with the test server's port in place of the usual one, leaves a file that plays."""
    async with running() as server:
        command = REQUEST.replace("localhost:8765", f"127.0.0.1:{server.server.port}")
        process = await asyncio.create_subprocess_exec(*shlex.split(command), "--noproxy", "*", cwd=tmp_path)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    assert duration_s(tmp_path / "hello.ogg") > 0.2


@pytest.mark.slow
@pytest.mark.skipif(
    not BUILTIN_MODEL.exists(), reason="the built-in voice's weights are not in this checkout"
)
async def test_the_program_without_a_server_speaks(tmp_path: Path) -> None:
    """The built-in voice makes a sound of more than a second for a sentence of six words."""
    await run(IN_PROCESS, tmp_path, timeout_s=300)
    assert duration_s(tmp_path / "hello.ogg") > 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [target for target in local if not (page.parent / target).exists()] == []
