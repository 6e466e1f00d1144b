"""Which pictures are not trained on, and why: the only list.

Patterns are those of fnmatch on SOURCE/CLASS/NAME, where * stands for any text, "/" too. NAME is
emoji-data's short name for emoji, the file's for clip art and photographs.
"""

import fnmatch
import functools
import re

DIGITS = "shows digits, and handwritten digits are a target"
TARGET = "a target"
BRICK, GRAVEL, TISSUE = (
    f"looks like the target `{name}`" for name in ("brick", "gravel", "tissue")
)
FLAGS = "not Microsoft's: Fluent has no country flags, and these look like Noto's"
LICENCE = "no licence is stated that allows shipping weights"
DRAWN = "not a photograph"
LOGO = "a logo or a figure that somebody owns"
PAGE = "a page of words"
MISSING = "Inkscape's words for a picture that it did not find"
HATE = "a sign that hate groups use"
BODIES = "bodies, or a rude gesture"
ALIKE = "nearly equal to others that are kept"


def _each(reason: str, patterns: str, before: str = "") -> tuple[tuple[str, str], ...]:
    """One reason for all patterns of a text, each with the same words before it."""
    return tuple((before + pattern, reason) for pattern in patterns.split())


EXCLUDED: tuple[tuple[str, str], ...] = (
    # --- Emoji, in both sets.
    *_each(DIGITS, "keycap/* */100 */1234 */8ball */calendar */date */convenience_store", "*/"),
    *_each(DIGITS, "*/underage */*_place_medal */slot_machine */pager */repeat_one */o2", "*/"),
    ("*/*/bricks", BRICK),
    ("*/*/middle_finger*", BODIES),
    ("*/skin-tone/*", "squares of one colour"),
    ("fluent/country-flag/*", FLAGS),
    # --- Photographs.
    *_each(TARGET, "brick/* grass/* gravel/* ihc/*", "photos/"),
    *_each(TISSUE, "cell/* microaneurysms/* retina/*", "photos/"),
    ("photos/coins/*", GRAVEL),
    *_each(LICENCE, "moon/* motorcycle_left/* motorcycle_right/* page/*", "photos/"),
    ("photos/clock_motion/*", "a wall blurred until it is nearly plain"),
    ("photos/text/*", PAGE),
    *_each(DRAWN, "chessboard_*/* color/* horse/* logo/* multipage*/*", "photos/"),
    *_each(DRAWN, "no_time_for_that_tiny/* phantom/*", "photos/"),
    # --- Clip art.
    *_each(DIGITS, "*8_ball* *8ball* *9_ball* *9ball* */signalflag_[0-9]*", "clipart/"),
    *_each(DIGITS, "*calculator* *calcolatrice* *route_jakob* */barcode_*", "clipart/"),
    *_each(DIGITS, "office/tabella_* office/telephone/numero_verde*", "clipart/"),
    *_each(DIGITS, "recreation/games/cards/*_[cdhs]_[0-9]*", "clipart/"),
    *_each(DIGITS, "recreation/religion/creation_day_* recreation/dartboard*", "clipart/"),
    *_each(DIGITS, "clock_michael_* orologio_*", "clipart/signs_and_symbols/clocks/"),
    *_each(DIGITS, "for_sale_sign*", "clipart/signs_and_symbols/"),
    *_each(DIGITS, "lorry_l* roadsigns/interstate_* roadsigns/lorry_l*", "clipart/transportation/"),
    *_each(
        DIGITS,
        "folder_binary action/[0-9]day* action/enumList action/highscore action/make_kdevelop "
        "action/prec* action/viewmag1 applications/gkrellm applications/karbon "
        "applications/kbiff applications/kbruch applications/kenolaba applications/kodo",
        "clipart/computer/icons/flat-theme/",
    ),
    *_each(BRICK, "buildings/brick* buildings/wall* unsorted/pavement*", "clipart/"),
    ("clipart/special/patterns/pattern-parquet*", BRICK),
    ("clipart/unsorted/stones*", GRAVEL),
    *_each(LOGO, "logos/* *firefox* *mozilla* */windows *acroread* */real */real_doc", "clipart/"),
    *_each(LOGO, "*pacman* *domo_kun* animals/mascot_enrique*", "clipart/"),
    *_each(LOGO, "*tsunami_warning* */nws_government*", "clipart/"),
    *_each(PAGE, "special/cd* special/examples/* special/poster-example*", "clipart/"),
    *_each(PAGE, "signs_and_symbols/font_samples* unsorted/tavola_esame*", "clipart/"),
    *_each(PAGE, "unsorted/media_as_wmd* unsorted/what_have_you_done*", "clipart/"),
    *_each(MISSING, "people/stylized_yoga_person*", "clipart/"),
    *_each(
        MISSING,
        "duck_yellow_ii* new_penguin_charles* penguin/tux_didier*",
        "clipart/animals/birds/",
    ),
    *_each(HATE, "decorations/sunwheel* *usa_missisipi", "clipart/"),
    *_each(BODIES, "people/clothing/pantyhose/* people/sexy_lady* shapes/shadow_babe*", "clipart/"),
    *_each(ALIKE, "bordered/* simple/* white/*", "clipart/recreation/games/cards/"),
    *_each(ALIKE, "shapes/stars/star_[2-9]?pt* tools/weapons/bullet_hole_*[!a]", "clipart/"),
)


@functools.cache
def _compiled() -> tuple[tuple[re.Pattern, str], ...]:
    return tuple((re.compile(fnmatch.translate(pattern)), why) for pattern, why in EXCLUDED)


def reason(name: str) -> str | None:
    """Why SOURCE/CLASS/NAME is left out; None: it is not."""
    return next((why for pattern, why in _compiled() if pattern.match(name)), None)
