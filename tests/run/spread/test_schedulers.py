"""The files of examples/ for schedulers do what they say, by a scheduler that is none."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from dseinvert.cli.main import app
from dseinvert.run.spread.shard import Shard, parse_shard
from tests.conftest import ROOT, child_environment
from tests.run.spread.test_shards import outputs

Run = Callable[..., int]
FAKE = """#!{python}
import os, re, subprocess, sys
words, told = sys.argv[1:], dict(os.environ)
array = re.search(r"^#SBATCH --array=(\\d+)-(\\d+)$", open(script := next(
    word for word in words if word.endswith(".sbatch"))).read(), re.M)
first, last = map(int, array.groups())
for word in words[: words.index(script)]:
    if word.startswith("--array="):
        first, last = map(int, word[8:].split("-"))
    if word.startswith("--export=ALL,"):
        told |= dict(pair.split("=", 1) for pair in word[13:].split(","))
told |= {{"SLURM_ARRAY_TASK_MIN": str(first), "SLURM_ARRAY_TASK_MAX": str(last)}}
told["SLURM_ARRAY_TASK_COUNT"] = str(last - first + 1)
for task in range(first, last + 1):
    told["SLURM_ARRAY_TASK_ID"] = str(task)
    subprocess.run(["bash", script, *words[words.index(script) + 1 :]], env=told, check=True)
"""


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_the_sbatch_script_shares_out_a_folder(
    dse: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs / "sbatch", FAKE.format(python=sys.executable))
    program(programs / "dseinvert", f'#!/bin/sh\nexec {sys.executable} -m dseinvert "$@"\n')
    environment = child_environment()
    environment["PATH"] = os.pathsep.join((str(programs), environment["PATH"]))
    whole, out = tmp_path / "whole", tmp_path / "out"
    export = f"--export=ALL,PHOTOS={pictures},OUT={out}"
    options = ("--no-align", "--batch", "2", "--edit", "age=+2", "--model", str(tiny_model))
    script = ROOT / "examples" / "slurm.sbatch"
    subprocess.run(
        ["sbatch", "--array=0-1", export, script, *options], env=environment, check=True, cwd=ROOT
    )
    assert dse("report", out) == 0
    assert dse("images", pictures, "--out", whole, *options[:-2], "-q") == 0
    assert outputs(out) == outputs(whole)
    assert len([*out.glob("journal-*-of-2.jsonl")]) == 2


def job() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "examples" / "kubernetes-job.yaml").read_text()
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def test_the_job_gives_each_pod_a_shard() -> None:
    spec = job()["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert spec["completionMode"] == "Indexed"
    shards = [
        parse_shard("auto", {**told, "JOB_COMPLETION_INDEX": str(index)})
        for index in range(spec["completions"])
    ]
    assert shards == [Shard(k + 1, spec["completions"]) for k in range(spec["completions"])]


def test_the_job_types_a_command_that_can_be_read() -> None:
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    verb, *words = container["args"]
    root: Any = typer.main.get_command(app)
    assert container["command"] == ["dseinvert"]
    context = root.commands[verb].make_context(verb, words)
    assert context.params["shard"] == "auto"


@pytest.mark.parametrize("name", ["slurm.sbatch", "kubernetes-job.yaml"])
def test_the_commands_in_the_comments_can_be_read(name: str) -> None:
    lines = (ROOT / "examples" / name).read_text().splitlines()
    commands = [line[4:].split("  #")[0] for line in lines if line.startswith("#   dseinvert")]
    root: Any = typer.main.get_command(app)
    assert len(commands) == 2
    for line in commands:
        _, verb, *words = shlex.split(line)
        root.commands[verb].make_context(verb, words)
