"""What each verb can be asked to do: one dataclass a verb; the field docstrings are its help."""

from __future__ import annotations

import ast
import inspect
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from dseinvert.written import (
    ANY_RATE,
    BATCH,
    BITRATE,
    BLEND,
    FACES,
    GAN_TOO,
    LABEL,
    PASTE,
    RATE,
    SECONDS,
    SMOOTH,
    STILLS,
    UNCHECKED,
    VECTOR,
    WORKERS,
    Backend,
    Device,
    Edits,
    Option,
    Rotate,
    Switch,
    When,
)


@dataclass(frozen=True)
class ImagesOptions:
    """What `dseinvert images` is asked to do."""

    out: Path
    """Folder for the latents, pictures, page and tables; made when absent."""
    _: KW_ONLY
    edits: Edits = ()
    """NAME=STRENGTH[@ROWS][,NAME=...]: one more picture of each face; may be repeated. The strength
    is a number or auto, as far as the person stays the same."""
    feature_edit: Literal["auto", "rule"] = "auto"
    """How F follows an edit: auto (by the model's feature editor, if it has one) or rule (by the
    difference rule)."""
    model: str = "default"
    """Name or folder of a model, or a checkpoint file."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    backend: Backend = "auto"
    """Who runs the model: auto, torch, onnx, openvino or tensorrt."""
    batch: Annotated[int | None, BATCH] = None
    """Faces computed at once: auto or a number. None = auto."""
    label: Annotated[int | None, LABEL] = None
    """Class of the images, from 0, for a model that has classes: auto or a number. None = auto."""
    align: bool = True
    """Find and crop the faces; without it, images are taken as they are."""
    rotate: Rotate = "auto"
    """Degrees clockwise that set photos upright: 0, 90, 180 or 270; auto = as their faces tell."""
    faces: Annotated[Literal["largest", "all"] | int, FACES] = "all"
    """Of each photo: largest, all, or how many, the largest first."""
    person: Path | None = None
    """Photo of somebody: only that person's faces, as the network of --identity knows them. None =
    everybody's."""
    min_face: Annotated[int, Option(least=1)] = 24
    """Height in pixels of the smallest face that is taken."""
    min_score: Annotated[float, Option(least=0, most=1)] = 0.6
    """How sure the detector has to be of a face, from 0 to 1."""
    paste: Switch = False
    """Also blend the edited faces back into the whole photo."""
    blend: Annotated[Literal["moved", "difference"], BLEND] = "moved"
    """How, with --paste: moved (the photo's own pixels move as the edit moves the face, and what
    else it changed is added) or difference (all is added, and nothing moves)."""
    refine: str = "none"
    """none, or {methods}[:STEPS]: improve each inversion; several in turn with
    commas, as latent:200,generator:100."""
    space: str | None = None
    """Of --refine latent: z, z+, w, w+, f/w, f/w+, f/z or f/z+. None = that of the encoder."""
    budget: str | None = None
    """Seconds that --refine may take for each image, such as 5s. None = as long as its steps."""
    until: str | None = None
    """METRIC=VALUE: an image is refined until it is that good: mse, psnr, ssim, lpips or features.
    None = as long as its steps."""
    identity: Path | None = None
    """Face recognition network for --person and `auto` strengths: an ArcFace ONNX file,
    model_ir_se50.pth or MobileFaceNet. None = what DSEINVERT_IDENTITY names."""
    identity_floor: float = 0.7
    """The least cosine to the unedited face that `auto` strengths keep, from -1 to 1."""
    mask: str | None = None
    """Where edits may show: auto (where they change much), face, or a picture of the crop, white
    there; elsewhere the input stays as it is. None = everywhere."""
    region: str | None = None
    """mouth, eyes, hair or skin, several with commas: edits show there only. None = everywhere."""
    format: Literal["png", "jpg", "webp"] = "png"
    """Of the pictures that are written."""
    quality: Annotated[int | None, Option(least=1, most=100)] = None
    """Of jpg and webp, more is better and larger. None = 92, and webp loses nothing."""
    keep_gps: Switch = False
    """Leave in whole photos where they were taken."""
    name_template: str | None = None
    """Names of the pictures, such as {parent}_{stem}_{edit}: the image's folder, its name, and
    what is shown; {n} or {n:03} = number of the face, from 1, and 0 or 000 of a whole photo, which
    shows all faces. None = {stem}.{edit}."""
    max_pixels: Annotated[int | None, Option(least=1)] = None
    """Of an image, beyond which it is refused. None = 220 million, and less for a file of a few
    bytes."""
    pack: Annotated[int | None, Option(least=1, most=10_000)] = None
    """Images of a shard: their outputs as a tar of pictures, a parquet table and a safetensors of
    latents. None = files of each image."""
    keep_folders: Switch = False
    """Write into the folders that the images have below an input, each with a page of its own."""
    overwrite: Switch = False
    """Do again what is done, and replace results of other options."""
    dry_run: Switch = False
    """Say what would be done and under which names; write nothing."""


@dataclass(frozen=True)
class SpreadOptions:
    """How a run is spread over processes, GPUs and machines."""

    shard: str | None = None
    """K/N: only the K-th of N shares, beside other processes that do the others into the same
    --out; auto = as Slurm arrays, torchrun or Kubernetes say. None = all."""
    workers: Annotated[str | None, WORKERS] = None
    """Processes of this machine that share the run: a number or auto; of --engine ray also
    MIN..MAX. None = one, and one for each GPU of --device cuda."""
    engine: Literal["local", "ray"] = "local"
    """Who runs the workers: this machine, or a Ray cluster."""
    address: str | None = None
    """Of the Ray cluster; auto = the one this machine belongs to. None = one of this machine
    alone, for this run."""
    retry_failed: Switch = False
    """Do again only what failed, item by item."""


@dataclass(frozen=True)
class EditOptions:
    """What `dseinvert edit` is asked to do."""

    out: Path
    """Folder for the pictures; made when absent."""
    _: KW_ONLY
    edits: Edits = ()
    """NAME=STRENGTH[@ROWS][,NAME=...]: one picture of each latent; may be repeated. The strength is
    a number or auto, as far as the person stays the same."""
    feature_edit: Literal["auto", "rule"] = "auto"
    """How F follows an edit: auto (by the model's feature editor, if it has one) or rule (by the
    difference rule)."""
    strengths: str | None = None
    """FROM:TO:COUNT, such as -3:3:7, with --edit NAME: a strip of pictures of each latent. None =
    no strip."""
    sweep: str | None = None
    """gif, webp or mp4: in place of pictures, a moving one of each --edit NAME over --strengths
    (-3:3:25), there and back. None = no moving picture."""
    sliders: Switch = False
    """In place of pictures, a page of each latent with a slider for each --edit NAME, or for all
    directions, over --strengths (-3:3:13)."""
    identity: Path | None = None
    """Face recognition network for `auto` strengths: an ArcFace ONNX file, model_ir_se50.pth or
    MobileFaceNet. None = what DSEINVERT_IDENTITY names."""
    identity_floor: float = 0.7
    """The least cosine to the unedited face that `auto` strengths keep, from -1 to 1."""
    mask: str | None = None
    """Where edits may show: auto (where they change much), face, or a picture of the crop, white
    there; elsewhere the input stays as it is. None = everywhere."""
    region: str | None = None
    """mouth, eyes, hair or skin, several with commas: edits show there only. None = everywhere."""
    format: Literal["png", "jpg", "webp"] = "png"
    """Of the pictures that are written."""
    quality: Annotated[int | None, Option(least=1, most=100)] = None
    """Of jpg and webp, more is better and larger. None = 92, and webp loses nothing."""
    name_template: str | None = None
    """Names of the pictures, such as {parent}_{stem}_{edit}: the latent's folder, its name, and
    what is shown; {n} or {n:03} = number of the sample. None = {stem}.{edit}."""
    latents: Literal["npz", "pt"] | None = None
    """Also write the latent of each picture as other programs read it: npz (w, as the projector of
    StyleGAN2-ADA and 3) or pt (one tensor, as e4e and PTI). None = pictures alone."""
    model: Annotated[str, GAN_TOO] = "default"
    """Name or folder of the model whose generator the latents belong to."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    backend: Backend = "auto"
    """Who runs the model: auto, torch, onnx, openvino or tensorrt."""
    batch: Annotated[int | None, BATCH] = None
    """Latents rendered at once: auto or a number. None = auto."""


@dataclass(frozen=True)
class VideoOptions:
    """What `dseinvert video` is asked to do."""

    out: Path | None = None
    """Video file to write, or folder for all that is written. None = the current folder."""
    _: KW_ONLY
    edits: Edits = ()
    """[WHO:]NAME=[FROM..]STRENGTH[@TIME][,NAME=...]: one video each, those with a WHO together in
    one; may be repeated. TIME is 1.5-4s, 0:01.5-0:04, 00:00:01:12-4s, 4s-end
    or shot2. Without: the reconstruction."""
    feature_edit: Literal["auto", "rule"] = "auto"
    """How F follows an edit: auto (by the model's feature editor, if it has one) or rule (by the
    difference rule)."""
    script: Annotated[Path | None, Option("--edits")] = None
    """File of edits, as edits.toml: who, what, and strengths at times. None = no such video."""
    person: tuple[str, ...] = ()
    """Who is edited: a number that --list-people shows, left, right, largest, or a picture or
    folder of pictures of somebody; may be repeated. None = as --faces says."""
    identity: Path | None = None
    """Face recognition network by which people are known again: an ArcFace ONNX file,
    model_ir_se50.pth or MobileFaceNet. None = what DSEINVERT_IDENTITY names, if anything."""
    still: Annotated[tuple[When, ...] | None, STILLS] = None
    """Write single frames as PNG in place of videos, within seconds: when, as seconds, H:MM:SS or
    HH:MM:SS:FF, several with commas. The edit is that of this frame alone; a video evens it over
    the frames around, and shows another tenth to quarter of it. None = videos."""
    strip: str | None = None
    """FROM:TO:COUNT, such as -2:2:5, with --still and --edit NAME: the face in so many strengths in
    a row. None = no strip."""
    list_people: Switch = False
    """Draw a sheet of everybody in the clip with their numbers, beside it or into --out, and do
    nothing else."""
    faces: Annotated[Literal["largest", "all"] | int, FACES] = "largest"
    """largest (the person who takes most of the clip), all, or how many people."""
    refine: str = "none"
    """none, or {clip_methods}[:STEPS], or {clip_together}: tuned to each person once, on frames of
    the whole clip."""
    smooth: Annotated[float | Literal["auto"], SMOOTH] = "auto"
    """Smoothing in time: auto, or from 0 (each frame by itself) to 1."""
    start: Annotated[When | None, SECONDS] = None
    """Where to begin: seconds, H:MM:SS or HH:MM:SS:FF. None = at the first frame."""
    end: Annotated[When | None, SECONDS] = None
    """Where to end: seconds, H:MM:SS or HH:MM:SS:FF. None = after the last frame."""
    fps: Annotated[Fraction | None, RATE] = None
    """Frames a second of a folder of frames, such as 25 or 30000/1001. None = as its times.csv
    says."""
    codec: str | None = None
    """h264, h265, av1, vp9, prores or ffv1, and with _nvenc on a GPU; or an encoder in hardware by
    FFmpeg's name, such as hevc_videotoolbox. None = h264, or h265 of more than 8 bits."""
    pix_fmt: str | None = None
    """Pixel format by FFmpeg's name, such as yuv422p10le. None = one that players take."""
    crf: Annotated[float | None, Option(least=0, most=63)] = None
    """Quality, less is better and larger. None = looks like the source."""
    bitrate: Annotated[int | None, BITRATE] = None
    """Bits a second, such as 4M, in place of --crf. None = as many as the quality takes."""
    preset: str | None = None
    """How thoroughly the encoder works, by its own name, such as slow. None = a usual one."""
    height: Annotated[int | None, Option(least=16)] = None
    """Rows of the video; its width follows, and both are even. None = as the source."""
    audio: Path | None = None
    """File whose sound takes the place of the clip's. None = the clip's own."""
    deinterlace: Switch = False
    """Make whole pictures of interlaced ones."""
    rotate: Rotate = "auto"
    """Degrees clockwise that set the clip upright. auto = as its faces tell."""
    keep_gps: Switch = False
    """Keep where the clip was taken, too."""
    preview: Switch = False
    """A small, quickly encoded video for a first look."""
    side_by_side: Switch = False
    """Show the source beside the result."""
    frames: Switch = False
    """Write a folder of pictures and times.csv in place of a video."""
    paste: Annotated[Literal["difference", "replace"] | None, PASTE] = None
    """difference adds what the edit changed, and the frame keeps its detail; replace puts the
    generated face in its place. None = difference; replace for the reconstruction."""
    blend: Annotated[Literal["moved", "difference"], BLEND] = "moved"
    """How a difference is put in: moved (the frame's own pixels move as the edit moves the face,
    and what else it changed is added) or difference (all is added, and nothing moves)."""
    mask: str | None = None
    """Where edits may show: auto (where they change much), face, or a picture of the crop, white
    there. None = on the whole face."""
    region: str | None = None
    """mouth, eyes, hair or skin, several with commas: edits show there only. None = everywhere."""
    model: str = "default"
    """Name or folder of a model, or a checkpoint file."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    backend: Backend = "auto"
    """Who runs the model: auto, torch, onnx, openvino or tensorrt."""
    batch: Annotated[int | None, BATCH] = None
    """Faces computed at once: auto or a number. None = auto."""
    segment: Annotated[int, Option(least=1)] = 250
    """Frames that a killed run loses at most (finding faces: or 5 % of those read); each segment
    begins with a key frame."""
    overwrite: Switch = False
    """Do again what is done, and replace files of other runs."""
    dry_run: Switch = False
    """Say what would be done and under which names; write nothing."""


@dataclass(frozen=True)
class SampleOptions:
    """What `dseinvert sample` is asked to do."""

    out: Path
    """Folder for the pictures and latents; made when absent."""
    _: KW_ONLY
    seeds: str = "0-15"
    """Which samples: numbers and ranges, as 0-15,42; after nv: those that generate.py of NVlabs
    draws from the same numbers, as nv:85,265."""
    psi: float | None = None
    """Truncation: 1 = none, 0 = the mean. None = 0.7, or 1 for a generator that has none."""
    label: int | None = None
    """Class of all samples, for a generator that has classes. None = drawn from each seed."""
    noise: Literal["const", "none", "random"] = "const"
    """Of StyleGAN and StyleGAN2: const (stored with the generator), none, or random (drawn from
    each seed)."""
    rotate: float | None = None
    """Degrees by which StyleGAN3 turns its image, counter-clockwise. None = as it is stored."""
    translate: Annotated[tuple[float, float] | None, VECTOR] = None
    """X,Y by which StyleGAN3 moves its image to the right and down, in sides of the image. None =
    as it is stored."""
    model: Annotated[str, GAN_TOO] = "default"
    """Name or folder of a model, or a checkpoint file."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch: int | None = None
    """Samples drawn at once. None = as many as suit."""


@dataclass(frozen=True)
class MixOptions:
    """What `dseinvert mix` is asked to do."""

    out: Path
    """Folder for the pictures, latents and sheet; made when absent."""
    _: KW_ONLY
    layers: str
    """Rows of w+ taken from the second latents: numbers and ranges from 0, as 4-9,12. The first
    rows hold pose and shape, the last colour."""
    model: Annotated[str, GAN_TOO] = "default"
    """Name or folder of the model whose generator the latents belong to."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch: int | None = None
    """Pictures drawn at once. None = as many as suit."""


@dataclass(frozen=True)
class MorphOptions:
    """What `dseinvert morph` is asked to do."""

    out: Path
    """File to write: a video (.mp4, .mov, .mkv, .webm) or moving picture (.gif, .webp)."""
    _: KW_ONLY
    frames: int = 60
    """From each latent to the next."""
    fps: Annotated[Fraction, ANY_RATE] = Fraction(30)
    """Frames a second, such as 25 or 30000/1001."""
    loop: bool = False
    """Go on from the last latent to the first."""
    ease: bool = True
    """Slow down at each latent."""
    model: Annotated[str, GAN_TOO] = "default"
    """Name or folder of the model whose generator the latents belong to."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch: int | None = None
    """Frames drawn at once. None = as many as suit."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What `dseinvert evaluate` is asked to do with images."""

    out: Path | None = None
    """Folder for tables, plots and a grid of pictures. None = the table is only printed."""
    _: KW_ONLY
    model: str = "default"
    """Name or folder of the model whose encoder is measured."""
    against: tuple[str, ...] = ()
    """Another model of the same generator, such as a run of `train`; may be repeated."""
    refine: tuple[str, ...] = ()
    """METHOD[:STEPS][,...][@SPACE]: the encoder, then this, as in `images`; may be repeated, as
    latent:100@w+ and encoder:100."""
    baselines: str = "none"
    """Published inversions on the same footing: i2s-w, i2s-w+, indomain, pti, bdinvert, sam,
    pti-z+, bdinvert-z+, sam-z+, each [:STEPS], several with commas; or all[:STEPS]."""
    protocol: str = "none"
    """A paper's own comparison beside its numbers: dse, fine-tuning, feature-style or fz, each
    [:STEPS]; what you give of --refine, --baselines and --count stays."""
    loss: Literal["mse", "perceptual"] = "mse"
    """What every baseline and every --refine descends; perceptual = the perceptual measure too."""
    edit: tuple[str, ...] = ()
    """Direction along which edits from -3 to +3 are measured; may be repeated."""
    identity: Path | None = None
    """Face embedding network: ONNX, or weights of IR-SE50 or MobileFaceNet. None = no identity."""
    perceptual: Literal["auto", "lpips", "features", "none"] = "auto"
    """Perceptual measure; features = of EfficientNet-lite0; auto = what is here."""
    scorer: tuple[str, ...] = ()
    """FILE[:OUTPUT[:PIXELS]]: an ONNX classifier that says how strong an edit is, as of
    directions learn; may be repeated."""
    sets: Literal["auto", "fid", "features", "none"] = "auto"
    """Distance of all results from all images: fid, or the same of EfficientNet-lite0 features,
    which is not FID; auto = fid where its weights are here."""
    inception: Path | None = None
    """Standard Inception weights for FID: pt_inception-2015-12-05-6726825d.pth.
    None = the file in torch's cache."""
    count: int | None = None
    """Faces at most. None = all."""
    align: bool = True
    """Find and crop the faces; without it, images are taken as they are."""
    rotate: Rotate = "auto"
    """Degrees clockwise that set photos upright: 0, 90, 180 or 270; auto = as their faces tell."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch: int | None = None
    """Faces computed at once. None = as many as suit."""


@dataclass(frozen=True)
class DirectionsOptions:
    """What `dseinvert directions learn` is asked to do."""

    method: Annotated[Literal["interfacegan", "ganspace", "sefa", "stylespace"], UNCHECKED]
    """interfacegan (a plane between labelled codes), ganspace (principal components), sefa (from
    the weights) or stylespace (single channels, from labels)."""
    name: str | None = None
    """What to call the direction; where there are several they are numbered from 0. None = the
    attribute, pc or sefa."""
    model: str = "default"
    """Name or folder of the model that gets the directions."""
    copy: str | None = None
    """Leave the model as it is and give them to a copy of this name. None = no copy."""
    labels: Path | None = None
    """Table with a head: the first column is file or seed, the others attributes. None = no
    table."""
    images: Path | None = None
    """Folder of the files in the table: pictures, or latents that dseinvert images wrote. None =
    no pictures."""
    attribute: str | None = None
    """Column of the table that is learned. None = as --name."""
    without: str | None = None
    """Attributes that are to stay, joined by commas: columns of the table, or directions of the
    model. None = nothing is held."""
    quantile: float = 0.3
    """Share of the highest and of the lowest that count as with and without, where labels are
    numbers."""
    scorer: Path | None = None
    """ONNX file of a classifier, which labels samples and sets the unit. None = no scorer."""
    output: int = 0
    """Number of the scorer's output that is the score."""
    pixels: str = "-1..1"
    """Black and white as the scorer wants them: -1..1, 0..1, 0..255 or imagenet."""
    samples: int = 2000
    """Of the generator: scored, analysed, or to measure the unit on."""
    seed: int = 0
    """First seed of the samples."""
    psi: float | None = None
    """Their truncation. None = 1, which is none."""
    label: int | None = None
    """Class of the samples and pictures, for a model that has classes. None = drawn, or searched
    for."""
    count: int | None = None
    """How many directions. None = 10, or 1 of stylespace."""
    layers: str | None = None
    """Rows of w+ they act on, counted from 0: 3 or 0-7. None = all."""
    area: float = 1.0
    """Largest share of the picture that a channel of stylespace may move."""
    align: bool = True
    """Find and crop the faces of pictures; without it, they are taken as they are."""
    rotate: Rotate = "auto"
    """Degrees clockwise that set photos upright: 0, 90, 180 or 270; auto = as their faces tell."""
    preview: Path | None = None
    """Folder for a strip of pictures of each. None = no pictures."""
    overwrite: bool = False
    """Replace directions of these names."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(frozen=True)
class EditorOptions:
    """What `dseinvert directions editor` is asked to do."""

    model: str = "default"
    """Name or folder of the model, whose encoder writes F."""
    copy: str | None = None
    """Leave the model as it is and give the editor to a copy of this name. None = no copy."""
    steps: Annotated[int, Option(least=1)] = 1000
    """Of training, each with --batch pairs of the generator's own."""
    batch: Annotated[int, Option(least=1, most=256)] = 8
    """Pairs in each step."""
    seed: Annotated[int, Option(least=0)] = 0
    """Of the pairs and of the first weights."""
    real: Path | None = None
    """Aligned real pictures, as of `train`: the editor is kept only if their edits are about as
    sharp, and with --identity as like, as by the difference rule. None = no pictures are looked at.
    """
    identity: Path | None = None
    """Face recognition network for --real: ONNX, or weights of IR-SE50 or MobileFaceNet. None = no
    identity."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(frozen=True)
class PreviewOptions:
    """What `dseinvert directions preview` is asked to do."""

    out: Path = Path()
    """Folder for NAME.png; made when absent. None = the current folder."""
    _: KW_ONLY
    model: str = "default"
    """Name or folder of the model that has the direction."""
    latents: tuple[str, ...] = ()
    """Files that dseinvert images wrote, a row each; may be repeated. None = samples."""
    seeds: str = "0-3"
    """Samples shown: numbers and ranges."""
    psi: float | None = None
    """Their truncation: 1 = none, 0 = the mean. None = 0.7, or 1 for a generator that has none."""
    label: int | None = None
    """Their class, for a generator that has classes. None = drawn from each seed."""
    strengths: str = "-3:3:7"
    """FROM:TO:COUNT, a column each."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""


def field_docs(options: type) -> dict[str, str]:
    """The docstring under each field of an options class; some hold places for `methods.filled`."""
    tree = ast.parse(inspect.getsource(options)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, doc in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(doc.value, ast.Constant)
            docs[field.target.id] = str(doc.value.value)
    return docs
