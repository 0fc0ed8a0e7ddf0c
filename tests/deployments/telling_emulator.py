"""`python -m tests.deployments.telling_emulator ...`: the emulator, which also tells what it was given to
mail. Not here: the emulator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from moto.ses.models import ses_backends

from exchange_platform.local.emulator import server as emulator

SENT = "/sent-mails"


class Telling:
    """A WSGI application that answers for one path, and hands all else on."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != SENT:
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer
        start_response("200 OK", [("Content-Type", "application/json")])
        backends = [backend for regions in ses_backends.values() for backend in regions.values()]
        return [json.dumps([mail.raw_data for one in backends for mail in list(one.sent_messages)]).encode()]


if __name__ == "__main__":
    emulator.main(through=Telling)
