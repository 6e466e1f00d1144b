"""The data set `twemoji` of the package: ten classes of Twemoji, 66 pictures each, on white.

66, so that data.fractions of 0.3, 0.3 and 0.4 are 20, 20 and 26 pictures. No two are of one family
(emoji.family), but in `hands` and `people`, which have fewer than 66: they take two pictures, of
other tones or genders, from each of 33. data.loading keeps a family in one split.
"""

import io
import json
import pathlib

from PIL import Image

from benchmarks.gathering import emoji
from benchmarks.gathering.targets import evenly, twemoji

EACH, SIDE = 66, 64
COLOURS = 32  # in a picture: halves the bytes, at 40 dB
# Class -> Unicode's subcategories, and emoji that are added (+) and left out (-).
CLASSES = {
    "animals": "animal-bird animal-bug animal-mammal animal-marine animal-reptile -feather "
    "-feet -spider_web -shell -coral -microbe -wing",
    "faces": "face-affection face-concerned face-hand face-negative face-neutral-skeptical "
    "face-sleepy face-smiling face-tongue face-unwell -skull -skull_and_crossbones",
    "flags": "country-flag",
    "food": "drink food-asian food-prepared food-sweet",
    "hands": "hand-fingers-closed hand-fingers-open hand-fingers-partial hand-single-finger hands "
    "-middle_finger",
    "people": "person-role",
    "places": "place-building place-geographic place-other place-religious +world_map +japan "
    "+motorway +railway_track +stars +rice_scene +fireworks -bellhop_bell -luggage",
    "plants": "food-fruit food-vegetable plant-flower plant-other",
    "signs": "arrow av-symbol religion transport-sign zodiac -back -end -on -soon -top "
    "-low_brightness -high_brightness",
    "vehicles": "transport-air transport-ground transport-water -motorway -railway_track "
    "-oil_drum -traffic_light -vertical_traffic_light -octagonal_sign",
}


def members_of(words: str, one: emoji.Emoji) -> bool:
    """Whether an emoji is of the class that these words of CLASSES describe."""
    listed, name = words.split(), one.name.partition("-1f3f")[0]  # of all tones
    return f"-{name}" not in listed and (one.group in listed or f"+{name}" in listed)


def chosen(families: list[list], count: int) -> list:
    """`count` pictures: one from each of some families, evenly spread, or if there are too few
    families two. Which ones turns with the family, so that tones and genders mix.

    4 of the families (a, b, c, d), (e, f, g, h) are a, c, f and h.
    """
    each = 1 if len(families) >= count else 2
    return [
        pictures[(row + turn * len(pictures) // 2) % len(pictures)]
        for row, pictures in enumerate(evenly(families, count // each))
        for turn in range(each)
    ]


def files(path: pathlib.Path) -> dict[str, bytes]:
    """The data set's files, name -> contents: a sheet with a row per class, and what is on it.

    twemoji.json: class -> [name, family] of the pictures in its row.
    """
    everything = twemoji(path)
    sheet = Image.new("RGB", (EACH * SIDE, len(CLASSES) * SIDE))
    index = {}
    for row, (kind, words) in enumerate(CLASSES.items()):
        families: dict[str, list] = {}
        for one, data in everything:
            if members_of(words, one):
                families.setdefault(one.family, []).append((one, data))
        index[kind] = []
        for column, (one, data) in enumerate(chosen(list(families.values()), EACH)):
            index[kind].append([one.name, one.family])
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
