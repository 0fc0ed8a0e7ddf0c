"""Whether the API works, for load balancers and `up`. Not here: the platform's status (status.py)."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel

from exchange_platform.api.parts import PartsOfApp
from exchange_platform.api.problems import problems

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The API and its database answer."""

    healthy: bool = True


@router.get("/health", responses=problems(503))
def health(parts: PartsOfApp) -> Health:
    """Say that the API and its database answer; 503 while the database is away."""
    with parts.database.read() as connection:
        connection.execute(sa.select(1))
    return Health()
