"""Contact sheets and charts."""

import io

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.report import curves, sheets

RED, BLUE = (255, 0, 0), (0, 0, 255)


def cells(rows, cols, size, colour=RED):
    images = np.zeros((rows, cols, size, size, 3), np.uint8)
    images[:] = colour
    return images


def count(sheet, colour):
    return int((np.asarray(sheet) == colour).all(axis=-1).sum())


def test_grid_enlarges_by_whole_pixels_and_keeps_order():
    images = cells(1, 2, 2)
    images[0, 1] = BLUE
    images[0, 1, 0, 0] = RED
    sheet = sheets.grid(images, scale=3)
    # Margin 20 around, 6-pixel cells, a gap of 4: 20 + 6 + 4 + 6 + 20 by 20 + 6 + 20.
    assert sheet.size == (56, 46)
    assert count(sheet, RED) == 36 + 9
    assert count(sheet, BLUE) == 27
    assert sheet.getpixel((30, 20)) == RED
    assert sheet.getpixel((33, 20)) == BLUE


def test_grid_scales_by_itself():
    assert count(sheets.grid(cells(1, 1, 32)), RED) == 64 * 64
    assert count(sheets.grid(cells(1, 1, 24)), RED) == 48 * 48
    assert count(sheets.grid(cells(1, 1, 100)), RED) == 100 * 100
    assert count(sheets.grid(cells(1, 1, 64), scale=0.5), RED) == 32 * 32


def test_grid_leaves_missing_images_out():
    sheet = sheets.grid(cells(2, 2, 4), scale=1, present=np.array([[1, 1], [1, 0]], bool))
    assert count(sheet, RED) == 3 * 16


def test_cards_go_row_by_row_and_captions_cover_none():
    images = np.concatenate([cells(1, 4, 32)[0], cells(1, 1, 32, BLUE)[0]])
    sheet = sheets.cards(images, [("cat", "→ dog", "93 %")] * 4 + [("a" * 99, "→ b", "1 %")])
    # Margins of 20, cells of 160, gaps of 18; below each 6 and three lines of 21.
    assert sheet.size == (4 * 160 + 3 * 18 + 40, 2 * (160 + 6 + 63) + 18 + 40)
    assert count(sheet, RED) == 4 * 160**2 and count(sheet, BLUE) == 160**2
    assert sheet.getpixel((20 + 3 * 178, 20)) == RED
    assert sheet.getpixel((20, 20 + 229 + 18)) == BLUE
    assert sheet.getpixel((20 + 178, 20 + 229 + 18)) == sheet.getpixel((0, 0))  # no sixth image
    # The dark line is the first one: the class.
    lines = [np.asarray(sheet)[186 + 21 * i : 186 + 21 * (i + 1), 20:180] for i in range(3)]
    assert lines[0].min() < lines[1].min() and lines[1].min() == lines[2].min()


def test_cards_of_few_and_of_large_images():
    assert sheets.cards(cells(1, 2, 16)[0], [("a",), ("b",)]).width == 2 * 160 + 18 + 40
    assert count(sheets.cards(cells(1, 1, 320)[0], [("a",)]), RED) == 160**2
    with pytest.raises(UserError, match="1 row labels for 2 rows: expected as many"):
        sheets.cards(cells(1, 2, 16)[0], [("a",)])


def test_labels_and_title_take_room_and_cover_no_image():
    images = cells(2, 2, 32)
    bare = sheets.grid(images)
    sheet = sheets.grid(images, ["cat", "a" * 200], ["real", "made, and very long"], title="Pets")
    assert sheet.width > bare.width
    assert sheet.height > bare.height
    assert count(sheet, RED) == count(bare, RED) == 4 * 64 * 64
    # The long name is cut: no wider than the widest label allowed, 260, and 12 to the images.
    assert bare.width + 250 < sheet.width <= bare.width + 260 + 12


def boxes(size):
    """What the font draws for a character that it does not have: two of them differ from none."""
    return bytes(sheets._font(size).getmask("\U0010fffd"))


@pytest.mark.parametrize("name", ["dög", "ÅŁőß", "σκύλος", "собака", "…—’"])
def test_labels_in_other_scripts_are_no_boxes(name):
    for letter in name:
        assert bytes(sheets._font(20).getmask(letter)) != boxes(20)


def test_decomposed_letters_are_put_together():
    """A Mac writes "ö" as "o" and a diaeresis."""
    one, two = (sheets.grid(cells(1, 1, 8), [n], title=n) for n in ("d\u00f6g", "do\u0308g"))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_labels_are_cut_in_the_middle():
    font = sheets._font(20)
    width = font.getlength("bi…12")
    assert sheets._shorten("bird_012", font, width) == "bi…12"
    assert sheets._shorten("bi_12", font, width) == "bi_12"
    assert sheets._shorten("bird_012", font, 0) == "…"
    names = [f"class_with_a_rather_long_name_{i:03}" for i in range(40)]
    shown, font = sheets._fit(names, 200, 16)
    assert font.size == 16
    assert len(set(shown)) == 40
    assert all(n.startswith("class_w") and font.getlength(n) <= 200 for n in shown)
    assert [n[-3:] for n in shown] == [n[-3:] for n in names]


def test_wide_sheets_give_labels_a_third():
    """12 images of 64 pixels and the gaps are 812 across; with margins and the gap 864, so that
    labels may take 432, which two thirds of a sheet of 1296 leave.
    """
    bare = sheets.grid(cells(1, 12, 64))
    assert bare.width == 812 + 40
    sheet = sheets.grid(cells(1, 12, 64), ["n" * 200])
    assert 1296 - 20 < sheet.width <= 1296


def test_column_labels_shrink_to_fit():
    names, font = sheets._fit(["instance", "0.25"], 62, 11)
    assert names == ["instance", "0.25"]
    assert 11 <= font.size < 20
    # What fits keeps its size.
    assert sheets._fit(["real"], 62, 11)[1].size == 20


def test_no_font(monkeypatch):
    monkeypatch.setattr(sheets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="matplotlib is not installed, and its font is needed"):
        sheets._font.__wrapped__(20)


def test_by_class_by_hand():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 3), np.uint8)
    shown, present = sheets.by_class(images, np.array([0, 1, 0]), classes=2, cols=2)
    np.testing.assert_array_equal(shown[..., 0, 0, 0], [[0, 2], [1, 0]])
    np.testing.assert_array_equal(present, [[True, True], [True, False]])


def test_save_png_reads_back_and_repeats(tmp_path):
    sheet = sheets.grid(cells(1, 2, 8), ["a"], title="t")
    sheets.save_png(sheet, tmp_path / "samples" / "a.png")
    with Image.open(tmp_path / "samples" / "a.png") as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(sheet))
    again = sheets.grid(cells(1, 2, 8), ["a"], title="t")
    assert sheets.png_bytes(again) == (tmp_path / "samples" / "a.png").read_bytes()


def test_bad_sheets():
    with pytest.raises(UserError, match=r"sheet of float64 \[1, 1, 8, 8, 3\]: expected uint8"):
        sheets.grid(cells(1, 1, 8) / 255.0)
    with pytest.raises(UserError, match=r"sheet of uint8 \[0, 1, 8, 8, 3\].* at least one image"):
        sheets.grid(cells(0, 1, 8))
    with pytest.raises(UserError, match="1 row labels for 2 rows"):
        sheets.grid(cells(2, 1, 8), ["a"])
    with pytest.raises(UserError, match="3 column labels for 1 columns"):
        sheets.grid(cells(2, 1, 8), None, ["a", "b", "c"])
    with pytest.raises(UserError, match="scale 2.5: expected 1, 2, 3"):
        sheets.grid(cells(1, 1, 8), scale=2.5)
    with pytest.raises(UserError, match=r"present of shape \(1, 2\): expected \(1, 1\)"):
        sheets.grid(cells(1, 1, 8), present=np.ones((1, 2), bool))


def test_running_mean_by_hand():
    np.testing.assert_allclose(curves.running_mean(np.array([1.0, 3, 8]), 3), [2, 4, 5.5])
    np.testing.assert_allclose(curves.running_mean(np.array([1.0, 3, 8]), 1), [1, 3, 8])


def loss_curve(**options):
    steps = np.arange(200)
    series = {"train": (steps, 1 + 3 * np.exp(-steps / 50)), "held-out": ([0, 100, 199], [4, 2, 1])}
    return curves.loss_curve(series, {"best": 150}, **options)


def test_charts_are_png_1400_wide_and_repeat():
    for draw in (
        loss_curve,
        lambda: curves.bar_chart({"2 shots": {"prompt": 0.8, "full": None}}, "score", percent=True),
    ):
        png = draw()
        with Image.open(io.BytesIO(png)) as image:
            assert (image.format, image.size) == ("PNG", (1400, 780))
        assert draw() == png


def test_svg_holds_the_words_and_repeats(monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    svg = loss_curve(format="svg", title="Tuning")
    assert loss_curve(format="svg", title="Tuning") == svg
    text = svg.decode()
    for word in ("train (mean of 9)", "held-out", "best", "step", "loss", "Tuning"):
        assert f">{word}</text>" in text
    bars = curves.bar_chart(
        {"2 shots": {"prompt": 0.853, "none": None}, "5 shots": {"full": -0.1, "none": None}},
        "accuracy",
        percent=True,
        format="svg",
    ).decode()
    for word in ("2 shots", "5 shots", "prompt", "full", "85%", "-10%", "accuracy"):
        assert f">{word}</text>" in bars
    assert ">none</text>" not in bars
    dots = curves.bar_chart({"a": {"x": 1.88, "y": 1.9}}, "loss", dots=True, format="svg").decode()
    assert ">1.880</text>" in dots
    assert ">0.0</text>" not in dots


def test_horizontal_bars_are_as_high_as_their_rows_and_repeat():
    """0.9 and 0.34 inches a line, 200 pixels each: (0.9 + 3 * 0.34) * 200 = 384 of two rows."""
    groups = {"natural": {"svhn": {"tuned": 1.0, "untuned": 300.0}, "dtd": {"tuned": None}}}
    for shown, height in ((groups, 384), ({**groups, "structured": {"dmlab": {}}}, 520)):
        png = curves.horizontal_bars(shown, "distance")
        with Image.open(io.BytesIO(png)) as image:
            assert (image.format, image.size) == ("PNG", (1400, height))
        assert curves.horizontal_bars(shown, "distance") == png


def test_horizontal_bars_of_missing_values(monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    rows = {"svhn": {"a": 0.853, "b": None, "c": None}, "dtd": {"a": -0.1, "b": 0.5, "c": None}}
    rows["dmlab"] = dict.fromkeys("abc")
    svg = curves.horizontal_bars({"all": rows}, "accuracy", percent=True, format="svg").decode()
    for word in ("all", "svhn", "dtd", "dmlab", "a", "b", "85%", "-10%", "50%", "accuracy"):
        assert f">{word}</text>" in svg
    # svhn's b, and dmlab's three at once.
    assert svg.count(">—</text>") == 2
    assert ">c</text>" not in svg

    nothing = {"all": {"svhn": {"a": None, "b": None}, "dtd": {"a": None}}}
    svg = curves.horizontal_bars(nothing, "accuracy", format="svg").decode()
    assert svg.count(">—</text>") == 2
    assert ">a</text>" not in svg and ">0.0</text>" not in svg


def test_bad_charts():
    with pytest.raises(UserError, match="no curves to draw"):
        curves.loss_curve({})
    with pytest.raises(UserError, match="curve 'train' of 2 steps and 1 values"):
        curves.loss_curve({"train": ([1, 2], [1])})
    with pytest.raises(UserError, match="curve 'train' of 0 steps and 0 values"):
        curves.loss_curve({"train": ([], [])})
    with pytest.raises(UserError, match="no bars to draw"):
        curves.bar_chart({"a": {"x": None}}, "score")
    with pytest.raises(UserError, match="no bars to draw: expected at least one group with one"):
        curves.horizontal_bars({"natural": {}}, "score")
    with pytest.raises(UsageError, match="chart format 'gif': expected 'png' or 'svg'"):
        loss_curve(format="gif")
