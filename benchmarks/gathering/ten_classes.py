"""The data set `twemoji` of the package: ten classes of Twemoji, up to 40 pictures each, on white.

Each class is of things that look alike: a classifier, trained on some of its pictures, reads the
others. No two pictures are of one family (emoji.family).
"""

import io
import json
import pathlib

from PIL import Image

from benchmarks.gathering import emoji
from benchmarks.gathering.targets import evenly, twemoji

MOST, SIDE = 40, 64
COLOURS = 24  # in a picture: halves the bytes
# Class -> Unicode's subcategories, and emoji that are added (+) and left out (-).
CLASSES = {
    "animals": "cat-face +monkey_face +dog +wolf +fox_face +raccoon +cat +lion_face +tiger +horse "
    "+donkey +moose +unicorn_face +zebra_face +cow +pig +boar +mouse +hamster +rabbit +bear "
    "+polar_bear +koala +panda_face +frog +dragon_face +chicken +rhinoceros +giraffe_face",
    "clocks": "time -hourglass -hourglass_flowing_sand",
    "faces": "face-affection face-concerned face-hand face-negative face-neutral-skeptical "
    "face-sleepy face-smiling face-tongue face-unwell -skull -skull_and_crossbones "
    "-face_in_clouds",
    "flags": "country-flag",
    "fruit": "food-fruit food-vegetable",
    "hands": "hand-fingers-closed hand-fingers-open hand-fingers-partial hand-single-finger hands "
    "-middle_finger",
    "hearts": "heart -love_letter +hearts",
    "people": "person-role +santa +mrs_claus +superhero +supervillain +mage +elf +vampire",
    "signs": "arrow av-symbol religion zodiac -back -end -on -soon -top -low_brightness "
    "-high_brightness",
    "vehicles": "transport-ground -manual_wheelchair -motorized_wheelchair -skateboard "
    "-roller_skate -busstop -motorway -railway_track -oil_drum -fuelpump -wheel -rotating_light "
    "-traffic_light -vertical_traffic_light -octagonal_sign -construction",
}


def members_of(words: str, one: emoji.Emoji) -> bool:
    """Whether an emoji is of the class that these words of CLASSES describe."""
    listed, name = words.split(), one.name.partition("-1f3f")[0]  # of all tones
    return f"-{name}" not in listed and (one.group in listed or f"+{name}" in listed)


def chosen(families: list[list], most: int) -> list:
    """A picture each from at most `most` families, evenly spread. Which one turns with the family,
    so that tones and genders mix.

    Two of the families (a, b), (c, d), (e, f), (g, h) are a and f.
    """
    return [pictures[row % len(pictures)] for row, pictures in enumerate(evenly(families, most))]


def files(path: pathlib.Path) -> dict[str, bytes]:
    """The data set's files, name -> contents: a sheet with a row per class, and what is on it.

    twemoji.json: class -> names of the pictures in its row, which is white behind the last.
    """
    everything = twemoji(path)
    sheet = Image.new("RGB", (MOST * SIDE, len(CLASSES) * SIDE), "white")
    index = {}
    for row, (kind, words) in enumerate(CLASSES.items()):
        families: dict[str, list] = {}
        for one, data in everything:
            if members_of(words, one):
                families.setdefault(one.family, []).append((one, data))
        index[kind] = []
        for column, (one, data) in enumerate(chosen(list(families.values()), MOST)):
            index[kind].append(one.name)
            sheet.paste(on_white(data), (column * SIDE, row * SIDE))
    file = io.BytesIO()
    sheet.save(file, "WEBP", lossless=True, quality=100, method=6)
    return {"twemoji.webp": file.getvalue(), "twemoji.json": json.dumps(index).encode()}


def on_white(data: bytes) -> Image.Image:
    """A transparent picture on white, RGB, in COLOURS colours."""
    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("RGB")
    return picture.quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).convert("RGB")
