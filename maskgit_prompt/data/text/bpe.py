"""GPT-2's byte pairs with fairseq's order of ids, from the files that OFA publishes.

Text -> pieces by tiktoken -> GPT-2's ids -> ids of the model, by the order of lines in dict.txt:
a line "262 1234" at place n (from 0) gives the piece 262 the id 4 + n. Pieces that no line has are
<unk>.
"""

import json
import os
import pathlib

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.data.names import legible
from maskgit_prompt.data.text.tokenizer import Layout, Tokenizer
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.specials import NAMES, UNKNOWN

FILES = ("encoder.json", "vocab.bpe", "dict.txt")
CODES, BINS = 8192, 1000
INSTALL = "pip install -e '.[multimodal]'"
# How GPT-2 cuts text before it pairs bytes: endings such as 've, then words, numbers and the rest,
# each with one space in front.
_PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class BytePairs(Tokenizer):
    """See the module's docstring; made by `read`."""

    def __init__(self, ranks: dict[bytes, int], model_ids: np.ndarray, layout: Layout, source: str):
        """ranks: pieces -> GPT-2's ids, in the order of merging; model_ids: [pieces]."""
        try:
            import tiktoken
        except ImportError as error:
            raise UserError(f"{source} needs tiktoken: {INSTALL}") from error
        self.layout, self.source = layout, source
        self._pairs = tiktoken.Encoding(
            source, pat_str=_PIECES, mergeable_ranks=ranks, special_tokens={}
        )
        self._model_ids = model_ids
        self._pieces = np.full(layout.words, -1)
        known = model_ids != UNKNOWN
        self._pieces[model_ids[known]] = np.flatnonzero(known)

    def encode_plain(self, text: str) -> list[int]:
        return self._model_ids[self._pairs.encode_ordinary(text)].tolist()

    def decode_plain(self, ids: list[int]) -> str:
        pieces = self._pieces[ids]  # -1: an entry that only fills the dictionary up
        return self._pairs.decode(pieces[pieces >= 0].tolist())


def read(
    folder: str | os.PathLike,
    codes: int = CODES,
    bins: int = BINS,
    names: tuple[str, str, str] = FILES,
) -> BytePairs:
    """The tokenizer of a folder's encoder.json, vocab.bpe and dict.txt.

    codes, bins: how many of them follow the words. names: of the three files.

    Raises:
      UsageError: no such file.
      UserError: files that cannot be read or do not belong together; tiktoken is not installed.
    """
    encoder, merges, dictionary = (pathlib.Path(folder, name) for name in names)
    ranks = _ranks(encoder, merges)
    model_ids, lines = _model_ids(dictionary, encoder, len(ranks))
    layout = Layout(len(NAMES) + lines, codes, bins)
    return BytePairs(ranks, model_ids, layout, f"the vocabulary {legible(os.fspath(folder))}")


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(
            f"no file {path}: expected {', '.join(FILES)} in one folder, as the model's authors "
            "publish them"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): fetch it again") from error


def _ranks(encoder: pathlib.Path, merges: pathlib.Path) -> dict[bytes, int]:
    """Pieces -> ids, checked: pieces are merged in the order of their ids.

    Raises:
      UserError: one file is damaged, or they belong to different models.
    """
    try:
        ids = json.loads(_text(encoder))
        if not isinstance(ids, dict) or not all(type(id_) is int for id_ in ids.values()):
            raise ValueError("expected an object of pieces and their ids")
    except ValueError as error:
        raise UserError(f"{encoder} is not a vocabulary ({error}): fetch it again") from error
    to_byte = {character: byte for byte, character in _characters().items()}
    pieces = list(to_byte)
    for number, line in enumerate(_text(merges).splitlines(), 1):
        if not line or line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(set(part) <= to_byte.keys() and part for part in parts):
            raise UserError(
                f"{merges}, line {number}: {legible(line)[:80]!r}, expected two pieces of GPT-2's "
                "byte pairs with a space between: fetch it again"
            )
        pieces.append("".join(parts))
    for piece in pieces:
        if piece not in ids:
            raise UserError(
                f"{encoder} lacks the piece {legible(piece)!r} of {merges.name}: the files are of "
                "different models; expected those that were published together"
            )
    found = {bytes(map(to_byte.__getitem__, piece)): ids[piece] for piece in pieces}
    order = [ids[piece] for piece in pieces[len(to_byte) :]]
    if order != sorted(order) or sorted(found.values()) != list(range(len(found))):
        raise UserError(
            f"the ids of {encoder} are not in the order of {merges.name}: the files are of "
            "different models, or not of GPT-2's kind; expected those that were published together"
        )
    return found


def _model_ids(
    dictionary: pathlib.Path, encoder: pathlib.Path, pieces: int
) -> tuple[np.ndarray, int]:
    """(int [pieces], the model's id of each; how many lines there are).

    Raises:
      UserError: a line that is not of such a dictionary, or of a larger vocabulary.
    """
    found = np.full(pieces, UNKNOWN)
    lines = [line for line in _text(dictionary).splitlines() if line.strip()]
    for number, line in enumerate(lines):
        symbol, _, count = line.rpartition(" ")
        if symbol.startswith("madeupword"):  # fairseq fills up to a multiple of 8
            continue
        if not symbol.isascii() or not symbol.isdigit() or not count.isdigit():
            raise UserError(
                f"{dictionary}, line {number + 1}: {legible(line)[:80]!r}, expected the number of "
                'a piece and how often it occurs, as "262 1234": this is the dictionary of another '
                "model"
            )
        # One more than there are pieces: <|endoftext|>, which no text gives.
        if int(symbol) > pieces:
            raise UserError(
                f"{dictionary}, line {number + 1}: piece {symbol}, but {encoder.name} has "
                f"{counted(pieces, 'piece')}: the files are of different models"
            )
        if int(symbol) < pieces:
            found[int(symbol)] = len(NAMES) + number
    if (found == UNKNOWN).all():
        raise UserError(
            f"{dictionary} has no pieces: expected a line for each, as published with the model"
        )
    return found, len(lines)


def _characters() -> dict[int, str]:
    """How GPT-2's files write bytes: printable ones as themselves, the 68 others from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + number) for number, byte in enumerate(others)
    }
