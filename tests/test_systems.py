"""Every module can be imported where only Windows' part of the standard library is there."""

from __future__ import annotations

import subprocess
import sys

# What the document of each of these modules says: "Availability: Unix".
UNIX = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
CODE = """
import builtins, importlib, sys

hidden, found = set(sys.argv[1].split()), sys.argv[2].split()
plain, failed = builtins.__import__, []


def guarded(name, globals=None, *rest, **more):
    asks = (globals or {}).get("__name__", "")
    if name in hidden and asks.startswith("dseinvert"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return plain(name, globals, *rest, **more)


builtins.__import__ = guarded
for name in found:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in hidden:
            failed.append(f"{name} needs {error.name}")
        elif error.name.startswith("dseinvert"):
            raise
print(*failed, sep="\\n")
"""


def test_no_module_asks_for_what_only_one_system_has_to_be_imported(modules: list[str]) -> None:
    assert {"dseinvert.evaluation.compare", "dseinvert.export.triton"} <= {*modules}
    done = subprocess.run(
        [sys.executable, "-c", CODE, " ".join(UNIX), " ".join(modules)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n") == ["", ""]
