"""The words of the field that options use, for the end of a verb's help."""

from __future__ import annotations

import textwrap

_WIDEST = 72  # a line, with the spaces before it, is then within 78
WORDS = {
    "latent": "numbers from which a generator draws one picture; inverting finds them",
    "w+": "a latent with a row for each layer of the generator: first shape, last colour",
    "rows": "those of w+, counted from 0; age=+2@0-7 moves only the first eight",
    "feature": "what one layer draws, kept beside w+ for detail that w+ cannot hold",
    "psi": "truncation: 1 = samples as they come, 0 = the mean, 0.7 = safer, less varied",
    "strength": "of an edit, in standard deviations of the generator's own samples",
    "refine": "improve each inversion by optimisation: slower, and closer to the photo",
    "crf": "quality of a video: less is better and larger, 18 looks like the source",
    "identity": "a network that knows people, which keeps edits from changing who it is",
    "direction": "a step among latents that changes one thing, such as age or smile",
    "encoder": "the network that finds a photo's latent in one go",
}


def words(*names: str) -> str:
    """The end of a help page, no wider than a terminal of 80 columns shows in one line.

    Raises:
        KeyError: a word that is not in the table.
    """
    width = max(map(len, names))
    lines = ["\b", "Words:"]
    for name in names:
        first, *more = textwrap.wrap(WORDS[name], _WIDEST - width)
        lines += [f"  {name:<{width}}  {first}", *(f"  {'':<{width}}  {line}" for line in more)]
    return "\n".join(lines)
