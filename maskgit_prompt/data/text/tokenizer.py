"""What all tokenizers share: where kinds of ids stand, and the marks of image codes and of bins.

    0 .. 3                   <s> <pad> </s> <unk>
    4 .. words - 1           text, as each tokenizer splits it
    words                    <mask>
    then                     <code_0>, <code_1>, …   codes of an image
    then                     <bin_0>, <bin_1>, …     coordinates of a box

OFA's vocabulary has 50,264 words, 8,192 codes and 1,000 bins: <mask> is 50264, <code_0> 50265,
<bin_0> 58457, and there are 59,457 ids in all.
"""

import abc
import dataclasses
import re
from collections.abc import Iterable

from maskgit_prompt.data.names import legible
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.specials import END, NAMES, PAD, START, UNKNOWN

_MARK = re.compile(r"\s*<(?:(bin|code)_(\d+)|(mask))>")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where kinds of ids stand; see the module's docstring."""

    words: int
    codes: int = 0
    bins: int = 0

    @property
    def mask(self) -> int:
        return self.words

    @property
    def first_code(self) -> int:
        return self.words + 1

    @property
    def first_bin(self) -> int:
        return self.first_code + self.codes

    @property
    def size(self) -> int:
        return self.first_bin + self.bins


class Tokenizer(abc.ABC):
    """Text to ids and back.

    Attributes:
      layout: where kinds of ids stand.
      source: for messages, the files or the model that the vocabulary comes from.
    """

    layout: Layout
    source: str

    @abc.abstractmethod
    def encode_plain(self, text: str) -> list[int]:
        """Ids of text without marks."""

    @abc.abstractmethod
    def decode_plain(self, ids: list[int]) -> str:
        """The text of ids below `layout.words`, without special ones."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without <s> and </s>.

        "<bin_12>", "<code_7>" and "<mask>" are one id each, and so are spaces in front of them.
        Nothing else is added or taken away: OFA's texts begin with a space.

        Raises:
          UserError: a mark of a bin or code that the vocabulary does not have.
        """
        ids, begin = [], 0
        for mark in _MARK.finditer(text):
            ids += self._between(text[begin : mark.start()])
            ids.append(self._marked(mark, text))
            begin = mark.end()
        return ids + self._between(text[begin:])

    def _between(self, text: str) -> list[int]:
        return self.encode_plain(text) if text else []

    def _marked(self, mark: re.Match, text: str) -> int:
        if mark[3]:
            return self.layout.mask
        kind, number = mark[1], int(mark[2])
        first, many = {
            "bin": (self.layout.first_bin, self.layout.bins),
            "code": (self.layout.first_code, self.layout.codes),
        }[kind]
        if number >= many:
            raise UserError(
                f"<{kind}_{number}> in the text {legible(text)[:80]!r}: {self.source} has {many:,} "
                f"{kind}s; expected 0 to {many - 1:,}"
                if many
                else f"<{kind}_{number}> in the text {legible(text)[:80]!r}: {self.source} has no "
                f"{kind}s; take it out"
            )
        return first + number

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to </s>, without <s> and padding; marks have a space in front.

        Raises:
          UserError: an id that the vocabulary does not have.
        """
        parts, plain = [], []
        for id_ in map(int, ids):
            if id_ == END:
                break
            if id_ in (START, PAD):
                continue
            if UNKNOWN < id_ < self.layout.words:
                plain.append(id_)
                continue
            parts += [self.decode_plain(plain), self._mark(id_)]
            plain = []
        parts.append(self.decode_plain(plain))
        text = ""
        for part in filter(None, parts):
            text += f" {part}" if text and _MARK.fullmatch(part) else part
        return text

    def _mark(self, id_: int) -> str:
        layout = self.layout
        if not 0 <= id_ < layout.size:
            raise UserError(
                f"token id {id_}: {self.source} has {layout.size:,} ids; these are of a model with "
                "another vocabulary"
            )
        if id_ == UNKNOWN:
            return NAMES[UNKNOWN]
        if id_ == layout.mask:
            return "<mask>"
        if id_ < layout.first_bin:
            return f"<code_{id_ - layout.first_code}>"
        return f"<bin_{id_ - layout.first_bin}>"

    def check(self, vocabulary: int) -> None:
        """Refuses a model with another number of ids.

        Raises:
          UserError: the model's embedding does not have a row for each id, and no other.
        """
        if vocabulary != self.layout.size:
            raise UserError(
                f"{self.source} has {self.layout.size:,} ids, the model {vocabulary:,}: expected "
                "the vocabulary that the model was trained with; name its files"
            )
