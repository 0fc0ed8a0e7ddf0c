"""The Dagster UI behind a guard: `python -m deployments.webserver` takes dagster-webserver's own arguments.

The UI asks for no password, and whatever reaches it may end and delete runs. dagster-webserver takes requests
of any page that an operator's browser opens: a mutation by GET, from an image, under any name. What is
refused here, besides other sites' requests (origins.py): a GET that changes something, and a POST of a kind
that a form of another site can send.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from dagster_webserver import cli as _cli
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

from exchange_platform.process.origins import OriginGuard, Scope, allowed_names
from exchange_platform.settings import load_settings

_BODIES = ("application/json", "application/graphql")
webserver: Any = _cli  # whose types its package does not export
_create_app = webserver.create_app_from_workspace_process_context


def refused_by_kind(scope: Scope) -> str | None:
    """Why a request is refused whoever sends it; None if it may go on."""
    if scope["type"] != "http":
        return None
    if scope["method"] == "POST":
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        media = [kind.decode("latin-1").partition(";")[0].strip().lower() for kind in kinds]
        if len(media) != 1 or media[0] not in _BODIES:
            return f"a POST is of the type {' or '.join(_BODIES)}"
    elif any(_changes(query) for query in _queries(scope)):
        return "a GET changes nothing: send mutations by POST"
    return None


def _queries(scope: Scope) -> list[str]:
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("query", [])


def _changes(query: str) -> bool:
    """Whether a GraphQL document has anything but queries in it. What can't be parsed, Dagster refuses: it
    parses it likewise.
    """
    try:
        document = parse(query, no_location=True)
    except (GraphQLError, RecursionError):
        return False
    return any(
        isinstance(part, OperationDefinitionNode) and part.operation is not OperationType.QUERY
        for part in document.definitions
    )


class _Framed:
    """Lets no other site show these pages inside its own, where an operator could be made to press a
    button.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-frame-options", b"DENY"),
                    (b"cross-origin-resource-policy", b"same-origin"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


def guarded(app: Any, *, allowed: frozenset[str]) -> Any:
    """The webserver's application behind the guard."""
    app.add_middleware(_Framed)
    app.add_middleware(OriginGuard, allowed=allowed, also=refused_by_kind)
    return app


def main() -> None:
    """Run dagster-webserver with the guard before it."""
    settings = load_settings()
    allowed = allowed_names(settings.allowed_hosts)

    def create_app(*arguments: Any, **options: Any) -> Any:
        return guarded(_create_app(*arguments, **options), allowed=allowed)

    webserver.create_app_from_workspace_process_context = create_app
    webserver.main()


if __name__ == "__main__":
    main()
