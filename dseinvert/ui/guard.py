"""Who may ask: the page itself, by a name of this machine, and no page of another site."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping

_NAVIGATES = ("navigate", "")
_OWN = ("same-origin", "none", "")
_LOCAL = (".local", ".lan", ".internal", ".home.arpa")
"""Ends of names that nobody can register."""
_SHARED = "?"
"""Stands for addresses, and for names of a network that is nobody else's."""


def may_ask(method: str, headers: Mapping[str, str], names: Collection[str]) -> bool:
    """Whether a request came from the page, or from a program.

    Another site could give its own name the address of this machine and so read what is shown
    here; an address as it stands cannot be given away. What changes something must come from the
    page where a browser says where it came from: cookies do not tell ports apart.

    Args:
        method: such as GET. headers: in lower case.
        names: hosts that may be asked for; "*" = any.
    """
    host = headers.get("host", "")
    if "*" not in names and not _is_known(_name(host), names):
        return False
    origin = headers.get("origin")
    return method in ("GET", "HEAD") or origin is None or origin.partition("://")[2] == host


def may_begin(headers: Mapping[str, str]) -> bool:
    """Whether somebody came to look: not a picture or a frame in the page of another site."""
    own = headers.get("sec-fetch-site", "") in _OWN
    whole = headers.get("sec-fetch-dest", "document") == "document"
    return own or (whole and headers.get("sec-fetch-mode", "") in _NAVIGATES)


def names_here(host: str) -> list[str]:
    """The names that a page may be asked for under, of a server that listens at `host`."""
    if host in ("127.0.0.1", "localhost", "::1"):
        return ["127.0.0.1", "localhost", "::1"]
    own = socket.gethostname().lower()
    return [host.lower(), "localhost", own, socket.getfqdn().lower(), _SHARED]


def _is_known(name: str, names: Collection[str]) -> bool:
    if name in names:
        return True
    local = "." not in name or name.endswith(_LOCAL) or _is_address(name)
    return _SHARED in names and bool(name) and local


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """Without its port: `localhost:7860`, `[::1]:7860`."""
    name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")
