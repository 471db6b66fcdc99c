"""The words of the field that options use, one line each, for the end of a verb's help."""

from __future__ import annotations

WORDS = {
    "latent": "numbers that a generator draws one picture from",
    "w+": "a latent with a row a layer: the first shape, the last colour",
    "rows": "those of w+, counted from 0; age=+2@0-7 moves the first eight",
    "feature": "what one layer draws, kept for detail that w+ cannot hold",
    "psi": "truncation: 1 = samples as they come, 0 = the mean",
    "strength": "of an edit, in deviations of the generator's own samples",
    "refine": "improve each inversion by optimisation: slower, but closer",
    "crf": "quality of a video: less is better; 18 looks like the source",
    "identity": "a network that knows people: edits do not change who it is",
    "direction": "a step among latents that changes one thing, such as age",
    "shard": "one of N shares of a run, which a process does by itself",
    "encoder": "the network that finds a photo's latent in one go",
}


def words(*names: str) -> str:
    """The end of a help page, a line a word.

    Raises:
        KeyError: a word that is not in the table.
    """
    width = max(map(len, names))
    return "\n".join(["\b", "Words:", *(f"  {name:<{width}}  {WORDS[name]}" for name in names)])
