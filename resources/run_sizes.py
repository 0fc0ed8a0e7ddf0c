"""What a run needs on Fargate, by kind, as tags that the launcher reads; elsewhere they say the same and
change nothing. And what a sensor may take.

Consumer runs and the lake's maintenance have none: they get the whole of the task definition, whose size
Terraform sets (`run_size`).
"""

DELIVERY_RUN = {"ecs/cpu": "512", "ecs/memory": "1024"}
"""Waits for mail servers and topics most of its time."""

SMALL_RUN = {"ecs/cpu": "256", "ecs/memory": "1024"}
"""A few statements, in seconds; what it needs is Dagster's own start."""

SENSOR_LAKE_MB = 256
"""What the one sensor that opens the lake may have of the code server's memory for it; a round looks at a
share that fits, and spills what does not.
"""
