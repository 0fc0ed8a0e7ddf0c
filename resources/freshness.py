"""When an asset counts as fresh. Who keeps it so is the asset's own file."""

from datetime import timedelta

import dagster as dg

LIVE = dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=2), warn_window=timedelta(seconds=60))
"""A live run reports on each of its assets every ten seconds, whether or not anything came."""
