"""report.html: what it holds, how it shows numbers, and that it asks for nothing."""

import re

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import formats
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.report import comparison, side_by_side, transfer
from maskgit_prompt.report import html as report
from maskgit_prompt.tuning.methods import ORIGINS, TITLES
from tests.report.found import main_job
from tests.report.pages import PNG, check_page, sources


def page(tmp_path, *sections, title="T"):
    report.write_report(tmp_path / "report.html", title, sections)
    text = (tmp_path / "report.html").read_text()
    check_page(text)
    return text


def test_every_section(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    text = page(
        tmp_path,
        report.Heading("Scores"),
        report.Text("Plain."),
        report.Text("First.", lead=True),
        report.Note("Careful."),
        report.Command("python -m x"),
        report.Figure(PNG, "from bytes"),
        report.Gallery([report.Figure(str(tmp_path / "a.png"), "from a file")]),
        report.Table([{"a": 1}], "folded away", folded=True),
    )
    assert "<h2>Scores</h2>" in text
    assert "<p>Plain.</p>" in text
    assert '<p class="lead">First.</p>' in text
    assert '<p class="note">Careful.</p>' in text
    assert "<pre><code>python -m x</code></pre>" in text
    assert 'alt="from bytes" width="3" height="2">' in text
    assert "<figcaption>from a file</figcaption>" in text
    assert "<summary>folded away</summary>" in text
    assert len(sources(text)) == 2
    assert sources(text)[0] == sources(text)[1]
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_everything_is_escaped(tmp_path):
    evil = "<script>\"&'"
    text = page(
        tmp_path,
        report.Heading(evil),
        report.Text(evil),
        report.Note(evil),
        report.Command(evil),
        report.Figure(PNG, evil),
        report.Table([{evil: evil}], evil),
        title=evil,
    )
    escaped = "&lt;script&gt;&quot;&amp;&#x27;"
    # Title twice, five texts, the picture's alt and caption, the table's head, cell and caption.
    assert text.count(escaped) == 2 + 4 + 2 + 3


def test_table_alignment_and_dashes(tmp_path):
    rows = [{"name": "a", "n": 30240, "ok": True}, {"name": "b", "n": None, "late": 0.5}]
    text = page(tmp_path, report.Table(rows))
    assert '<th>name</th><th class="n">n</th><th>ok</th><th class="n">late</th>' in text
    assert '<td>a</td><td class="n">30,240</td><td>yes</td><td class="n">—</td>' in text
    assert '<td>b</td><td class="n">—</td><td>—</td><td class="n">0.5</td>' in text


def test_numbers_as_text():
    values = [None, 3, 30240, -2, 0.123456, 1234.56, 0.0, 1e-5, 2.5e7, -0.5, np.float32(0.25)]
    shown = ["—", "3", "30,240", "−2", "0.1235", "1,234.6", "0", "1e−05", "2.5e+07", "−0.5", "0.25"]
    assert [formats.number(value) for value in values] == shown
    assert formats.percent(0.8532) == "85.3\u202f%"
    assert formats.percent(None) == "—"
    assert formats.fixed(3)(1.8) == "1.800"
    assert formats.fixed(1)(None) == "—"
    assert [formats.aligned([385.21, 1.2])(v) for v in (385.21, 1.2)] == ["385.2", "1.2"]
    assert [formats.aligned([0.25, 0.0123])(v) for v in (0.25, 0.0123)] == ["0.2500", "0.0123"]
    assert formats.aligned([None, 0.0])(0.0) == "0"


def test_bad_pictures(tmp_path):
    with pytest.raises(UserError, match="cannot read the picture .*none.png: No such file"):
        page(tmp_path, report.Figure(tmp_path / "none.png"))
    (tmp_path / "a.png").write_bytes(b"JFIF and so on")
    with pytest.raises(UserError, match="a.png begins with .*: expected a PNG file"):
        page(tmp_path, report.Figure(tmp_path / "a.png"))
    assert not (tmp_path / "report.html").exists()


def test_an_unknown_section_is_refused(tmp_path):
    with pytest.raises(TypeError, match="a report section of type str"):
        page(tmp_path, "just words")


RESULTS = {
    "accuracy": {"real": 0.981, "reconstructed": 0.973, "prompt": 0.913, "untuned": 0.102},
    "frechet": {"prompt": 120.0, "untuned": 400.0},
    "kid": {"prompt": 0.0123, "untuned": 0.25},
    "loss": {"train": 1.825, "heldout": 1.883},
    "near_copies": main_job()["near_copies"] | {"fraction": 0.004, "count": 4},
    "marquee": [{"cutoff": 0.5, "diversity": 0.25, "distance_to_instance": 0.2}],
    "seconds": {"encode": 3.0, "tune": 142.5},
    "parameters": {"trainable": 30240, "frozen": 1650123, "share": 0.018},
    "config": {"train": {"steps": 400, "patterns": ("prompt/.*", "head/.*")}},
    "data": {"name": "digits", "classes": ["0", "1"], "images": {"test": 1000}},
    "encoding": {"images": 12000, "images_per_second": 930.4},
    "warnings": ["Few images."],
}


def summary(found):
    return transfer.summary(RunResult.from_json(found))


def main_page(path, found, pictures, title="Prompt tuning", command=None):
    result = RunResult.from_json(found)
    transfer.transfer_report(path, result, pictures, origins=ORIGINS, title=title, command=command)


def test_summary_in_words():
    assert summary(RESULTS) == (
        "A prompt of 30,240 numbers (1.80\u202f% of the model) was tuned; everything else "
        "stayed as it was. A classifier trained on other real images reads 91.3\u202f% of "
        "the generated images as their class (real ones: 98.1\u202f%, reconstructed ones: "
        "97.3\u202f%, without tuning: 10.2\u202f%). The Fréchet distance of the generated "
        "images to held-out real images is 120, 0.30 times that without tuning (400). The loss "
        "is 1.825 on training images and 1.883 on held-out ones. 4 of the generated images "
        "(0.4\u202f%) are near-copies of a training image."
    )
    assert summary({"loss": {"train": 1.0, "heldout": None}}) == ""


@pytest.mark.parametrize(
    ("patterns", "beginning"),
    [
        (("prompt/.*",), "A prompt of 900 numbers (82.6\u202f% of the model) was tuned;"),
        (["prompt/.*", "transformer/.*"], "900 numbers (82.6\u202f% of the model) were tuned, in "),
        ((".*bias",), "900 numbers (82.6\u202f% of the model) were tuned, in prompt and "),
        (("!transformer/.*", ".*"), "A prompt of 900 numbers"),
        (("!transformer/embed/.*", ".*"), "900 numbers"),
        (("transformer/.*",), "900 numbers (82.6\u202f% of the model) were tuned, in transformer;"),
    ],
)
def test_summary_names_what_was_tuned(patterns, beginning):
    parameters = {"trainable": 900, "frozen": 190}
    text = summary({"parameters": parameters, "config": {"trainable": patterns}})
    assert text.startswith(beginning)
    assert text.endswith("; everything else stayed as it was.")


def test_precision_and_recall_stand_with_the_scores(tmp_path):
    near = {"precision": 0.75, "recall": 0.5, "density": 1.2, "coverage": 0.9}
    results = {"kid": {"prompt": 0.02, "untuned": 0.3}}
    results["precision_recall"] = {"prompt": near, "untuned": None}
    main_page(tmp_path / "r.html", results, {})
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    assert '<th class="n">KID</th><th class="n">precision</th><th class="n">recall</th>' in text
    shown = '<td class="n">75.0\u202f%</td><td class="n">50.0\u202f%</td>'
    assert f'<td class="n">0.0200</td>{shown}' in text
    assert '<td class="n">0.3000</td><td class="n">—</td><td class="n">—</td>' in text
    assert "Recall: the share of real images that have a generated one near" in text

    results["precision_recall"] = {"prompt": None, "untuned": None}
    main_page(tmp_path / "r.html", results, {})
    text = (tmp_path / "r.html").read_text()
    assert ">recall<" not in text and "Recall:" not in text


def test_transfer_report(tmp_path):
    image = Image.new("RGB", (900, 4))
    pictures = {"loss": PNG, "marquee": image, "prompt": image, "real": image, "cats only": PNG}
    main_page(tmp_path / "report.html", RESULTS, pictures, title="Digits")
    text = (tmp_path / "report.html").read_text()
    check_page(text)
    assert len(sources(text)) == 5
    order = [
        "A prompt of 30,240",
        "Few images.",
        ">Pictures<",
        ">Real images<",
        ">Generated with the tuned prompt<",
        ">Cats only<",
        ">Scores<",
        ">120.0<",
        ">Near-copies<",
        "Between an image and its class: the marquee header",
        "low cutoff the class&#x27;s prompt takes over at once, at a high one the instance",
        ">Training<",
        "Training batches carry dropped conditions, and with a masked transformer",
        ">1.883<",
        ">1,650,123<",
        "Sample again",
        ">Time<",
        ">145.5<",
        "12,000 images were encoded; this host read and encoded 930.4 per second",
        ">Data<",
        ">train.patterns<",
        ">prompt/.*, head/.*<",
    ]
    places = [text.index(piece) for piece in order]
    assert places == sorted(places)
    # The command wraps on the page alone: its only line break is one that a shell reads over.
    assert re.search(r"pre {[^}]*white-space: pre-wrap; overflow-wrap: anywhere;", text)
    command = re.search("<pre><code>(.*?)</code></pre>", text, re.DOTALL)[1]
    assert f"<span>--config.prompt={tmp_path}/prompt.safetensors</span> <span>--work" in command
    assert command.count("\n") == command.count(" \\\n") == 1
    # Sheets too large for half the page stand alone.
    assert text.count('<figure class="large">') == 3


def test_distances_name_what_they_are_to_and_sheets_what_they_leave_out(tmp_path):
    data = {"classes": list("abcd"), "shown": 2, "reference": "real images of the split all"}
    results = RESULTS | {"data": data}
    main_page(tmp_path / "r.html", results, {"real": PNG})
    text = (tmp_path / "r.html").read_text()
    assert "Fréchet distance of the generated images to real images of the split all is" in text
    assert "Fréchet distance and KID: of generated images to real images of the split all," in text
    assert "2 of 4 classes are shown." in text
    main_page(tmp_path / "r.html", RESULTS, {"real": PNG})
    assert "classes are shown" not in (tmp_path / "r.html").read_text()


def test_transfer_report_of_almost_nothing(tmp_path):
    """One class, no classifier, no pictures: what is there is shown, and no empty headings."""
    results = {"accuracy": {"real": None, "prompt": None}, "seconds": {"tune": 1.0}, "kid": None}
    main_page(tmp_path / "r.html", results, {}, command="sample <again>")
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    assert "sample &lt;again&gt;" in text
    assert re.findall("<h2>(.*?)</h2>", text) == ["Sample again", "Time"]


def test_comparison_report(tmp_path):
    rows = [
        {"method": "prompt", "shots": 5, "accuracy": 0.8, "frechet": 230.0, "heldout_loss": 1.88}
        | {"kid": 0.02, "train_loss": 1.8, "near_copies": 0.01, "trainable": 30240}
        | {"seconds": 60.0, "best_step": 300},
        {"method": "scratch", "shots": 5, "accuracy": 0.9, "frechet": 130.0, "heldout_loss": 1.9},
        {"method": "untuned", "shots": 5, "accuracy": 0.1, "frechet": 385.0},
        {"method": "prompt", "shots": 2, "accuracy": 0.6},
        {"method": "lora", "shots": 2, "accuracy": 0.6},
    ]
    comparison.comparison_report(
        tmp_path / "r.html",
        rows,
        {"prompt/5": PNG, "scratch": PNG},
        methods=TITLES,
        config={"seed": 0},
    )
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == ["2 images per class", "5 images per class", "Pictures"]
    # The best by each measure, ties named together; 2 before 5.
    assert '<td class="n">2</td><td>prompt tuning, lora</td><td>—</td>' in text
    assert (
        '<td class="n">5</td><td>from scratch</td><td>from scratch</td><td>prompt tuning</td>'
        "<td>prompt tuning</td>"
    ) in text
    assert '<td>no tuning</td><td class="n">10.0\u202f%</td><td class="n">385.0</td>' in text
    assert ">Prompt tuning, 5 images per class<" in text
    # Three charts and two pictures.
    assert len(sources(text)) == 5


def test_side_by_side_report(tmp_path):
    row = {"transformer": "masked", "accuracy": 0.9, "untuned_accuracy": 0.1, "frechet": 4.5}
    row |= {"untuned_frechet": 33.0, "kid": 0.1, "near_copies": 0.01, "heldout_loss": 2.4}
    row |= {"train_loss": 2.3, "trainable": 10464, "share": 0.0042, "tuning_seconds": 124.0}
    row |= {"seconds_per_image": 0.0171, "marquee": []}
    marquee = [
        {"cutoff": c, "accuracy": 0.5, "diversity": 0.2, "distance_to_instance": d}
        for c, d in ((0.0, 0.3), (0.5, 0.25))
    ]
    rows = [
        {**row, "model": "one", "folder": "one-5", "shots": 5, "marquee": marquee},
        {**row, "model": "two", "folder": "two-5", "shots": 5, "accuracy": None},
        {**row, "model": "one", "folder": "one-1", "shots": 1, "marquee": marquee},
    ]
    side_by_side.side_by_side_report(
        tmp_path / "r.html", rows, {"one": PNG}, title="Both", causal={"sample": {"top_k": 5}}
    )
    text = (tmp_path / "r.html").read_text()
    check_page(text)
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "Scores", "Pictures", "Size and speed", "With and without marquee header",
        "Each run&#x27;s own report",
    ]  # fmt: skip
    # The marquee is that of the largest number of images, and only of models that have one.
    assert text.count("none: class&#x27;s prompt alone") == 1
    assert "sample.top_k" in text and "two-5/report.html" in text
    assert "Generated by one, 5 images per class" in text
    assert "0.42\u202f%" in text and "0.0171" in text
