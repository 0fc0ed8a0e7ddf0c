"""Tests of the reconciliation checks, on real stores."""
