"""The page of the OpenAPI document at `/docs`, with nothing from another host. Not here: the document, which
the routes make.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

router = APIRouter(include_in_schema=False)

_ASSETS = Path(fastapi_offline.__file__).parent / "static"
_OWN = Path(__file__).parents[1] / "static"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Exchange Platform API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Swagger UI sets styles on its own elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/docs", response_class=HTMLResponse)
def docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/swagger-ui-bundle.js")
def bundle() -> FileResponse:
    """Swagger UI's script, as its package ships it."""
    return FileResponse(_ASSETS / "swagger-ui-bundle.js", media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
def style() -> FileResponse:
    """Swagger UI's style."""
    return FileResponse(_ASSETS / "swagger-ui.css", media_type="text/css")


@router.get("/docs/start.js")
def start() -> FileResponse:
    """The few lines that start it."""
    return FileResponse(_OWN / "docs.js", media_type="text/javascript")
