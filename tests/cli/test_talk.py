"""What a run says while it goes: that it stops, a line a minute, a log, and on what it ran."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.cli.main import options_of_verbs, run
from dseinvert.errors import ExitCode
from dseinvert.media.images import encode_png
from dseinvert.run.flow.progress import Minutes
from dseinvert.stop import interruptible, stoppable
from tests.conftest import ROOT, child_environment, picture
from tests.forked import Forked
from tests.forked import run as forked

Run = Callable[..., int]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d "


def test_the_first_signal_is_answered_at_once_with_what_is_still_finished() -> None:
    said: list[str] = []
    heard = threading.Event()

    def told(line: str) -> None:
        said.append(line)
        heard.set()

    with stoppable(told, "segment") as stop:
        signal.raise_signal(signal.SIGTERM)
        assert heard.wait(5) and stop.code == ExitCode.TERMINATED
    assert said == ["stopping after this segment; Ctrl-C again stops now"]


def test_where_nobody_looks_there_is_a_line_a_minute() -> None:
    now, said = [0.0], list[str]()
    minutes = Minutes(said.append, clock=lambda: now[0])
    minutes.begin("inverting", 100)
    for second in range(1, 151):
        now[0] = float(second)
        if second % 2 == 0:
            minutes.advance()
    assert said == [
        "inverting: 30 of 100, about 2 min left",
        "inverting: 60 of 100, about 1 min left",
    ]
    now[0] += 60
    minutes.perhaps("refining 7 of 50")
    assert said[-1].startswith("inverting: 75 of 100, refining 7 of 50, about")


def test_how_long_workers_take_to_start_says_nothing_of_the_time_left() -> None:
    now, said = [0.0], list[str]()
    minutes = Minutes(said.append, clock=lambda: now[0])
    minutes.begin("inverting", 61)
    for _ in range(61):
        now[0] = max(now[0] + 2, 120)
        minutes.advance()
    assert said[:2] == ["inverting: 1 of 61", "inverting: 31 of 61, about 1 min left"]


def test_a_log_has_every_message_and_a_line_for_each_input(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "p1.png").write_bytes(b"")
    log = tmp_path / "run.log"
    words = ("images", pictures, "--out", tmp_path / "out", "--no-align", "--log", log)
    assert dse(*words, "-q") == 1
    first = log.read_text().splitlines()
    assert all(re.match(TIME, line) for line in first)
    told = [re.sub(TIME, "", line) for line in first]
    assert told[0].startswith("begin: dseinvert") and told[-1] == "end"
    assert [line for line in told if "done, 1 face" in line and "p0.png" in line]
    assert [line for line in told if line.startswith("problem: ") and "p1.png" in line]
    assert dse(*words, "-q") == 1
    again = log.read_text().splitlines()
    assert again[: len(first)] == first and len(again) > len(first)


@pytest.mark.parametrize("name", ["p0.png", "notes.txt", "gone/run.log", "."])
def test_nothing_but_a_log_is_taken_for_a_log(
    dse: Run, pictures: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "notes.txt").write_text("my notes")
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    out = tmp_path / "out"
    code = dse("images", pictures, "--out", out, "--no-align", "--log", pictures / name)
    assert code in (2, 6) and not out.exists()
    (line,) = capfd.readouterr().err.splitlines()
    assert "--log" in line
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before


def test_an_error_that_ends_a_run_is_in_its_log(dse: Run, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    assert dse("images", tmp_path / "gone.jpg", "--out", tmp_path / "out", "--log", log) == 3
    assert "error: no images found: " in log.read_text()


def test_verbose_says_what_ran_and_how_long_each_stage_took(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("images", pictures / "p0.png", "--out", tmp_path / "out", "--no-align", "-v")
    assert dse(*words) == 0
    said = capfd.readouterr().err
    assert re.search(r"^dseinvert \S+, python \S+, torch \S+, cv2 \S+, av \S+$", said, re.M)
    assert re.search(
        r"^loading \S+ s, inverting \S+ s; \d+ threads of torch on \d+ cores$", said, re.M
    )


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_long_refinement_now(
    dse_process: Callable[..., Forked], pictures: Path, tmp_path: Path
) -> None:
    words = ("--out", tmp_path / "out", "--no-align", "--refine", "latent:100000")
    process = dse_process("images", pictures, *words)

    def wait_for(ready: Callable[[], bool]) -> None:
        while not ready():
            assert process.poll() is None, process.said()
            threading.Event().wait(0.05)

    wait_for((tmp_path / "out" / "journal.jsonl").exists)
    threading.Event().wait(3)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping after this batch" in process.said())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130  # 100,000 steps take hours
    assert "Traceback" not in process.said()


QUICK = {"models", "directions", "models verify", "models rm", "models path"}


def test_every_verb_that_loads_something_has_a_log_and_details() -> None:
    for verb, known in options_of_verbs().items():
        if verb and verb not in (
            "models",
            "directions",
            "models verify",
            "models rm",
            "models path",
        ):
            assert {"-v", "--verbose", "--log"} <= {*known}, verb


@pytest.mark.parametrize(
    "words", [("directions", "list"), ("models", "show"), ("sample", "--seeds", "1", "--psi", "1")]
)
def test_verbose_names_versions_model_device_and_backend(
    words: tuple[str, ...], tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = (str(tiny_model),) if words[0] == "models" else ("--model", str(tiny_model))
    out = ("--out", str(tmp_path / "out")) if words[0] == "sample" else ()
    log = tmp_path / "run.log"
    assert run([*words, *model, *out, "-v", "--log", str(log)]) == 0
    told, said = capfd.readouterr(), log.read_text()
    assert all(
        re.search(r"^(\S+ )?dseinvert \S+, .*, torch ", one, re.M) for one in (told.err, said)
    )
    assert re.search(r"model: .*\(stylegan2, 16 px, sha256 [0-9a-f]{16}\)", said)
    assert "device: cpu, backend: torch" in said
    assert re.search(r"loading \S+ s.*; \d+ threads of torch", told.err)
    assert "backend" not in told.out


WORK = {
    "export": ("export", "MODEL", "--out", "OUT", "--batch", "1", "--device", "cpu"),
    "train": ("train", "--gan", "MODEL", "--out", "OUT"),
    "finetune": ("finetune", "--on", "PICTURES", "--out", "OUT", "--model", "MODEL", "--no-align"),
}
SHORT = "--iterations 2 --batch 2 --eval-samples 2 --grid-every 0 --perceptual none --device cpu"
MORE = {
    "train": (*SHORT.split(), "--widths", "4,6,8"),
    "finetune": ("--iterations", "2", "--batch", "2", "--device", "cpu", "--perceptual", "none"),
}


@pytest.mark.parametrize("verb", WORK)
def test_verbose_says_on_what_a_long_verb_ran(
    verb: str, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    for seed in range(10, 18):
        (pictures / f"q{seed}.png").write_bytes(encode_png(picture(seed)))
    known = {"MODEL": tiny_model, "OUT": tmp_path / "out", "PICTURES": pictures}
    words = [known.get(one, one) for one in (*WORK[verb], *MORE.get(verb, ()))]
    home = {"DSEINVERT_HOME": str(tmp_path / "home")}
    done = forked("dseinvert", [*words, "-v"], ROOT, {**child_environment(), **home})
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(\S+ )?dseinvert \S+, python \S+, torch ", done.stderr, re.M), done.stderr
    assert re.search(r"model: .*\(stylegan2, 16 px, sha256 [0-9a-f]{16}\)", done.stderr), (
        done.stderr
    )
    assert "device: cpu, backend: torch" in done.stderr, done.stderr
    assert re.search(r"\w+ \S+ s.*; \d+ threads of torch", done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_answered_before_it_ends_a_verb_that_finishes_nothing() -> None:
    said: list[str] = []
    heard = threading.Event()

    def told(line: str) -> None:
        said.append(line)
        heard.set()

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible(told):
        signal.raise_signal(signal.SIGINT)
    assert heard.wait(5) and said == ["stopping"]
    assert signal.getsignal(signal.SIGINT) == before
    with interruptible(told), stoppable(told) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.code == ExitCode.INTERRUPTED


def test_a_download_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from dseinvert.models import registry

    log = tmp_path / "run.log"

    def stopped(name: str, told: Callable[[int, int], None], listed: Path) -> None:
        told(3 << 20, 9 << 20)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(registry, "pull", stopped)
    assert run(["models", "pull", "stylegan2-ffhq-256", "--log", str(log)]) == 130
    assert "licence" in log.read_text() and "error: stopped" in log.read_text()
    assert "dseinvert: stopping" in capfd.readouterr().err


def test_a_verb_that_is_stopped_says_so_whoever_catches_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from dseinvert.models import store

    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "rows", stopped)
    assert run(["models", "list"]) == ExitCode.INTERRUPTED
    assert capfd.readouterr().err.splitlines()[-1] == "dseinvert: stopped"


def test_what_is_stopped_before_it_is_imported_says_so_too() -> None:
    code = """
import sys
class Stopped:
    def find_spec(self, name, *_):
        if name == "dseinvert.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stopped())
from dseinvert.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "dseinvert: stopped\n")
