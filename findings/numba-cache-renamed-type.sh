#!/usr/bin/env bash
# numba's cache on disk keeps, in one pickle, the date of a function's source and the types it was compiled for. If a type's class
# was renamed or moved in another module, the list cannot be read, not even to find out that it is old: the call raises
# AttributeError, at every start, until somebody deletes the files. (That a change of a called function goes unnoticed is documented.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
mkdir "$folder/work" && cd "$folder/work"
cat > total.py <<'PY'
from numba import njit

import shapes


@njit(cache=True)
def total(pair):
    return pair[0] + pair[1]


def run():
    return total(shapes.make(1, 2))
PY
shapes() { printf 'from typing import NamedTuple\n\nclass %s(NamedTuple):\n    first: int\n    second: int\n\nmake = %s\n' "$1" "$1" > shapes.py; }
run() { PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" -c 'import total; print(total.run())' 2>&1 | tail -1 || true; }
"$folder/venv/bin/python" -c 'from importlib.metadata import version as v; print({name: v(name) for name in ("numba", "llvmlite")})'
shapes Pair && first=$(run)
shapes Couple && renamed=$(run) && again=$(run)
rm -r __pycache__ && deleted=$(run)
printf 'first: %s\nrenamed: %s\nonce more: %s\nfiles deleted: %s\n' "$first" "$renamed" "$again" "$deleted"
[[ $first == 3 && $deleted == 3 ]]
[[ $renamed == AttributeError* && $again == "$renamed" ]] || { echo "a list of types that are gone no longer raises"; exit 1; }
# Seen with numba 0.68.1 and llvmlite 0.50.0:
# first: 3
# renamed: AttributeError: Can't get attribute 'Pair' on <module 'shapes' from '…/work/shapes.py'>
# once more: AttributeError: Can't get attribute 'Pair' on <module 'shapes' from '…/work/shapes.py'>
# files deleted: 3
