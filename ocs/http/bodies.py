"""Bodies of requests have an end, in octets and in time: beyond it 413 or 408, whatever their head says."""

import asyncio
from typing import Any

from starlette.exceptions import HTTPException

from ocs.api_limits import HTTP_BODY_OCTETS_MAX, HTTP_IDLE_S


class BodyLimit:
    """An ASGI application around another one, which gets no more of a body than it may have, and waits no longer for it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        octets, is_whole = 0, False
        end_s = asyncio.get_running_loop().time() + HTTP_IDLE_S

        async def bounded() -> Any:
            nonlocal octets, is_whole
            if is_whole:  # what comes then is the end of the connection
                return await receive()
            # raised where the body is read, inside what answers with problem details
            try:
                async with asyncio.timeout_at(end_s):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, f"a body has to come within {HTTP_IDLE_S} seconds", {"Connection": "close"}
                ) from None
            octets += len(message.get("body", b""))
            if octets > HTTP_BODY_OCTETS_MAX:
                raise HTTPException(
                    413, f"a body is at most {HTTP_BODY_OCTETS_MAX} octets", {"Connection": "close"}
                )
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, bounded, send)
