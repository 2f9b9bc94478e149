#!/usr/bin/env bash
# numba puts a copy of each function that a compiled function calls into its own machine code. The process that compiles both runs
# the called one's own code; a process that finds the caller in the cache on disk runs the copy, which LLVM has optimized once more.
# With `fastmath` the two round otherwise (here a root that is estimated), so that a program's first run and all later ones give
# different numbers for the same input, on the same machine. Without `fastmath` they agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
cd "$folder"
cat > heads.py <<'PY'
import sys

import numpy as np
from numba import njit

compiled = njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"} if sys.argv[1] == "fast" else False)


@compiled
def shares(x, out, size, first, end):
    room = np.empty(size, np.float32)
    for head in range(first, end):
        largest, total = np.float32(0), np.float32(0)
        for i in range(size):
            largest = max(largest, abs(x[head * size + i]))
        scale = np.float32(1.4426950408889634) / np.sqrt(np.float32(size)) * (largest / np.float32(127))
        for i in range(size):
            room[i] = x[head * size + i] * scale
            total += room[i]
        for i in range(size):
            out[head * size + i] = room[i] / total


@compiled
def all_shares(x, out, heads):
    size = len(x) // heads
    shares(x, out, size, 0, heads // 2)
    shares(x, out, size, heads // 2, heads)


x = np.random.default_rng(0).normal(size=260).astype(np.float32)
out = np.zeros_like(x)
all_shares(x, out, 4)
print(out.tobytes().hex())
PY
run() { NUMBA_CACHE_DIR="$folder/cache-$1" "$folder/venv/bin/python" heads.py "$1"; }
"$folder/venv/bin/python" -c 'from importlib.metadata import version as v; print({name: v(name) for name in ("numba", "llvmlite")})'
for kind in fast strict; do
    first=$(run $kind) second=$(run $kind) third=$(run $kind)
    [[ $second == "$third" ]]
    [[ $first == "$second" ]] && outcome=same || outcome=other
    printf '%s: the first run and the later ones give %s numbers\n' "$kind" "$outcome"
    [[ $kind/$outcome == fast/other || $kind/$outcome == strict/same ]] || { echo "this has changed"; exit 1; }
done
# Seen with numba 0.68.1 and llvmlite 0.50.0 on an Intel Xeon with AVX-512:
# fast: the first run and the later ones give other numbers
# strict: the first run and the later ones give same numbers
