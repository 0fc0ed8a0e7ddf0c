"""Scripts, styles, fonts and pictures of the pages, cached for ever under a path that changes with them. Not
here: the pages.
"""

from __future__ import annotations

import mimetypes

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from exchange_platform.api.http.problems import Problem
from exchange_platform.api.services import AppState

router = APIRouter(include_in_schema=False)


@router.get("/static/{version}/{name:path}")
def static(services: AppState, version: str, name: str) -> Response:
    """A file; one of another version than asked for (a page made before an upgrade) is not cached."""
    path = services.static.path(name)
    if path is None:
        raise Problem(404, "not_found", "there is no such file")
    caching = "public, max-age=31536000, immutable" if version == services.static.version else "no-cache"
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=media_type, headers={"Cache-Control": caching})
