"""Small files of the kind that OFA's vocabulary is published in."""

import json
import pathlib

from maskgit_prompt.data.text import bpe

# "Ġ" is how these files write a space. " two" is merged in three steps, "ab" in one.
MERGES = ("Ġ t", "Ġt w", "Ġtw o", "a b")
PIECES = (*bpe._characters().values(), "Ġt", "Ġtw", "Ġtwo", "ab")  # id 256 and on: merged ones
ENDING = "<|endoftext|>"


def write(
    folder: pathlib.Path,
    merges=MERGES,
    pieces=PIECES,
    lines=(258, 259, 50, 256, 257),
    made_up: int = 1,
) -> pathlib.Path:
    """encoder.json, vocab.bpe and dict.txt; lines: pieces in the order of the dictionary, behind
    all single bytes but these."""
    folder.mkdir(exist_ok=True, parents=True)
    ids = {piece: number for number, piece in enumerate((*pieces, ENDING))}
    (folder / "encoder.json").write_text(json.dumps(ids))
    (folder / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]))
    symbols = [*lines, *(byte for byte in range(256) if byte not in lines)]
    symbols += [f"madeupword{number:04d}" for number in range(made_up)]
    (folder / "dict.txt").write_text("".join(f"{symbol} 9\n" for symbol in symbols))
    return folder
