"""Pictures are cut to what is drawn and shrunk by opacity; what shows nothing is unfit."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.gathering import shrinking
from benchmarks.gathering.shrinking import Unfit
from tests.gathering import making

RED, BLUE, WHITE = (255, 0, 0, 255), (0, 0, 255, 255), (255, 255, 255, 255)
HIDDEN_BLUE, NOTHING = (0, 0, 255, 0), (0, 0, 0, 0)


def picture(size, *colours):
    return shrinking.opened(making.png(size, *colours))


def test_hidden_colours_do_not_shine_through():
    """32 x 32 of red beside transparent blue, to 1 x 1: red, half as opaque."""
    [[pixel]] = np.asarray(shrinking.shrunk(picture((32, 32), RED, HIDDEN_BLUE), 1)).tolist()
    assert pixel[:3] == [255, 0, 0] and abs(pixel[3] - 128) <= 1


def test_hidden_colours_are_not_kept():
    pixels = np.asarray(shrinking.shrunk(picture((2, 2), RED, HIDDEN_BLUE), 80))
    assert pixels[0].tolist() == [list(RED), [0, 0, 0, 0]]


def test_sides_are_at_most_so_long_and_never_enlarged():
    assert shrinking.shrunk(picture((200, 50), RED, BLUE), 80).size == (80, 20)
    assert shrinking.shrunk(picture((40, 30), RED, BLUE), 80).size == (40, 30)


@pytest.mark.parametrize("page", [NOTHING, HIDDEN_BLUE, WHITE])
def test_the_page_around_a_drawing_is_cut_off(page):
    sheet = Image.new("RGBA", (100, 90), page)
    sheet.paste(RED, (20, 10, 60, 50))
    assert np.asarray(shrinking.trimmed(sheet)).tolist() == [[list(RED)] * 40] * 40


def test_a_drawing_that_reaches_different_corners_is_whole():
    assert shrinking.trimmed(picture((60, 40), RED, BLUE)).size == (60, 40)
    assert shrinking.trimmed(picture((50, 10), RED, BLUE)).size == (50, 10)


@pytest.mark.parametrize(
    ("size", "colours", "why"),
    [
        ((50, 50), [NOTHING], "blank"),
        ((50, 50), [WHITE], "blank"),
        ((46, 23), [RED, NOTHING], "less than 24 pixels a side"),
        ((52, 10), [RED, BLUE], "more than 5 times as long as wide"),
    ],
)
def test_pages_with_next_to_nothing_are_unfit(size, colours, why):
    with pytest.raises(Unfit, match=why):
        shrinking.trimmed(picture(size, *colours))


def test_faint_and_plain_pictures_are_unfit():
    thread = Image.new("RGBA", (100, 100))
    thread.paste(RED, (0, 0, 1, 100))  # 1 % of it
    with pytest.raises(Unfit, match="faint"):
        shrinking.shrunk(thread, 100)
    with pytest.raises(Unfit, match="blank"):
        shrinking.shrunk(picture((50, 50), RED), 80)
    thread.paste(RED, (0, 0, 3, 100))
    assert shrinking.shrunk(thread, 100).size == (100, 100)
    assert shrinking.shrunk(picture((50, 50), RED, NOTHING), 80).size == (50, 50)


def test_huge_pictures_are_not_decoded(monkeypatch):
    monkeypatch.setattr(shrinking, "LARGEST", 99)
    data = making.png((10, 10), RED)
    with pytest.raises(Unfit, match="more than 99 pixels"):
        shrinking.opened(data[:60])  # the header alone
    monkeypatch.setattr(shrinking, "LARGEST", 100)
    assert shrinking.opened(data).size == (10, 10)


@pytest.mark.parametrize(("second", "mode"), [(BLUE, "RGB"), ((1, 2, 3, 254), "RGBA")])
def test_files_are_without_loss_and_have_alpha_where_needed(second, mode):
    image = picture((6, 4), RED, second)
    with Image.open(io.BytesIO(shrinking.encoded(image))) as back:
        assert back.mode == mode
        np.testing.assert_array_equal(np.asarray(back.convert("RGBA")), np.asarray(image))
