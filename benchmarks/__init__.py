"""Measurements, each a command that prints figures beside a baseline of the same run. Run: python -m
benchmarks.NAME
"""
