"""The page for a container or a Space, which are seen from outside.

python examples/app.py
"""

from __future__ import annotations

import os

from dseinvert.ui.server import bound, serve

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "7860"))
    model = os.environ.get("DSEINVERT_MODEL", "default")
    listening = bound("0.0.0.0", port)
    port = listening.getsockname()[1]
    serve(model, listening, ["*"], lambda: print(f"port {port}", flush=True))
