#!/usr/bin/env bash
# `pip install encodec transformers` beside the CPU build of torch: the index's torchaudio comes along, and breaks both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
"$folder/venv/bin/pip" install --quiet torch==2.13.0+cpu encodec==0.1.1 torchaudio==2.11.1 transformers==5.24.0
"$folder/venv/bin/pip" check && echo "pip finds nothing wrong"
tried() {
    echo "--- $1"
    if "$folder/venv/bin/python" -c "$1" 2>"$folder/errors"; then
        echo "CHANGED: it is imported" >&2
        exit 1
    fi
    grep -E '^[A-Za-z]*Error' "$folder/errors"
    grep -q 'libc10_cuda.so' "$folder/errors"
}
tried 'import encodec'
tried 'from transformers import BarkModel'
"$folder/venv/bin/pip" uninstall --quiet --yes torchaudio
echo "--- from transformers import BarkModel, without torchaudio"
"$folder/venv/bin/python" -c 'from transformers import BarkModel; print("is imported")'
