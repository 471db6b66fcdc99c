"""`python -m dseinvert` where some files kill who reads them, forked from what imported it all."""

from __future__ import annotations

import runpy

from dseinvert.run import inputs
from tests.run.spread.crash.sitecustomize import fatal

if __name__ == "__main__":
    inputs.open_image = fatal(inputs.open_image)
    runpy.run_module("dseinvert", run_name="__main__", alter_sys=True)
