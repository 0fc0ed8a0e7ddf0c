"""The platform on one machine: its processes and the AWS emulator. Not here: what the processes do."""
