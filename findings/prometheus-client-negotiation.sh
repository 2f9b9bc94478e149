#!/usr/bin/env bash
# prometheus_client chooses a format by Accept without looking at ranks, promises the version that was asked for, and
# raises TypeError for a version that is no number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet prometheus_client==0.26.0
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from prometheus_client.exposition import choose_encoder

print("prometheus_client", version("prometheus_client"))
OPENMETRICS = "application/openmetrics-text"


def chosen(accept):
    try:
        return choose_encoder(accept)[1]
    except TypeError as error:
        return f"TypeError: {error}"


expected = {
    # RFC 9110, 12.4.2: a rank of 0 says "not acceptable".
    f"{OPENMETRICS};version=1.0.0;q=0, text/plain;q=1": OPENMETRICS,
    # No such version is published or written by this library.
    f"{OPENMETRICS};version=2.0.0": "version=2.0.0",
    # RFC 9110, 5.6.6: a parameter's value may stand in quotes.
    f'{OPENMETRICS};version="1.0.0"': "TypeError",
}
for accept, part in expected.items():
    made = chosen(accept)
    print(f"Accept: {accept}\n    -> {made}")
    assert part in made, f"this has changed: {made}"
PY
