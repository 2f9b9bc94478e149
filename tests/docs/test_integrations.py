"""Contracts of `docs/integrations/`: what stands in a fence runs, or is well formed; its index says by which rules."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement

from streamer.commands.cli import main
from tests.clients.venvs import HERE as CLIENTS
from tests.clients.venvs import NODE, folder_of, python_of
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.certificates import write_certificate
from tests.server.speaking import configured, running

FOLDER = Path(__file__).parents[2] / "docs" / "integrations"
PAGES = sorted(FOLDER.glob("*.md"))
ADDRESS = "localhost:8765"
VOICES = ("joe", "jane")
TIMEOUT_S = 60
PLAYERS = ("aplay", "ffplay", "mpv")
PLAYER = '#!/bin/sh\n[ "$(wc -c)" -gt 1000 ]\n'
"""Stands for a player: it fails if it gets no sound."""
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
PROGRAMS = ("python", "bash", "javascript")
CHECKS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "xml": ElementTree.fromstring,
    "html": lambda text: HTMLParser().feed(text),
}


@dataclass(frozen=True)
class Block:
    """A fenced block; `name` is the word behind its language: an environment, or a file."""

    page: str
    line: int
    language: str
    name: str
    text: str

    @property
    def environment(self) -> str | None:
        return self.name if self.language in PROGRAMS and self.name else None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*) *([\w.]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(page.name, text.count("\n", 0, match.start()) + 1, match[1], match[2], match[3])
        for match in found
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def parameters(languages: tuple[str, ...]) -> list[object]:
    """Return the blocks in these languages; those of a client's environment have its mark."""
    return [
        pytest.param(
            block, id=f"{block.page}:{block.line}", marks=pytest.mark.clients if block.environment else ()
        )
        for block in BLOCKS
        if block.language in languages
    ]


def test_every_fence_is_known() -> None:
    """Each block has a language of the table in the index, and each page of the folder a row there."""
    known = {*PROGRAMS, *CHECKS, "text"}
    assert {(block.page, block.line) for block in BLOCKS if block.language not in known} == set()
    fences = sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES)
    assert fences == 2 * len(BLOCKS)
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in index.splitlines() if line.startswith("| [")]
    listed = {target for row in rows for target in re.findall(r"\]\((.*?)\)", row)}
    assert listed == {page.name for page in PAGES} - {"README.md"}


@pytest.mark.parametrize("block", parameters(tuple(CHECKS)))
def test_settings_are_well_formed(block: Block) -> None:
    """Each block of settings can be read."""
    CHECKS[block.language](block.text)


@pytest.mark.parametrize("block", parameters(PROGRAMS))
async def test_programs_run(block: Block, tmp_path: Path) -> None:
    """Each program ends with status 0, and what says `speech` has the server speak.

    With those that only make a service, `tts`, `tests/clients/test_pages.py` speaks.
    """
    folder = tmp_path / "empty"
    command = command_of(block, folder)
    server, variables = {}, {}
    if re.search(rf"(https|wss)://{ADDRESS}", block.text):
        certificate, key = write_certificate(tmp_path)
        server = {"tls_cert": certificate, "tls_key": key}
        variables = dict.fromkeys(CERTIFICATE_VARIABLES, str(certificate))
    players = tmp_path / "players"
    players.mkdir()
    for name in PLAYERS:
        (players / name).write_text(PLAYER)
        (players / name).chmod(0o755)
    places = [players, *([folder_of(block.environment) / "bin"] if block.environment else [])]
    variables["PATH"] = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    async with running(configured(server=server), FakeSynthesizer(voices=VOICES)) as under_test:
        text = block.text.replace(ADDRESS, f"127.0.0.1:{under_test.server.port}")
        process = await asyncio.create_subprocess_exec(
            *command(text),
            cwd=folder,
            env={**os.environ, "NO_PROXY": "*", **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert "speech" not in text or "tts = " in text or under_test.synthesizer.requests


def command_of(block: Block, folder: Path) -> Callable[[str], list[str]]:
    """Make the folder of a program, with the files of its page; return what makes a command of its text.

    Without the program's environment the test is skipped.
    """
    for tool in ("curl", "node"):
        if f"{tool} " in f"{block.text} {'node ' * (block.language == 'javascript')}" and not shutil.which(
            tool
        ):
            pytest.skip(f"{tool} is not installed")
    folder.mkdir()
    for other in BLOCKS:
        if other.page == block.page and other.language in CHECKS and other.name:
            (folder / other.name).write_text(other.text)
    if block.language == "bash":
        return lambda text: ["bash", "-euo", "pipefail", "-c", text]
    if block.language == "python":
        python = str(python_of(block.environment)) if block.environment else sys.executable
        return lambda text: [python, "-c", text]
    if block.environment == NODE:
        (folder / "node_modules").symlink_to(folder_of(NODE) / "node_modules")

    def node(text: str) -> list[str]:
        (folder / "program.mjs").write_text(text)
        return ["node", "program.mjs"]

    return node


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Indented `pip install` lines name packages that are tested, or ours; flags of `streamer` are its flags."""
    requirements = [
        line for file in CLIENTS.glob("requirements-*.txt") for line in file.read_text().splitlines()
    ]
    tested = {Requirement(line).name for line in requirements if not line.startswith("#")} | {"bark-streamer"}
    for line in re.findall(r"^ {4,}(\S.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line, comments=True) if line.startswith(("pip install ", "streamer ")) else [""]
        if words[0] == "pip":
            assert {Requirement(word).name for word in words[2:]} <= tested, line
        elif words[0] == "streamer" and "--help" not in words:
            with pytest.raises(SystemExit) as ending:
                main([*words[1:], "--help"])
            assert not ending.value.code, capsys.readouterr().err
