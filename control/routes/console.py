"""The web console: one page and its files, from memory. It knows nothing; the page asks the admin API.

Everybody may load it, for whoever has to log in needs a page for it; what it shows is asked for by the role
of whoever looks.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from console.site import Asset, site
from control.panel import Panel
from control.roles import Role, needs

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the page may do (Content Security Policy level 3): load files and data from here, and nothing else. No
text can become markup or script in it: no policy of Trusted Types is allowed to make any."""

HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "vary": "accept-encoding",
}

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


def routes(panel: Panel) -> APIRouter:
    """`/` and `/assets/`."""
    router = APIRouter(include_in_schema=False)
    found = site()

    @router.get("/", dependencies=[needs(Role.NOBODY)])
    async def page(request: Request) -> Response:
        return answered(request, found.page, ASK_AGAIN)

    @router.get("/assets/{digest}/{name:path}", dependencies=[needs(Role.NOBODY)])
    async def asset(request: Request, digest: str, name: str) -> Response:
        held = found.assets.get(name) if digest == found.digest else None
        if held is None:
            raise HTTPException(404)
        return answered(request, held, FOR_EVER)

    return router


def answered(request: Request, asset: Asset, keeping: str) -> Response:
    """`asset`, or 304 where the client has it, compressed where the client reads that."""
    zipped = bool(asset.gzipped) and _reads_gzip(request.headers.get("accept-encoding", ""))
    tag = f'"{asset.digest}{"-gzip" if zipped else ""}"'
    headers = {**HEADERS, "cache-control": keeping, "etag": tag}
    if tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    if zipped:
        headers["content-encoding"] = "gzip"
    return Response(asset.gzipped if zipped else asset.body, 200, headers, asset.media_type)


def _reads_gzip(accepted: str) -> bool:
    for part in accepted.split(","):
        name, _, quality = part.partition(";")
        if name.strip().lower() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
