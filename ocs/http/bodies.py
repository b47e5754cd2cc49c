"""Bodies of requests have an end: beyond it 413, whatever their head says."""

from typing import Any

from starlette.exceptions import HTTPException

from ocs.limits import HTTP_BODY_OCTETS_MAX


class BodyLimit:
    """An ASGI application around another one, which gets no more of a body than it may have."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        octets = 0

        async def bounded() -> Any:
            nonlocal octets
            message = await receive()
            octets += len(message.get("body", b""))
            if octets > HTTP_BODY_OCTETS_MAX:
                # raised where the body is read, inside what answers with problem details
                raise HTTPException(
                    413, f"a body is at most {HTTP_BODY_OCTETS_MAX} octets", {"Connection": "close"}
                )
            return message

        await self._app(scope, bounded, send)
