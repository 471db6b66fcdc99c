"""Whole pictures of interlaced ones, one of each frame, by FFmpeg's filter bwdif."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_HOW = "mode=send_frame:parity=auto:deint=all"


def whole_pictures(frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Decoded frames with their times, the rows of the second field drawn anew."""
    graph, times = None, list[int]()
    for pts, frame in frames:
        graph = _graph(frame) if graph is None else graph
        times.append(pts)
        graph.push(frame)
        yield from _pulled(graph, times)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, times)


def _pulled(graph: Any, times: list[int]) -> Iterator[tuple[int, Any]]:
    """What is ready; its times leave the list."""
    import av

    while times:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield times.pop(0), frame


def _graph(frame: Any) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("bwdif", _HOW), graph.add("buffersink")).configure()
    return graph
