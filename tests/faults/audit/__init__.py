"""An audit of a stopped platform from outside: the exchange's own journal and the customers' notes against
every store.

It shares no code with the platform: no module here imports `exchange_platform` (test_audit.py holds this),
and what follows from a bet is worked out here a second time. Running a platform and breaking it lives in
tests/faults/storm/.
"""
