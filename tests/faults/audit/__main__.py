"""Repeats the audit of a storm that is over: python -m tests.faults.audit EVIDENCE, a file that the storm
names where it fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.audit.audit import audit, figures, load
from tests.faults.audit.findings import in_words

if __name__ == "__main__":
    evidence = load(Path(sys.argv[1]))
    print(figures(evidence))
    print(in_words(audit(evidence), examples=20) or "nothing is wrong")
