#!/usr/bin/env bash
# setuptools' wheel of the same files, with SOURCE_DATE_EPOCH set, differs by the umask of who builds it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet build==1.3.0 setuptools==84.2.1
mkdir -p "$folder/project"
cat > "$folder/project/pyproject.toml" <<'TOML'
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "finding"
version = "1"
[tool.setuptools]
py-modules = ["finding"]
TOML
echo "ANSWER = 42" > "$folder/project/finding.py"
chmod 644 "$folder/project/finding.py"
number=0
export SOURCE_DATE_EPOCH=1700000000
for mask in 022 022 077; do
    place="$folder/out$((number += 1))"
    cp -rp "$folder/project" "$place"
    (umask "$mask" && cd "$place" && "$folder/venv/bin/python" -m build --wheel --no-isolation --outdir dist . >/dev/null 2>&1)
    sha256sum "$place"/dist/*.whl | cut -c1-16
done | tee "$folder/hashes"
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

folder = Path(sys.argv[1])
print("setuptools", version("setuptools"))
hashes = (folder / "hashes").read_text().split()
for place in ("out2", "out3"):
    (wheel,) = (folder / place / "dist").glob("*.whl")
    modes = {item.filename: oct(item.external_attr >> 16 & 0o777) for item in zipfile.ZipFile(wheel).infolist()}
    print(place, modes)
assert hashes[0] == hashes[1], "two builds with one umask differ, too"
assert hashes[1] != hashes[2], "this has changed: the umask does not matter any more"
PY
