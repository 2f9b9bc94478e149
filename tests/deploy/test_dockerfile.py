"""The Dockerfile, which cannot be built everywhere, read for what has to hold of its image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamer.commands.cli import _parser

ROOT = Path(__file__).parents[2]
STAGES = re.split(
    r"^FROM ", (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " "), flags=re.MULTILINE
)[1:]
BUILD, FINAL = STAGES
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def values(instruction: str) -> list[str]:
    """What follows the instruction in the final stage, for each time that it is there."""
    return re.findall(rf"^{instruction} (.*)$", FINAL, re.MULTILINE)


def test_the_image_holds_the_environment_alone() -> None:
    """One folder comes from the build, which has no pip, and nothing is installed afterwards but Triton's compiler."""
    assert BUILD.startswith("python:3.11-slim AS build") and FINAL.startswith("python:3.11-slim\n")
    assert values("COPY") == ["--from=build /opt/streamer /opt/streamer"] and values("ADD") == []
    compiler, command = values("RUN")
    for line in (compiler.partition("apt-get update")[0], command):
        assert not re.search(r"\b(apt|apt-get|pip|curl|wget)\b", line)
    assert "--without-pip" in BUILD


def test_the_image_for_a_gpu_has_what_triton_compiles_with() -> None:
    """At its first start on a GPU Triton builds a module of C; the images for other devices have no compiler."""
    compiler, _ = values("RUN")
    assert values("ARG") == ["DEVICE=cpu"] and compiler.startswith('if [ "$DEVICE" = cuda ]; then')
    (packages,) = re.findall(r"install --yes --no-install-recommends ([^&]*)&&", compiler)
    assert packages.split() == ["gcc", "libc6-dev"] and compiler.rstrip().endswith("fi")


def test_it_runs_as_nobody() -> None:
    """By number, so that Kubernetes can check it, and before the command; that user owns the cache alone."""
    (user,) = values("USER")
    uid, _, gid = user.partition(":")
    assert (
        uid == gid and int(uid) > 999 and f"--uid {uid} --no-create-home --shell /usr/sbin/nologin" in FINAL
    )
    assert FINAL.index("USER ") < FINAL.index("ENTRYPOINT ")
    assert re.findall(r"install -d -o streamer -g streamer (.*)", FINAL) == ["/var/cache/streamer"]


def test_its_root_may_be_read_only() -> None:
    """Whatever is written while it runs has a place below the cache."""
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(values("ENV"))))
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    for name in ("NUMBA_CACHE_DIR", "TRITON_CACHE_DIR"):
        assert variables[name].startswith("/var/cache/streamer")


def test_its_command_is_ours() -> None:
    """The entry point and the default command are understood, and the signal is the one that drains."""
    assert values("ENTRYPOINT") == ['["streamer"]'] and values("STOPSIGNAL") == ["SIGTERM"]
    (command,) = values("CMD")
    assert _parser().parse_args(re.findall(r'"(\w+)"', command)).run


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torch_is_of_the_device(device: str) -> None:
    """Each device has a lock of its own."""
    assert f"{device}) set -- -r requirements/torch-{device}.txt" in BUILD
    assert (ROOT / f"requirements/torch-{device}.txt").exists()


def test_a_front_end_has_neither_torch_nor_a_compiler() -> None:
    """And any other device than those that are known ends the build."""
    assert re.search(r"none\) exit 0 ;;", BUILD)
    assert (
        'if [ "$DEVICE" = none ]; then pip --python /opt/streamer uninstall --yes numba llvmlite; fi' in BUILD
    )
    assert re.search(r"\*\) echo .*>&2; exit 1 ;;", BUILD)


def test_only_what_is_copied_is_sent_to_the_build() -> None:
    """Secrets and results beside the sources never get into a layer."""
    copied = {word for line in re.findall(r"^COPY (.*)$", BUILD, re.MULTILINE) for word in line.split()[:-1]}
    assert IGNORED[1] == "*" and {line[1:] for line in IGNORED if line.startswith("!")} == copied
