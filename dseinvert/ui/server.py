"""The page and its actions over HTTP; all that knows Starlette and uvicorn is here."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dseinvert.errors import DseInvertError, InputError, OutputError, UsageError
from dseinvert.names import json_value, printable
from dseinvert.ui import guard
from dseinvert.ui.given import Download
from dseinvert.ui.session import Answer, Session, Sessions

_PAGE = Path(__file__).parent
_TYPES = {"page.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
_COOKIE, _LARGEST, _LONGEST = "dseinvert", 256 << 20, 1 << 20
"""Bytes of a photo, and of what an action is told."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; media-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)


def app_of(model: str, hosts: list[str]) -> Starlette:
    """The application; `hosts` are the names it answers to, so that no other page reaches it."""
    sessions = Sessions(model)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(sessions.end)

    async def page(request: Request) -> Response:
        name = request.url.path.removeprefix("/") or "page.html"
        data = (_PAGE / name).read_bytes()
        response = Response(data, media_type=_TYPES[name], headers=_HEADERS)
        if name == "page.html" and sessions.get(request.cookies.get(_COOKIE, "")) is None:
            if not guard.may_begin(request.headers):
                return JSONResponse({"error": "open the page by itself"}, 403, _HEADERS)
            key = await run_in_threadpool(sessions.begin)
            response.set_cookie(_COOKIE, key, httponly=True, samesite="strict")
        return response

    async def act(request: Request) -> Response:
        session = _session(sessions, request)
        asked, action = _json(await _read(request, _LONGEST)), request.path_params["action"]
        return _sent(await run_in_threadpool(_answered, session, action, asked))

    async def put(request: Request) -> Response:
        session, name = _session(sessions, request), request.query_params.get("name", "photo")
        if request.path_params["kind"] == "clip":
            file = await _kept(request, session.place(name))
            return _sent(await run_in_threadpool(session.dropped_clip, file))
        data = await _read(request, _LARGEST)
        return _sent(await run_in_threadpool(session.photo, name, data))

    async def file(request: Request) -> Response:
        path = _session(sessions, request).files.get(request.path_params["key"])
        return _file(path)

    async def out(request: Request) -> Response:
        return _file(sessions.job_file(request.path_params["key"], request.path_params["name"]))

    async def refused(request: Request, error: Exception) -> Response:
        session, said = sessions.get(request.cookies.get(_COOKIE, "")), str(error)
        said = said if session is None else session.without_place(said)
        return JSONResponse({"error": said}, 422, _HEADERS)

    return Starlette(
        routes=[
            *(Route(path, page) for path in ("/", "/page.js", "/page.css")),
            Route("/api/{action}", act, methods=["POST"]),
            Route("/drop/{kind}", put, methods=["PUT"]),
            Route("/file/{key}", file),
            Route("/out/{key}/{name:path}", out),
        ],
        middleware=[Middleware(_Guarded, names=hosts)],
        exception_handlers={DseInvertError: refused, OSError: refused, Exception: _bug},
        lifespan=lifespan,
    )


class _Guarded:
    """The application, for those who may ask."""

    def __init__(self, app: ASGIApp, names: list[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        app = self._app
        if scope["type"] == "http":
            request = Request(scope)
            if not guard.may_ask(request.method, request.headers, self._names):
                said = {"error": "this page is asked for by an address of its machine alone"}
                app = JSONResponse(said, 403, _HEADERS)
        await app(scope, receive, send)


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        UsageError: it is taken, or no address of this machine.
    """
    try:
        socket.getaddrinfo(host, port)
        return socket.create_server((host, port))
    except socket.gaierror as error:
        what = f"--host {printable(host)}: no address of this machine"
        raise UsageError(what, "127.0.0.1, or 0.0.0.0 for the network") from error
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0].lower()
        raise UsageError(f"port {port} of {host}: {why}", "choose another --port") from error


def serve(model: str, listening: socket.socket, hosts: list[str], up: Callable[[], None]) -> None:
    """Answer until Ctrl-C; `up` is called when the page can be opened."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            up()

    settings = uvicorn.Config(app_of(model, hosts), log_level="warning", access_log=False)
    Server(settings).run([listening])


def _answered(session: Session, action: str, asked: dict[str, Any]) -> Answer:
    torch.set_num_threads(session.threads)  # each of the pool's threads has a number of its own
    return session.answer(action, asked)


def _session(sessions: Sessions, request: Request) -> Session:
    session = sessions.get(request.cookies.get(_COOKIE, ""))
    if session is None:
        raise UsageError("this page is out of date", "load it again")
    return session


def _sent(found: Answer) -> Response:
    if isinstance(found, Download):
        name = json.dumps(found.name.encode("ascii", "replace").decode())
        headers = {**_HEADERS, "Content-Disposition": f"attachment; filename={name}"}
        return Response(found.data, media_type="application/octet-stream", headers=headers)
    return JSONResponse(found, headers=_HEADERS)


async def _read(request: Request, most: int) -> bytes:
    """What was sent, in memory; InputError where it is more than `most` bytes."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise InputError(f"what was sent has more than {most >> 20} MB", "make it smaller")
    return bytes(data)


async def _kept(request: Request, path: Path) -> Path:
    """A file that was dropped, written to `path` as it comes."""
    try:
        with path.open("wb") as file:
            async for part in request.stream():
                file.write(part)
    except OSError as error:
        path.unlink(missing_ok=True)
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"{gettempdir()}: {why}", "name the clip by its path") from error
    except BaseException:  # whoever sent it has gone
        path.unlink(missing_ok=True)
        raise
    return path


def _json(data: bytes) -> dict[str, Any]:
    try:
        asked = json_value(data or b"{}")
    except ValueError as error:
        raise UsageError("what was sent is no JSON") from error
    if not isinstance(asked, dict):
        raise UsageError("what was sent is no JSON object")
    return asked


def _file(path: Path | None) -> Response:
    if path is None or not path.is_file():
        return JSONResponse({"error": "no such file"}, 404, _HEADERS)
    kept = {name: value for name, value in _HEADERS.items() if name != "Content-Security-Policy"}
    # A page of results has a policy of its own; what it holds must not reach this one.
    return FileResponse(path, headers={**kept, "Content-Security-Policy": "sandbox allow-scripts"})


async def _bug(request: Request, error: Exception) -> Response:
    said = printable(f"unexpected {type(error).__name__}: {error} (this is a bug)")
    _log.error("%s", said)
    return JSONResponse({"error": said}, 500, _HEADERS)
