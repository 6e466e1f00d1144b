"""CIDEr and BLEU of captions, as COCO's evaluation computes them (pycocoevalcap).

Its word splitter is a Java program. Here words are runs of letters and digits in lower case, which
gives the same words for captions without contractions and numbers with points.
"""

import re
from collections.abc import Sequence

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.answers import check_paired

INSTALL = "pip install -e '.[multimodal]'"
ORDERS = 4
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(caption: str) -> str:
    """A caption as it is compared: "A dog, well-fed." is "a dog well-fed"."""
    return " ".join(_WORD.findall(caption.lower()))


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D (arXiv 1411.5726): how many of a caption's rare words its references share.

    1.0 is what papers write as 100; it may go up to 10. How rare words are is taken from these
    references, so numbers of different sets of images cannot be compared, and those of fewer than
    a few hundred images are rough. For one image it is 0: no word is rare.

    Raises:
      UserError: see `bleu`.
    """
    _, scorer = _library()
    return float(scorer.compute_score(*_by_number(captions, references))[0])


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of the whole set (n-grams of up to 1, 2, 3 and 4 words), each 0 to 1.

    Raises:
      UserError: nothing to judge, another number of references, an image without one;
        pycocoevalcap is not installed.
    """
    scorer, _ = _library()
    return tuple(map(float, scorer.compute_score(*_by_number(captions, references), verbose=0)[0]))


def _library():
    """(a new BLEU scorer, a new CIDEr scorer)."""
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
    except ImportError as error:
        raise UserError(f"CIDEr and BLEU need pycocoevalcap: {INSTALL}") from error
    return Bleu(ORDERS), Cider()


def _by_number(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """(references, captions) of each image, in the library's form."""
    check_paired(captions, references, "caption", "reference", "image")
    return (
        {i: [words(text) for text in known] for i, known in enumerate(references)},
        {i: [words(caption)] for i, caption in enumerate(captions)},
    )
