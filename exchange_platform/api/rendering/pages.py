"""What every page is made of: its templates and its static files. Not here: the pages.

Templates escape whatever they are given. Links are relative, so the pages work below a path of a proxy's,
too. Nothing is inline and nothing comes from another host: the Content-Security-Policy (headers.py) would
refuse it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from exchange_platform.api.http.problems import MEDIA_TYPE, Problem

router = APIRouter(include_in_schema=False)

HTML: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
"""A page, in the OpenAPI document."""

UNREADABLE_FORM: dict[str, Any] = {
    "description": "A field is missing (a page), or the form can't be read (a problem document).",
    "content": {
        **HTML["content"],
        MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}},
    },
}

_STATIC = Path(__file__).parents[1] / "static"
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {path.name: path for path in _STATIC.iterdir() if path.suffix in _MEDIA_TYPES}
_templates = Environment(
    loader=PackageLoader("exchange_platform.api", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    template: str, *, status: int = 200, retry_after_s: int | None = None, **values: Any
) -> HTMLResponse:
    """The page that a template makes of the values."""
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else None
    return HTMLResponse(_templates.get_template(template).render(values), status, headers)


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """A style, script or picture of the pages."""
    path = _FILES.get(name)
    if path is None:
        raise Problem(404, "not_found", "there is no such file")
    return FileResponse(
        path, media_type=_MEDIA_TYPES[path.suffix], headers={"Cache-Control": "public, max-age=300"}
    )
