"""The HTTP application of the charging server: health and metrics, to which later doors add their routers."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.routing import Route

from ocs.http.audit_log import Audited
from ocs.http.bodies import BodyLimit
from ocs.http.exact import read_exactly
from ocs.http.headers import Headers
from ocs.http.metrics import CountedMetric, CountersCollector
from ocs.http.page import describe, tell_page
from ocs.http.problems import tell_problems


class Health(NamedTuple):
    """Whether new sessions may be sent here, each thing that was looked at, and facts worth showing."""

    ready: bool
    checks: Mapping[str, bool]
    facts: Mapping[str, Any]


class Alive(BaseModel):
    """Answer of /health/live."""

    status: str = "alive"


class Readiness(BaseModel):
    """Answer of /health/ready."""

    status: str
    checks: dict[str, bool]
    facts: dict[str, Any]


def application(
    *,
    health: Callable[[], Health],
    read_metrics: Callable[[], Iterable[CountedMetric]],
    version: str,
    routers: Iterable[APIRouter] = (),
    hosts: Iterable[str] | None = None,
    secured: bool = False,
    title: str = "ocs",
    summary: str = "Prepaid real-time charging server",
) -> FastAPI:
    """Build the application. Health and metrics need no key: they show no subscriber and no amount; every one of ``routers`` sees to it.

    ``hosts`` are the only names that it answers to (None: any); ``secured`` whether it is spoken to over TLS.
    """
    # a redirect to the same path with a stroke would name whatever Host the request named
    app = FastAPI(title=title, version=version, summary=summary, redirect_slashes=False)
    routers = tuple(routers)
    app.add_middleware(BodyLimit)
    app.add_middleware(Audited)
    app.add_middleware(Headers, hosts=hosts, secured=secured)  # outermost: what was added last
    tell_problems(app)
    tell_page(app)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CountersCollector(read_metrics))

    @app.get("/health/live", tags=["health"])
    async def live() -> Alive:
        """Answer while the process lives at all."""
        return Alive()

    @app.get(
        "/health/ready",
        tags=["health"],
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Send no new sessions here."}},
    )
    async def ready() -> JSONResponse:
        """Answer 200 when new sessions may be sent here, else 503, and what was looked at."""
        seen = health()
        body = Readiness(
            status="ready" if seen.ready else "not ready", checks=dict(seen.checks), facts=dict(seen.facts)
        )
        return JSONResponse(body.model_dump(mode="json"), status_code=200 if seen.ready else 503)

    # A plain function: reading the files runs beside the loop, in FastAPI's threads.
    @app.get("/metrics", tags=["metrics"], response_class=PlainTextResponse)
    def metrics() -> Response:
        """Publish what all processes have counted, in Prometheus's text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    for each in routers:
        app.include_router(describe(read_exactly(each)))
    app.state.addresses = [
        route
        for routes in (app.routes, *(each.routes for each in routers))
        for route in routes
        if isinstance(route, Route)
    ]
    return app
