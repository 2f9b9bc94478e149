#!/usr/bin/env bash
# Ray Serve warns that autoscaling's metrics_interval_s is deprecated, in favour of a variable that it reads nowhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[serve]==2.60.0'
"$folder/venv/bin/python" - <<'PY'
import re
from importlib.metadata import version
from pathlib import Path

import ray
from ray.serve.config import AutoscalingConfig

NAME = "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"
print("ray", version("ray"))
places = [
    (str(path.relative_to(Path(ray.__file__).parent)), line.strip())
    for path in sorted(Path(ray.__file__).parent.rglob("*.py"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if NAME in line
]
for path, line in places:
    print(f"  {path}: {line[:100]}")
# A use would be an import into another module, or the name in an expression that is not its own definition or a text.
defined = {path for path, line in places if re.match(rf"{NAME}\s*=", line)}
used = [(path, line) for path, line in places if path not in defined and "import" not in line and "\"" not in line and "`" not in line]
print("the field that is called deprecated:", AutoscalingConfig(metrics_interval_s=1.5).metrics_interval_s)
print("modules that define the variable:", sorted(defined), "and places that use it:", used)
assert defined and not used, "the variable is used now"
PY
