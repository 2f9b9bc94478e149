"""The declarative file for Ray Serve, as Ray reads it; `tests/commands/test_ray.py` checks what it sets of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

schema = pytest.importorskip(
    "ray.serve.schema", reason="ray is not installed: pip install 'bark-streamer[ray]'"
)

FILE = Path(__file__).parents[2] / "deploy" / "ray" / "serve.yaml"


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_ray_serve_reads_the_file() -> None:
    """Every setting is one of Ray's, and the policy is found and can be copied into its controller."""
    from ray.serve.config import AutoscalingConfig

    declared = schema.ServeDeploySchema(**yaml.safe_load(FILE.read_text(encoding="utf-8")))
    (application,) = declared.applications
    engine = application.deployments[0]
    scaling = AutoscalingConfig(**engine.autoscaling_config)
    assert scaling.look_back_period_s > scaling.metrics_interval_s
    assert scaling.policy.get_policy().__name__ == "replicas_for_listeners"
    assert engine.ray_actor_options.num_gpus == 1
