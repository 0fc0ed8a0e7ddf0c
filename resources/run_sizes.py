"""What a run needs on Fargate, by kind, as tags that the launcher reads; elsewhere they say the same and change nothing.

Consumer runs and the lake's maintenance have none: they get the whole of the task definition, whose size Terraform sets (`run_size`).
"""

DELIVERY_RUN = {"ecs/cpu": "512", "ecs/memory": "1024"}
"""Waits for mail servers and topics most of its time."""

SMALL_RUN = {"ecs/cpu": "256", "ecs/memory": "1024"}
"""A few statements, in seconds; what it needs is Dagster's own start."""
