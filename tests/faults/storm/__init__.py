"""The storm: a whole platform under customers while something kills and stops its processes. What must be
true afterwards lives in tests/faults/audit/.
"""
