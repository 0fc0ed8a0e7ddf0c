"""Everything on AWS: the same definitions, with what only AWS has. Not here: what they are (definitions.py),
or where the stores are: that is the environment's, which Terraform sets (docs/configuration.md).

Dagster's own files for AWS lie in deployments/aws/: dagster.yaml (its home) and workspace.yaml.
"""

from deployments.definitions import build_definitions
from sensors.cloud_metrics import cloud_metrics_sensor

__all__ = ["defs"]

defs = build_definitions(more_sensors=[cloud_metrics_sensor])
