"""What each verb refuses before anything is loaded: options, then paths, then the model's card.

What is found here says the same as the run would, only within a moment; the run checks it again,
for it may be called from Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_type_hints

from dseinvert.cli import inputs, known, outputs
from dseinvert.cli.devices import check_backend, check_device
from dseinvert.cli.inputs import IMAGES, LATENTS, OTHERS_LATENTS, VIDEOS
from dseinvert.config import (
    DirectionsOptions,
    EditOptions,
    EvaluateOptions,
    ImagesOptions,
    MixOptions,
    MorphOptions,
    PreviewOptions,
    SampleOptions,
    SpreadOptions,
    VideoOptions,
)
from dseinvert.editing.grammar import (
    addressed,
    check_edit,
    check_edit_of_clip,
    check_person,
    ends,
    rows_of,
    scorer_of,
    strip_name,
)
from dseinvert.editing.script import people_of, read_script
from dseinvert.errors import MissingError, NoInputError, UsageError
from dseinvert.evaluation.protocols import parse_protocol
from dseinvert.export.options import ExportOptions
from dseinvert.inversion.asked import clip_refining, parse_refining
from dseinvert.inversion.asked_baselines import parse_baselines
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.names import suggested
from dseinvert.run.flow.template import Template, parse_template
from dseinvert.run.play.seeds import parse_seeds, read_seeds
from dseinvert.run.spread.shard import parse_shard
from dseinvert.timecode import in_seconds
from dseinvert.training.options import TrainOptions
from dseinvert.written import regions_of

MASKS = ("auto", "face")


def check_images(paths: Sequence[str], options: ImagesOptions) -> None:
    """Raises UsageError, NoInputError, OutputError or MissingError, as the others here do."""
    for text in options.edits:
        check_edit(text)
    parse_refining(options.refine, options.space, options.budget, options.until)
    _where(options.mask, options.region, edited=bool(options.edits))
    if options.paste and not options.edits:
        raise UsageError("--paste needs an --edit to paste", "add --edit NAME=STRENGTH")
    _cosine(options.identity_floor)
    _named(options, paths)
    _packed(options)
    _run_by(options.device, options.backend)
    inputs.check_inputs(paths, IMAGES)
    inputs.check_sets(*map(Path, paths))
    inputs.check_not_ours(paths, options.out)
    inputs.check_file(options.person, "--person")
    inputs.check_file(options.identity, "--identity")
    if far(options.out):
        outputs.check_store(options.out, paths, keep_folders=options.keep_folders)
    else:
        outputs.check_folder(options.out)
    known.check_edits(options.model, options.edits)


def check_edit_run(paths: Sequence[str], options: EditOptions) -> None:
    """See `check_images`."""
    moving = options.sweep is not None or options.sliders
    strips = options.strengths is not None or moving
    for text in options.edits:
        _ = strip_name(text) if strips else check_edit(text)
    if options.strengths is not None:
        ends(options.strengths)
    if moving and options.latents is not None:
        raise UsageError("--latents is of pictures", "leave --sweep and --sliders out")
    _sweep(options.sweep)
    _where(options.mask, options.region, edited=bool(options.edits))
    _cosine(options.identity_floor)
    if options.name_template is not None:
        several = len({*options.edits}) > 1 and not options.sliders
        _edits_apart(parse_template(options.name_template), several=several)
    _run_by(options.device, options.backend)
    _latents(paths)
    inputs.check_file(options.identity, "--identity")
    if far(options.out):
        outputs.check_store(options.out, paths)
    else:
        outputs.check_folder(options.out)
        outputs.check_apart(options.out, paths)
    check = known.check_strips if strips else known.check_edits
    check(options.model, options.edits)


def check_video(paths: Sequence[str], options: VideoOptions) -> None:
    """See `check_images`."""
    edits = [in_seconds(text, None) for text in options.edits]
    for text in edits:
        _ = strip_name(addressed(text)[1]) if options.strip else check_edit_of_clip(text)
    _stills(options)
    edited = bool(options.edits or options.script)
    _where(options.mask, options.region, edited=edited)
    lines = () if options.script is None else read_script(options.script)[1]
    for who in (*options.person, *people_of(options.edits, lines)):
        check_person(who)
    inputs.check_file(options.identity, "--identity")
    clip_refining(options.refine)
    _codec(options.codec)
    _run_by(options.device, options.backend)
    inputs.check_inputs(paths, VIDEOS)
    if options.out is not None and far(options.out):
        _video_in_store(options)
        outputs.check_store(options.out, paths)
    else:
        outputs.check_video(options.out)
    check = known.check_strips if options.strip else known.check_edits
    check(options.model, [addressed(text)[1] for text in edits])
    known.check_directions(options.model, [name for line in lines for name in line.names])


def _video_in_store(options: VideoOptions) -> None:
    what = f"--out {shown(options.out or Path())}"
    if options.still is not None or options.list_people:
        raise UsageError(f"{what}: stills and lists are written to disks", "choose a folder")
    if options.out is not None and options.out.suffix:
        raise UsageError(f"{what}: is one file", "name a prefix: each clip has several files")


def _stills(options: VideoOptions) -> None:
    if options.strip is not None:
        ends(options.strip)
        if options.still is None or not options.edits:
            raise UsageError("--strip is of a --still", "add --still 0:01 and --edit NAME")
    if options.still is None:
        return
    if options.list_people:
        raise UsageError("--list-people makes no --still", "leave one of them out")
    for name in ("start", "end"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"--still is a time of the whole clip: --{name}", f"leave --{name} out"
            )
    if options.out is not None and options.out.suffix and not options.out.is_dir():
        raise UsageError(f"--out {options.out}: --still writes into a folder", "name a folder")
    lines = () if options.script is None else read_script(options.script)[1]
    if any(re.search(r"@\s*shot", text) for text in (*options.edits, *(x.edit for x in lines))):
        raise UsageError("--still does not know the shots", "write a time in place of @shot")


def check_sample(options: SampleOptions) -> None:
    """See `check_images`."""
    if options.psi is not None and not math.isfinite(options.psi):
        raise UsageError(f"--psi {options.psi:g}", "a number: 1 = no truncation, 0 = the mean")
    if options.rotate is not None and not math.isfinite(options.rotate):
        raise UsageError(f"--rotate {options.rotate:g}", "a number of degrees")
    read_seeds(options.seeds)
    _batch(options.batch)
    check_device(options.device)
    outputs.check_folder(options.out)
    known.check_model(options.model)


def check_mix(base: str, other: str, options: MixOptions) -> None:
    """See `check_images`."""
    rows_of(options.layers, "--layers")
    _batch(options.batch)
    check_device(options.device)
    for pattern in (base, other):
        _latents([pattern])
    outputs.check_folder(options.out)
    known.check_model(options.model)


def check_morph(paths: Sequence[str], options: MorphOptions) -> None:
    """See `check_images`."""
    _batch(options.batch)
    if options.frames < 1:
        raise UsageError(f"--frames {options.frames}", "at least 1")
    if not 0 < options.fps <= 240:
        raise UsageError(f"--fps {options.fps}", "above 0, at most 240")
    check_device(options.device)
    outputs.check_animation(options.out)
    _latents(paths)
    known.check_model(options.model)


def check_evaluate(paths: Sequence[str], options: EvaluateOptions) -> None:
    """See `check_images`."""
    for text in options.refine:
        parse_refining(text.partition("@")[0], text.partition("@")[2] or None)
    parse_protocol(options.protocol)
    _batch(options.batch)
    if options.count is not None and options.count < 1:
        raise UsageError(f"--count {options.count}", "at least 1")
    parse_baselines(options.baselines)
    _judges(options)
    check_device(options.device)
    inputs.check_inputs(paths, IMAGES)
    inputs.check_sets(*map(Path, paths))
    if options.out is not None:
        outputs.check_folder(options.out)
    known.check_strips(options.model, options.edit)
    if options.edit and options.identity is None:
        raise UsageError("--edit needs an --identity network to say who is left")
    for name in options.against:
        known.check_model(name)


def _judges(options: EvaluateOptions) -> None:
    """What is measured by networks of the user's own."""
    if options.scorer and not options.edit:
        raise UsageError("--scorer without --edit has nothing to score", "--edit age with it")
    inputs.check_file(options.identity, "--identity")
    inputs.check_file(options.inception, "--inception")
    for text in options.scorer:
        inputs.check_file(Path(scorer_of(text)[0]), "--scorer")


def check_videos(source: Path, edited: Path, identity: Path | None) -> None:
    """Of `evaluate --video`; see `check_images`."""
    inputs.check_file(identity, "--identity")
    for path in (source, edited):
        inputs.check_inputs([str(path)], VIDEOS)


def check_train(gan: str, device: str, out: Path, options: TrainOptions) -> None:
    """See `check_images`."""
    check_device(device)
    inputs.check_file(options.gradcam_weights, "--gradcam-weights")
    inputs.check_there(options.real, "--real")
    if options.real is not None:
        inputs.check_sets(options.real)
        inputs.check_set_file(options.real, "--real")
    for name in ("identity", "lpips_weights"):
        inputs.check_file(getattr(options, name), f"--{name.replace('_', '-')}")
    if options.wandb is not None and find_spec("wandb") is None:
        raise MissingError("--wandb needs the package wandb", "pip install 'dseinvert[wandb]'")
    outputs.check_folder(out)
    known.check_model(gan)


def check_finetune(on: Path, model: str, device: str, out: Path) -> None:
    """See `check_images`."""
    check_device(device)
    inputs.check_inputs([str(on)], IMAGES)
    inputs.check_sets(on)
    outputs.check_folder(out)
    known.check_model(model)


def check_export(model: str, device: str, options: ExportOptions) -> None:
    """See `check_images`."""
    check_device(device)
    inputs.check_there(options.images, "--images")
    if options.out is not None:
        outputs.check_folder(options.out)
    known.check_directions(model, [name.strip() for name in options.edit.split(",") if name])


def check_learn(options: DirectionsOptions) -> None:
    """See `check_images`."""
    methods = get_args(get_type_hints(DirectionsOptions)["method"])
    if options.method not in methods:
        advice = suggested(options.method, methods, ", ".join(methods))
        raise UsageError(f"--method {options.method!r}", advice)
    check_device(options.device)
    inputs.check_file(options.labels, "--labels")
    inputs.check_there(options.images, "--images")
    inputs.check_file(options.scorer, "--scorer")
    if options.images is not None:
        inputs.check_sets(options.images)
    if options.preview is not None:
        outputs.check_folder(options.preview)
    known.check_model(options.model)


def check_preview(names: Sequence[str], options: PreviewOptions) -> None:
    """See `check_images`."""
    parse_seeds(options.seeds)
    ends(options.strengths)
    check_device(options.device)
    outputs.check_folder(options.out)
    known.check_directions(options.model, names)


def _named(options: ImagesOptions, paths: Sequence[str]) -> None:
    if options.name_template is None:
        return
    _edits_apart(parse_template(options.name_template), several=True)
    if inputs.inside_inputs(paths, options.out):
        what = f"--name-template: {shown(options.out)} is an input too"
        raise UsageError(what, "choose another --out, or leave --name-template out")


def _packed(options: ImagesOptions) -> None:
    if options.pack is None:
        return
    if options.name_template is not None:
        raise UsageError(
            "--pack names the pictures in its tars itself", "leave out --name-template"
        )
    if find_spec("pyarrow") is None:
        raise MissingError("--pack needs the package pyarrow", "pip install 'dseinvert[parquet]'")


def _edits_apart(template: Template, *, several: bool) -> None:
    if several and "edit" not in template.fields:
        what = f"--name-template {template.text!r}: several pictures of a face would share a name"
        raise UsageError(what, "add {edit}")


def _run_by(device: str, backend: str) -> None:
    check_device(device)
    check_backend(backend, device)


def check_spread(spread: SpreadOptions) -> None:
    """UsageError for options of a run of several processes that exclude each other."""
    parse_shard(spread.shard)
    cluster = spread.engine == "ray"
    if cluster and spread.shard is not None:
        raise UsageError("--engine ray hands out the items itself", "leave out --shard")
    if spread.address is not None and not cluster:
        raise UsageError("--address is of a Ray cluster", "add --engine ray")
    if ".." in (spread.workers or "") and not cluster:
        raise UsageError(f"--workers {spread.workers}: of --engine ray", "a number, or auto")


def check_share(options: EvaluateOptions, spread: SpreadOptions) -> None:
    """UsageError for what `evaluate` does by one process only."""
    if spread.engine == "ray":
        raise UsageError("--engine ray does not measure", "evaluate --shard K/N, or --workers N")
    if spread.retry_failed:
        raise UsageError("--retry-failed: evaluate keeps no list of what failed", "leave it out")
    if spread.shard is None and spread.workers is None:
        return
    if options.out is None:
        raise UsageError("--shard and --workers of evaluate need an --out", "for the numbers")
    if options.protocol != "none":
        raise UsageError("--protocol is measured by one process", "leave out --shard and --workers")


def check_run_folder(out: Path) -> None:
    """NoInputError where there is no folder of that name."""
    if not far(out) and not inputs.is_folder(out):
        why = inputs.why_no_file(out).replace("no such file", "no such folder")
        why = "is a file, no folder" if inputs.is_file(out) else why
        raise NoInputError(f"{shown(out)}: {why}", "name the --out of a run")


def _latents(paths: Sequence[str]) -> None:
    inputs.check_inputs(paths, LATENTS, OTHERS_LATENTS)
    inputs.check_sets(*map(Path, paths))


def _batch(batch: int | None) -> None:
    if batch is not None and not 1 <= batch <= 4096:
        raise UsageError(f"--batch {batch}", "a number from 1 to 4096")


def _cosine(floor: float) -> None:
    if not -1 <= floor <= 1:
        raise UsageError(f"--identity-floor {floor:g}", "a cosine, from -1 to 1")


def _where(mask: str | None, region: str | None, *, edited: bool) -> None:
    _mask(mask)
    if region is not None:
        regions_of(region)
    asked = "--mask" if mask is not None else "--region"
    if (mask is not None or region is not None) and not edited:
        raise UsageError(f"{asked} needs an --edit to show", "add --edit NAME=STRENGTH")


def _mask(mask: str | None) -> None:
    if mask is not None and mask not in MASKS and not Path(mask).is_file():
        advice = f"{', '.join(MASKS)}, or a picture, white where the edit may show"
        why = inputs.why_no_file(Path(mask))
        raise UsageError(f"--mask {mask}: {why}", suggested(mask, MASKS, advice))


def _sweep(sweep: str | None) -> None:
    if sweep is None:
        return
    from dseinvert.media.animation import SUFFIXES

    words = [suffix[1:] for suffix in SUFFIXES]
    if sweep not in words:
        advice = suggested(sweep, words, ", ".join(words))
        raise UsageError(f"--sweep {sweep}: not a kind of moving picture", advice)


def _codec(codec: str | None) -> None:
    if codec is None:
        return
    from dseinvert.media.encoding import CODECS, HARDWARE, codec_of

    if codec not in CODECS and not HARDWARE.fullmatch(codec):
        advice = suggested(codec, CODECS, f"one of {', '.join(CODECS)}")
        raise UsageError(f"--codec {codec!r}", advice)
    codec_of(codec)
