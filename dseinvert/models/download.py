"""A verified download that goes on where it was cut."""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.media.atomic import open_in_place, part_path
from dseinvert.media.digest import file_sha256
from dseinvert.media.lock import lock
from dseinvert.version import __version__

Told = Callable[[int, int], None]
"""Called with the bytes here and the bytes in all; 0 in all = not known."""

TRIES = 5
PAUSE_S = 1.0
_TIMEOUT_S = 30
_BLOCK = 2**18
_CUTS = (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError)
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)


def download(url: str, target: Path, *, size: int = 0, sha256: str = "", told: Told) -> str:
    """Fetch `url` to `target`, which appears whole or not at all; returns its sha256.

    What an earlier attempt left is kept and continued.

    Args:
        url: http or https only, also after redirections.
        target: its folder is made where it is not there.
        size: bytes that must be there; 0 = not known.
        sha256: what it must be; "" = not known.
        told: hears of the progress.

    Raises:
        MissingError: not to be reached, or not what was expected. OutputError: cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url}: only http and https addresses are downloaded from")
    part, tag = part_path(target), part_path(target.with_name(f"{target.name}.tag"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            _fetch_all(url, part, tag, size, bool(sha256), told)
            found = _checked(url, part, size, sha256)
            tag.unlink(missing_ok=True)
            part.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot write: {error.strerror or error}") from error
    return found


def _fetch_all(url: str, part: Path, tag: Path, size: int, known: bool, told: Told) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch(url, part, tag, size, known, told)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 416, 429):
                raise MissingError(f"{url}: the server says {error.code} {error.reason}") from None
            why = f"the server says {error.code} {error.reason}"
        except _CUTS as error:
            why = str(getattr(error, "reason", "") or error or type(error).__name__)
        failures = 0 if _size(part) > before else failures + 1
        if failures == TRIES:
            raise MissingError(
                f"{url}: {why}",
                "try again: it goes on where it was; or fetch the file yourself and give it to "
                "`dseinvert models add`",
            )
        time.sleep(PAUSE_S * failures)


def _fetch(url: str, part: Path, tag: Path, size: int, known: bool, told: Told) -> None:
    """One connection. What is there is continued where it is certainly of the same file."""
    headers = {"User-Agent": f"dseinvert/{__version__}", "Accept-Encoding": "identity"}
    here, mark = _size(part), tag.read_text("utf-8") if tag.is_file() else ""
    if size and here == size:
        return
    if here and (mark or known):
        headers["Range"] = f"bytes={here}-"
        if mark:
            headers["If-Range"] = mark
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            _after_the_end(error, part)
            if _size(part):
                return
        raise
    with response:
        _same_scheme(url, response.url)
        here = here if _continues(response, here) else 0
        strong = response.headers.get("ETag", "")
        tag.write_text("" if strong.startswith("W/") else strong, "utf-8")
        length = response.headers.get("Content-Length")
        whole = here + int(length) if length and length.isdecimal() else 0
        if size and whole and whole != size:
            raise MissingError(f"{url}: {whole:,} bytes where {size:,} were expected")
        _store(response, part, here, whole or size, told)
        if whole and _size(part) < whole:
            raise ConnectionError("the connection was cut")


def _store(response: Any, part: Path, here: int, whole: int, told: Told) -> None:
    with os.fdopen(open_in_place(part), "ab") as file:
        file.truncate(here)
        while block := response.read(_BLOCK):
            file.write(block)
            here += len(block)
            told(here, whole)
            if whole and here > whole:
                raise MissingError(f"{response.url}: sends more than the {whole:,} bytes it has")


def _continues(response: Any, here: int) -> bool:
    """Whether the answer is the rest of the file; a server may also send all of it."""
    if response.status != 206:
        return False
    said = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if said is None or int(said[1]) != here:
        raise ConnectionError("the server sent another part of the file")
    return True


def _after_the_end(error: urllib.error.HTTPError, part: Path) -> None:
    """Nothing is left to fetch, unless what is here is too long: then it goes."""
    said = re.match(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if said is None or int(said[1]) != _size(part):
        part.unlink(missing_ok=True)


def _checked(url: str, part: Path, size: int, sha256: str) -> str:
    found = file_sha256(part)
    if (sha256 and found != sha256) or (size and _size(part) != size):
        part.unlink()
        raise MissingError(
            f"{url}: not the file that was expected: its sha256 is {found[:16]}..., not "
            f"{sha256[:16]}...",
            "what was downloaded is deleted",
        )
    return found


def _same_scheme(asked: str, got: str) -> None:
    if urlsplit(asked).scheme == "https" and urlsplit(got).scheme != "https":
        raise MissingError(f"{asked}: leads to an address without encryption")


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone: the library's own also opens files and ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    return opener


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Two processes would write into each other's file; where it can be locked, one is refused."""
    guard = part.with_name(f"{part.name}.lock")
    with os.fdopen(open_in_place(guard), "ab") as file:
        if not lock(file.fileno()):
            raise MissingError(f"{part}: another process is downloading it")
        yield
    with suppress(OSError):
        guard.unlink()
