"""Renders a mail's two bodies from its templates (templates/NAME.txt and NAME.html). Not here: what they are
given (notifications/, confirmation/).

HTML is escaped by default and whatever a template names must be there: a mail with a hole in it is not sent.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

BRAND = "Exchange Platform"
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class Bodies:
    """One mail's text, and the same in HTML."""

    text: str
    html: str


def render(template: str, **values: Any) -> Bodies:
    """Render `template`'s two bodies. `values` are what its comment at the top asks for, as they are:
    escaping is done here.

    Every template needs `subject` and `preferences_url` (None: no link to choose mails by). Raises
    `jinja2.TemplateError`.
    """
    environment = _environment()
    values = {"brand": BRAND, **values}
    return Bodies(
        text=environment.get_template(f"{template}.txt").render(values).strip() + "\n",
        html=environment.get_template(f"{template}.html").render(values),
    )


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=["html"], default_for_string=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
