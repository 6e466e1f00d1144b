"""Named sets of a few images per class: some classes of a large data set, or a folder.

The classes of "imagenette" and "imagewoof" are those of fast.ai's subsets of ImageNet. Those of
"places" are ours, in the manner of the few-shot comparisons that arXiv 2210.00990 takes part in;
which classes and images that paper used could not be looked up.
"""

import dataclasses

from maskgit_prompt.errors import UsageError


@dataclasses.dataclass(frozen=True)
class FewShot:
    """One set.

    Attributes:
      dataset: of TFDS; empty: there is none, and the images are a folder that the user fetches.
      test: the split of it that is held out.
      classes: as the data set or the folders call them, "NAME" or "NAME=how reports call it".
      fetch: what a folder of it holds and where it comes from.
    """

    dataset: str
    test: str
    classes: tuple[str, ...]
    fetch: str


IMAGENET = "ImageNet's train/, a folder per class (image-net.org)"
SETS = {
    "imagenette": FewShot(
        "imagenet2012:5.*.*",
        "validation",
        (
            "n01440764=tench",
            "n02102040=English springer",
            "n02979186=cassette player",
            "n03000684=chain saw",
            "n03028079=church",
            "n03394916=French horn",
            "n03417042=garbage truck",
            "n03425413=gas pump",
            "n03445777=golf ball",
            "n03888257=parachute",
        ),
        IMAGENET,
    ),
    "imagewoof": FewShot(
        "imagenet2012:5.*.*",
        "validation",
        (
            "n02086240=Shih-Tzu",
            "n02087394=Rhodesian ridgeback",
            "n02088364=beagle",
            "n02089973=English foxhound",
            "n02093754=Border terrier",
            "n02096294=Australian terrier",
            "n02099601=golden retriever",
            "n02105641=Old English sheepdog",
            "n02111889=Samoyed",
            "n02115641=dingo",
        ),
        IMAGENET,
    ),
    "places": FewShot(
        "places365_small:2.*.*",
        "validation",
        ("alley", "arch", "art_gallery", "auditorium", "ballroom"),
        "Places365's train folder of 256 x 256 images, a folder per class (places2.csail.mit.edu)",
    ),
    "animal-faces": FewShot(
        "",
        "",
        ("cat", "dog", "wild"),
        "AFHQ's train/ with cat/, dog/ and wild/ (github.com/clovaai/stargan-v2)",
    ),
}


def find(name: str) -> FewShot:
    """A set by its name.

    Raises:
      UsageError: there is none.
    """
    if name not in SETS:
        raise UsageError(f"no few-shot set {name!r}, expected {', '.join(SETS)}")
    return SETS[name]
