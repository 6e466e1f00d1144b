"""Published models by short names: where their files are, and how they are imported.

The addresses are those of the projects' own pages. They were never fetched where this was written,
which has no network, and neither the sizes in bytes nor the sha256 of the files are known: both are
recorded at the first fetch (storage.cache). Sizes in words are those of docs/backbones.md.

- MaskGIT: the table of google-research/maskgit's README. Others report that this bucket has since
  stopped to answer without an account.
- Its tokenizer in PyTorch: README_TiTok.md of bytedance/1d-tokenizer names the page of the file.
- The Inception network of FID: the page and the file's name are those in pytorch-fid's README.
- Taming Transformers: the table of CompVis/taming-transformers' README names the shared folders, at
  heiBOX and Koofr; the files inside them are as other projects' scripts fetch them.
"""

import dataclasses

from maskgit_prompt.importers.rules import Options
from maskgit_prompt.storage.addresses import is_address

MASKGIT = "gs://maskgit-public/checkpoints/"
HEIBOX = "https://heibox.uni-heidelberg.de/d/{}/files/?p=%2Fckpts%2Flast.ckpt&dl=1"
CIN = "90cbd5aa-ef70-4f5e-99bc-f12e5a89380e"  # Koofr's link, to which k00.fr/s511rwcv leads


@dataclasses.dataclass(frozen=True)
class Published:
    """A published model, or a part of one.

    Attributes:
      format: as in config.format.
      files: name in the cache -> address.
      size: of all files, in words.
      page: where its terms and its files are described.
      options: what its files do not tell.
      note: what is known to be wrong with its addresses, for messages.
    """

    format: str
    files: dict[str, str]
    size: str
    page: str
    options: Options = dataclasses.field(default_factory=Options)
    note: str = ""


def _maskgit(size: int) -> Published:
    names = (f"tokenizer_imagenet{size}_checkpoint", f"maskgit_imagenet{size}_checkpoint")
    return Published(
        "maskgit",
        {name: f"{MASKGIT}{name}" for name in names},
        "about 0.9 GB",
        "github.com/google-research/maskgit",
        note="others report that the bucket maskgit-public is closed by now",
    )


def _taming_tokenizer(link: str, size: str) -> Published:
    page = "github.com/CompVis/taming-transformers"
    return Published("taming", {"last.ckpt": HEIBOX.format(link)}, size, page)


PUBLISHED = {
    "maskgit-imagenet256": _maskgit(256),
    "maskgit-imagenet512": _maskgit(512),
    "maskgit-vqgan-torch": Published(
        "maskgit-torch",
        {
            "maskgit-vqgan-imagenet-f16-256.bin": "https://huggingface.co/fun-research/TiTok/"
            "resolve/main/maskgit-vqgan-imagenet-f16-256.bin"
        },
        "about 0.2 GB",
        "github.com/bytedance/1d-tokenizer",
    ),
    "taming-cin": Published(
        "taming",
        {
            "last.ckpt": f"https://app.koofr.net/content/links/{CIN}/files/get/last.ckpt"
            "?path=%2F2021-04-03T19-39-50_cin_transformer%2Fcheckpoints%2Flast.ckpt"
        },
        "more than 5.6 GB",
        "github.com/CompVis/taming-transformers",
        Options(classes=1000),
    ),
    "inception-fid": Published(
        "inception",
        {
            "pt_inception-2015-12-05-6726825d.pth": "https://github.com/mseitzer/pytorch-fid/"
            "releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
        },
        "about 0.1 GB",
        "github.com/mseitzer/pytorch-fid",
    ),
    "taming-vqgan-f16-1024": _taming_tokenizer("8088892a516d4e3baf92", "0.3 to 1 GB"),
    "taming-vqgan-f16-16384": _taming_tokenizer("a7530b09fed84f80a887", "0.3 to 1 GB"),
    "taming-vqgan-gumbel-f8": _taming_tokenizer("2e5662443a6b4307b470", "0.3 to 1 GB"),
}


def is_elsewhere(name: str) -> bool:
    """Whether a backbone or a source is to be fetched: an address, or a published model."""
    return name in PUBLISHED or is_address(name)
