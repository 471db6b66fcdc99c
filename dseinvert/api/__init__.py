"""The front door: one object that holds a loaded model, and clips edited through it."""

from dseinvert.api.gan import Gan, load
from dseinvert.api.values import Face, Found
from dseinvert.api.video import Moment, Video, VideoFrame

__all__ = ["Face", "Found", "Gan", "Moment", "Video", "VideoFrame", "load"]
