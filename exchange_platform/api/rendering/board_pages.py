"""What the board's pages are made with: templates, how they write odds, money and time, addresses. Not here:
which pages there are (board.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import jinja2
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from exchange_platform.api.http.answers import tagged
from exchange_platform.api.rendering.formats import instant_attribute, instant_text, money_text, odds_text
from exchange_platform.api.rendering.static_catalog import StaticFiles


class BoardPages:
    """The templates of `exchange_platform/api/templates/board`. Everything in them is escaped; a name that is
    not given is an error.
    """

    def __init__(self, static: StaticFiles) -> None:
        self._static = static
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("exchange_platform.api", "templates/board"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"odds": odds_text, "money": money_text, "instant": instant}

    def text(self, request: Request, template: str, **values: Any) -> str:
        """The page as text. Addresses in it begin with the root under which the API is reached."""
        root = str(request.scope.get("root_path", "")).rstrip("/")
        return self._templates.get_template(template).render(
            root=root, static=lambda name: root + self._static.url(name), **values
        )

    def answer(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """Answer with the page; with 304 where the client holds it as it is."""
        text = self.text(request, template, **values)
        if status == 200:
            return tagged(request, text, media_type="text/html; charset=utf-8")
        return HTMLResponse(text, status)


def instant(value: datetime, style: str = "full") -> Markup:
    """A `<time>` in UTC, which scripts write in the reader's own time zone; its title stays UTC. `style`:
    full, time, day.
    """
    return Markup('<time datetime="{}" title="{}" data-local="{}">{}</time>').format(
        instant_attribute(value), instant_text(value), escape(style), instant_text(value)
    )
