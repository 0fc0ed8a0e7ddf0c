"""`python -m exchange_platform.local.probe URL`: whether something answers there, for a container's health
check. It imports nothing heavy.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4


def main() -> int:
    """Ask; the exit status is 0 if the answer was well."""
    if len(sys.argv) != 2 or not sys.argv[1].startswith(("http://", "https://")):
        print("usage: python -m exchange_platform.local.probe http://HOST:PORT/PATH", file=sys.stderr)
        return 2
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(sys.argv[1], timeout=TIMEOUT_S).close()
    except (urllib.error.URLError, OSError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
