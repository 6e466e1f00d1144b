"""What a run prints of what it found."""

import json

import numpy as np

from maskgit_prompt.data.found import Found, LeftOut, by_ending, of_classes, of_sizes

SIZES = np.array([[640, 480], [48, 40], [4000, 3000], [100, 90], [90, 100]])


def test_sizes_are_those_of_the_smallest_the_median_and_the_largest():
    assert of_sizes(SIZES) == ((48, 40), (90, 100), (4000, 3000))
    assert of_sizes(SIZES[:2]) == ((48, 40), (48, 40), (640, 480))


def test_lines_of_all_that_was_found():
    found = Found(
        where="photos",
        left_out=(LeftOut("ending in .txt", 2, ("a.txt", "b.txt")), LeftOut("hidden", 9, (".x",))),
        sizes=of_sizes(SIZES),
        enlarged=1,
        side=64,
        notes=("first", "second"),
    )
    assert found.lines() == [
        "sizes: 48 x 40 pixels at least, 90 x 100 the median, 4,000 x 3,000 at most; 1 below "
        "64 x 64, enlarged",
        "left out: ending in .txt: 2 (a.txt, b.txt); hidden: 9 (.x, ...)",
        "note: first",
        "note: second",
    ]
    assert json.loads(found.to_json())["left_out"][0] == {
        "what": "ending in .txt",
        "count": 2,
        "first": ["a.txt", "b.txt"],
    }


def test_nothing_is_said_of_what_is_not_there():
    assert Found("photos").lines() == []
    assert Found("photos", sizes=((8, 8),) * 3).lines() == ["sizes: 8 x 8 pixels, all alike"]


def test_kinds_of_what_is_left_out_are_by_ending_and_reason():
    found = by_ending({"b.TXT": "", "a.txt": "", "c.jxl": "", "x/.y": "hidden", "none": ""})
    assert [(kind.what, kind.count, kind.first) for kind in found] == [
        ("ending in .jxl, JPEG XL (convert it to PNG)", 1, ("c.jxl",)),
        ("ending in .txt", 2, ("a.txt", "b.TXT")),
        ("hidden", 1, ("x/.y",)),
        ("without an ending", 1, ("none",)),
    ]
    assert by_ending({"caf\udce9.txt": ""})[0].first == (r"caf\xe9.txt",)


def test_classes_are_listed_and_of_many_some():
    assert of_classes(("cat",), [0, 0]) == "1 class: cat 2"
    assert of_classes(("cat", "dog"), [0, 1, 1]) == "2 classes: cat 1, dog 2"
    names = tuple(f"c{i}" for i in range(1000))
    labels = np.repeat(np.arange(1000), np.where(np.arange(1000) == 7, 1300, 3))
    expected = "1,000 classes of 3 to 1,300 images: c0 3, c1 3, c2 3, c3 3, c4 3, c5 3, ..."
    assert of_classes(names, labels) == expected
    assert of_classes(names[:13], np.arange(13)).startswith("13 classes of 1 image: c0 1, ")
