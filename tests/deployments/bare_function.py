"""Plays Lambda: takes events from stdin and answers them with the function of an unpacked zip. Run by a bare
interpreter.

`python -I -S bare_function.py DIRECTORY`, with an array of events; prints {"answers", "modules", "import_s",
"first_s"}.
"""

import importlib
import json
import os
import sys
import time


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    events = json.load(sys.stdin)
    began = time.perf_counter()
    handler = importlib.import_module("exchange_platform.api.lambda_handler").handler
    imported = time.perf_counter()
    at_start = sorted(sys.modules)
    answers = []
    first = 0.0
    for event in events:
        answers.append(handler(event, None))
        first = first or time.perf_counter()
    found = {name: str(getattr(module, "__file__", None) or "") for name, module in list(sys.modules.items())}
    print(
        json.dumps(
            {
                "answers": answers,
                "modules": found,
                "at_start": at_start,
                "import_s": imported - began,
                "first_s": first - imported if first else 0.0,
            }
        )
    )


main()
sys.stdout.flush()
os._exit(0)  # as Lambda does: its processes end without a word
