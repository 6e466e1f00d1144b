"""A small vocabulary made from texts: frequent words whole, everything else byte by byte.

No text is lost: what is not a word of the vocabulary, in whatever language, is spelled. With the
words " two" and " dogs", " two perros" is one id and then seven, those of its bytes.

    4 .. 259      bytes
    260 ..        words, the most frequent first
"""

import collections
import json
import re
from collections.abc import Iterable, Sequence

from maskgit_prompt.data.text.tokenizer import Layout, Tokenizer
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.specials import NAMES

# Words, runs of signs, and single spaces: every character is in one of them.
_PIECES = re.compile(r" ?\w+| ?[^\w\s]+|\s")
_FIRST_BYTE = len(NAMES)
_FIRST_WORD = _FIRST_BYTE + 256


class WordsAndBytes(Tokenizer):
    """See the module's docstring.

    Args:
      words: the vocabulary, spaces in front included. codes, bins: how many follow.
    """

    def __init__(
        self, words: Sequence[str], codes: int = 0, bins: int = 0, source: str = "this vocabulary"
    ):
        self.words, self.source = tuple(words), source
        self.layout = Layout(_FIRST_WORD + len(self.words), codes, bins)
        self._ids = {word: _FIRST_WORD + number for number, word in enumerate(self.words)}

    @classmethod
    def learn(
        cls, texts: Iterable[str], most: int, codes: int = 0, bins: int = 0
    ) -> "WordsAndBytes":
        """The `most` most frequent pieces of texts; equals in the order of the alphabet."""
        counts = collections.Counter(piece for text in texts for piece in _PIECES.findall(text))
        order = sorted(counts, key=lambda piece: (-counts[piece], piece))
        return cls(order[:most], codes, bins)

    def encode_plain(self, text: str) -> list[int]:
        ids = []
        for piece in _PIECES.findall(text):
            known = self._ids.get(piece)
            spelled = piece.encode("utf-8", "replace")
            ids += [_FIRST_BYTE + byte for byte in spelled] if known is None else [known]
        return ids

    def decode_plain(self, ids: list[int]) -> str:
        pieces = [
            bytes([id_ - _FIRST_BYTE])
            if id_ < _FIRST_WORD
            else self.words[id_ - _FIRST_WORD].encode()
            for id_ in ids
        ]
        return b"".join(pieces).decode("utf-8", "replace")

    def to_json(self) -> str:
        layout = self.layout
        found = {"words": self.words, "codes": layout.codes, "bins": layout.bins}
        return json.dumps(found, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "WordsAndBytes":
        """source: the file, for messages.

        Raises:
          UserError: not what `to_json` wrote.
        """
        try:
            found = json.loads(text)
            words, codes, bins = found["words"], int(found["codes"]), int(found["bins"])
            if not all(isinstance(word, str) for word in words):
                raise ValueError("a word is not a string")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{source} is not a vocabulary ({error!r}): expected an object of words, codes and "
                "bins; fetch the model again"
            ) from error
        return cls(words, codes, bins, source)
