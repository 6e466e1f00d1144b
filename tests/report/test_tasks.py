"""Means by hand, results.md to the letter, the page and its charts."""

import io
import re

import pytest
from PIL import Image

from maskgit_prompt.errors import UserError
from maskgit_prompt.report import tasks
from tests.report.pages import PNG, check_page, sources

SCORES = ("untuned_frechet", "kid", "accuracy", "real_accuracy", "heldout_loss", "near_copies")


def done(task, group, frechet, **scores):
    """A done task, of whose scores those that are not named could not be measured."""
    row = {"task": task, "group": group, "status": "done", "error": None, "folder": f"{task}-0"}
    row |= {"classes": 10, "images": 65931, "steps": 3000, "generated": 5000}
    row |= {"trainable": 10464, "share": 0.0042, "frechet": frechet}
    return row | dict.fromkeys(SCORES) | scores


def absent(task, group, status, error=None):
    return {"task": task, "group": group, "status": status, "error": error}


FAILED = "labels.csv has 3 columns: expected 2"
ROWS = [
    done("dtd", "natural", 2.0, kid=0.5, accuracy=0.9),
    done("svhn", "natural", 1.0, kid=-0.25),
    absent("eurosat", "specialized", "failed", FAILED),
    absent("dmlab", "structured", "missing"),
    done("dsprites", "structured", 9.0),
    absent("kitti", "structured", "missing"),
]


def test_means_by_hand():
    natural, structured, everything = tasks.means(ROWS)
    none = dict.fromkeys(SCORES)
    assert natural == {
        **none, "group": "natural", "tasks": 2, "of": 2, "frechet": 1.5, "kid": 0.125,
        "accuracy": 0.9,
    }  # fmt: skip
    assert structured == {**none, "group": "structured", "tasks": 1, "of": 3, "frechet": 9.0}
    # (2 + 1 + 9) / 3: a mean over tasks; one over the groups would be (1.5 + 9) / 2 = 5.25.
    assert everything == {
        **none, "group": "all", "tasks": 3, "of": 6, "frechet": 4.0, "kid": 0.125, "accuracy": 0.9,
    }  # fmt: skip


def test_means_of_nothing_done():
    none = dict.fromkeys(("frechet", *SCORES))
    assert tasks.means(ROWS[2:4]) == [{**none, "group": "all", "tasks": 0, "of": 2}]


def test_markdown_to_the_letter():
    rows = [
        done("svhn", "natural", 12.3, untuned_frechet=140.125, kid=-0.00125, accuracy=0.9)
        | {"near_copies": 0.01, "heldout_loss": 4.1},
        absent("clevr_count_all", "structured", "failed", FAILED),
    ]
    text = tasks.markdown(rows, "VTAB on mini", ["One seed.", "On two cores."])
    assert text.startswith("# VTAB on mini\n\nFréchet distance and KID are those of")
    assert "They are not FID" in text
    assert max(map(len, text.partition("\n| ")[0].splitlines())) <= 100
    table = """
| task            | group      | classes | images | steps | Fréchet distance | Fréchet untuned |     KID | accuracy | accuracy real | held-out loss | near-copies | share of the model |
| --------------- | ---------- | ------: | -----: | ----: | ---------------: | --------------: | ------: | -------: | ------------: | ------------: | ----------: | -----------------: |
| svhn            | natural    |      10 | 65,931 | 3,000 |            12.30 |          140.12 | −0.0013 |   90.0_% |             — |         4.100 |       1.0_% |             0.42_% |
| clevr_count_all | structured |       — |      — |     — |                — |               — |       — |        — |             — |             — |           — |                  — |

## Means

| group   | tasks done | Fréchet distance | Fréchet untuned |     KID | accuracy | accuracy real | held-out loss | near-copies |
| ------- | ---------- | ---------------: | --------------: | ------: | -------: | ------------: | ------------: | ----------: |
| natural | 1 of 1     |            12.30 |          140.12 | −0.0013 |   90.0_% |             — |         4.100 |       1.0_% |
| all     | 1 of 2     |            12.30 |          140.12 | −0.0013 |   90.0_% |             — |         4.100 |       1.0_% |

## Failed and missing

- clevr_count_all failed: labels.csv has 3 columns: expected 2

## Remarks

- One seed.
- On two cores.
"""  # noqa: E501
    assert text[text.index("\n| task") :] == table.replace("_%", "\u202f%")


def test_markdown_leaves_empty_lists_out():
    assert re.findall("^#.*", tasks.markdown(ROWS[:1], "T", []), re.M) == ["# T", "## Means"]


def test_tasks_missing_for_one_reason_share_a_line():
    text = tasks.markdown(ROWS, "T", [])
    assert text.endswith(f"\n\n- eurosat failed: {FAILED}\n- dmlab, kitti missing\n")


def test_report(tmp_path):
    pictures = {"svhn": Image.new("RGB", (3, 2)), "dtd": PNG}
    tasks.tasks_report(
        tmp_path / "r.html", ROWS, pictures, title="VTAB", remarks=["One <seed>."],
        config={"seed": 2020},
    )  # fmt: skip
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    order = [
        "Tasks done: 3 of 6.",
        "They are not FID",
        f'<p class="note">eurosat failed: {FAILED}</p>',
        '<p class="note">dmlab, kitti missing</p>',
        '<p class="note">One &lt;seed&gt;.</p>',
        "<h2>Means</h2>",
        '<td>all</td><td>3 of 6</td><td class="n">4.00</td>',
        "<h2>Tasks</h2>",
        '<td>svhn</td><td>natural</td><td class="n">1.00</td>',
        '<td>eurosat</td><td>specialized</td><td class="n">—</td>',
        "Fréchet distance of generated to real images; lower is better.",
        "Share of images read as their class; higher is better.",
        "<h2>Pictures</h2>",
        "<figcaption>Generated for svhn</figcaption>",
        "<h2>Size</h2>",
        '<td class="n">0.42\u202f%</td>',
        "<h2>Each task&#x27;s own report</h2>",
        "<td>svhn</td><td>svhn-0/report.html</td>",
        "<summary>All settings</summary>",
        "<td>2020</td>",
    ]
    places = [text.index(piece) for piece in order]
    assert places == sorted(places)
    assert len(sources(text)) == 4
    assert text.count("-0/report.html") == 3


def test_report_shows_no_empty_charts_and_tables(tmp_path):
    tasks.tasks_report(tmp_path / "r.html", [done("dtd", "natural", None)], {}, title="T")
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    assert sources(text) == []
    assert "Pictures" not in text and "All settings" not in text

    tasks.tasks_report(tmp_path / "r.html", ROWS[2:4], {}, title="T")
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    assert re.findall("<h2>(.*?)</h2>", text) == ["Means", "Tasks"]


@pytest.mark.parametrize(
    ("rows", "height"),
    [
        (ROWS[:1], 316),  # (0.9 + 2 * 0.34) * 200: a group and a task
        (ROWS, 792),  # three groups and six tasks
        ([done("dtd", "natural", None)], 316),
        (ROWS[2:4], 452),
    ],
    ids=["one", "some", "unmeasured", "absent"],
)
def test_chart_is_as_high_as_its_tasks(rows, height):
    png = tasks.chart(rows)
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.size) == ("PNG", (1400, height))


def test_chart_of_no_tasks():
    with pytest.raises(UserError, match="no bars to draw"):
        tasks.chart([])
