"""The container and the Space of the page, as far as a machine without Docker can tell."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT, child_environment

pytest.importorskip("uvicorn")
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "CMD"}


def instructions() -> list[tuple[str, str]]:
    lines = (ROOT / "examples" / "Dockerfile").read_text().splitlines()
    whole = [line for line in lines if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in whole)]


def test_the_container_copies_what_is_there_and_installs_what_the_package_offers() -> None:
    told = instructions()
    assert {word for word, _ in told} == KNOWN and told[0][0] == "FROM"
    copied = [shlex.split(rest) for word, rest in told if word == "COPY"]
    assert all((ROOT / source).exists() for *sources, _ in copied for source in sources)
    there = {Path(source).name for *sources, _ in copied for source in sources}
    project = (ROOT / "pyproject.toml").read_text()
    assert {"pyproject.toml", "README.md", "LICENSE", "dseinvert", "export"} <= there
    assert re.search(r'^ui = \["starlette', project, re.MULTILINE)
    assert ("RUN", "pip install --no-cache-dir '.[ui]'") in told


def test_the_container_runs_the_example_as_a_user_at_the_port_that_it_shows() -> None:
    told = dict(instructions())
    assert told["USER"] == "user"
    copied = [rest for word, rest in instructions() if word == "COPY"]
    assert "examples/app.py app.py" in copied
    assert told["CMD"] == '["python", "/opt/dseinvert/app.py"]'
    assert f'"PORT", "{told["EXPOSE"]}"' in (ROOT / "examples" / "app.py").read_text()


def test_the_example_serves_the_page(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "app.py")],
        env={**child_environment(), "PORT": "0", "DSEINVERT_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = process.stdout.readline().split()[1]
    assert b"<title>dseinvert" in urlopen(f"http://127.0.0.1:{port}/").read()
    process.send_signal(signal.SIGINT)
    process.wait(60)
