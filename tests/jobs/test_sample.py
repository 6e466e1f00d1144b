"""Images from a prompt file: requests, known codes, files, and the job through `main`."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.config import defaults
from maskgit_prompt.errors import UsageError
from maskgit_prompt.jobs import sample
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.params import create
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tasks.generation.sampling import Sampler
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt
from tests.jobs.running import ROOT, SAMPLE, run

PROMPT = PromptConfig(kind="table", tokens=1, width=16, classes=2, instances=3)


@pytest.fixture(scope="module")
def prompt_path(backbone, tmp_path_factory) -> pathlib.Path:
    """A prompt of classes a/b and A?B; of three images, the second is of class A?B."""
    path = tmp_path_factory.mktemp("prompt") / "prompt.safetensors"
    _, init = create(lambda rngs: PromptGenerator(PROMPT, rngs=rngs))
    tree = jax.tree.map(np.asarray, init(jax.random.key(0)))
    backbone = backbones.load(backbone)
    prompt = TunedPrompt(
        config=PROMPT,
        tree=tree,
        classes=("a/b", "A?B"),
        instances=("x", "y", "z"),
        instance_classes=(0, 1, 0),
        backbone=TunedOn.of(backbone, PARTS),
        sample={**defaults.sampling().to_dict(), "steps": 3, "temperature": 0.5},
    )
    tuned_prompt.save(path, prompt)
    return path


@pytest.fixture
def flags(backbone, prompt_path) -> tuple[str, ...]:
    return (SAMPLE, f"--config.backbone={backbone}", f"--config.prompt={prompt_path}")


def request(prompt_path, **changes) -> sample.Request:
    config = defaults.sample()
    config.num = 2
    config.update(changes)
    return sample.request_images(config, tuned_prompt.load(prompt_path))


# --- Requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header, class_ids, instance_ids",
    [
        (("class",), [[0], [0], [1], [1]], [[-1], [-1], [-1], [-1]]),
        (("instance",), [[0], [0], [1], [1]], [[0], [2], [1], [1]]),
        (
            ("instance-class",),
            [[0, 0], [0, 0], [1, 1], [1, 1]],
            [[0, -1], [2, -1], [1, -1], [1, -1]],
        ),
        (
            ("class", "none", "class:a/b"),
            [[0, -1, 0], [0, -1, 0], [1, -1, 0], [1, -1, 0]],
            [[-1] * 3] * 4,
        ),
    ],
)
def test_header_of_each_class(header, class_ids, instance_ids, prompt_path):
    found = request(prompt_path, header=header)
    assert found.groups == ("a/b", "A?B")
    assert found.group_of.tolist() == [0, 0, 1, 1]
    assert found.class_ids.tolist() == class_ids
    assert found.instance_ids.tolist() == instance_ids


def test_header_that_names_all_its_prompts_makes_one_group(prompt_path):
    found = request(prompt_path, header=("instance:y", "class:a/b", "instance:z"))
    assert (found.groups, found.group_of.tolist()) == (("header",), [0, 0])
    assert found.class_ids.tolist() == [[1, 0, 0]] * 2
    assert found.instance_ids.tolist() == [[1, -1, 2]] * 2


def test_some_classes_in_the_order_asked_for(prompt_path):
    found = request(prompt_path, classes=("A?B",), num=1)
    assert (found.groups, found.class_ids.tolist()) == (("A?B",), [[1]])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"classes": ("c",)}, "the prompt has no class 'c'; it has a/b, A?B"),
        ({"header": ("class:c",)}, "the prompt has no class 'c'; it has a/b, A?B"),
        ({"header": ("instance:w",)}, "the prompt has no instance 'w'; it has x, y, z"),
        ({"header": ("klass",)}, "config.header has 'klass', expected class, instance, instance-"),
        ({"header": ()}, "config.header is empty, expected class, instance or instance-class"),
        (
            {"header": ("none",), "classes": ("A?B",)},
            "config.classes = ('A?B',) has no use: config.header = ('none',) names all",
        ),
    ],
)
def test_requests_that_cannot_be(changes, message, prompt_path):
    with pytest.raises(UsageError, match=re.escape(message)):
        request(prompt_path, **changes)


def test_a_prompt_without_instances_has_none_to_show(prompt_path):
    bare = dataclasses.replace(tuned_prompt.load(prompt_path), instances=(), instance_classes=())
    config = defaults.sample()
    config.header = ("instance",)
    with pytest.raises(UsageError, match="the prompt has no instances of class 'a/b'; use class"):
        sample.request_images(config, bare)
    config.header = ("instance:x",)
    with pytest.raises(UsageError, match="the prompt has no instance 'x', nor any other"):
        sample.request_images(config, bare)


# --- Known codes and names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keep, rows",
    [
        ("top", ["1111", "1111", "0000", "0000"]),
        ("bottom", ["0000", "0000", "1111", "1111"]),
        ("left", ["1100"] * 4),
        ("right", ["0011"] * 4),
        ("0:1,2:4", ["0011", "0000", "0000", "0000"]),
        ("outside 0:1,2:4", ["1100", "1111", "1111", "1111"]),
    ],
)
def test_known_codes(keep, rows):
    expected = [[digit == "1" for digit in row] for row in rows]
    assert sample.known_codes(keep, 4).tolist() == expected


@pytest.mark.parametrize("keep", ["middle", "0:5,0:1", "2:2,0:1", "0:4,0:4", "-1:2,0:1", ""])
def test_known_codes_that_cannot_be(keep):
    with pytest.raises(UsageError, match=f"config.keep = '{keep}', expected top, bottom, left, "):
        sample.known_codes(keep, 4)


# --- The job --------------------------------------------------------------------------------------


def test_job_writes_images_sheet_and_what_made_them(flags, prompt_path, tmp_path, capsys):
    home = tmp_path / "run"
    done = run(
        capsys, *flags, "--config.num=2", "--config.sample.temperature=2", f"--workdir={home}"
    )
    assert done.code == 0
    assert done.out.startswith("4 images in ")
    names = [f"images/{folder}/0000{i}.png" for folder in ("a_b", "A_B-2") for i in range(2)]
    assert sorted(str(path.relative_to(home)) for path in home.rglob("0*.png")) == sorted(names)
    with Image.open(home / names[0]) as image, Image.open(home / "sheet.png") as sheet:
        assert (image.size, image.mode) == ((16, 16), "RGB")
        assert sheet.width > 2 * 64 and sheet.height > 2 * 64
    found = json.loads((home / "samples.json").read_text())
    assert [row["file"] for row in found["images"]] == names
    assert found["images"][3] == {"file": names[3], "group": "A?B", "header": ["class:A?B"]}
    # The prompt file's own settings, but for the one that was set; a batch of one image a device.
    assert found["sample"]["steps"] == 3
    assert found["sample"]["temperature"] == 2.0
    assert found["sample"]["batch_size"] == 8
    assert found["prompt"]["fingerprint"] == tuned_prompt.load(prompt_path).backbone.fingerprint
    assert found["given"] is None


def test_the_same_config_gives_the_same_images_another_is_refused(flags, tmp_path, capsys):
    home = tmp_path / "run"
    flags = (*flags, "--config.num=1", f"--workdir={home}")
    assert run(capsys, *flags).code == 0
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    (home / "images" / "a_b" / "00000.png").unlink()
    (home / "images" / "old.png").write_bytes(b"of an earlier prompt file")
    assert run(capsys, *flags).code == 0
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    done = run(capsys, *flags, "--config.seed=1")
    assert done.code == 2
    assert "holds a run of another config: seed is 0 there, 1 now; use another" in done.error()
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert run(capsys, *flags[:-1], "--config.seed=1", f"--workdir={home}2").code == 0
    pictures = [(h / "images/a_b/00000.png").read_bytes() for h in (home, tmp_path / "run2")]
    assert pictures[0] != pictures[1]


def test_disk_full_keeps_the_images_of_before(flags, tmp_path, capsys, monkeypatch):
    home = tmp_path / "run"
    flags = (*flags, "--config.num=1", f"--workdir={home}")
    assert run(capsys, *flags).code == 0
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    done = run(capsys, *flags)
    assert done.code == 1
    assert f"cannot write {home / 'images'}: No space left on device; free some" in done.error()
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_a_header_of_three_prompts_and_guidance(flags, tmp_path, capsys):
    home = tmp_path / "run"
    header = [f"--config.header={item}" for item in ("instance:y", "class:a/b", "none")]
    flags = (*flags, *header, "--config.num=1", "--config.sample.guidance=2")
    assert run(capsys, *flags, f"--workdir={home}").code == 0
    (row,) = json.loads((home / "samples.json").read_text())["images"]
    assert row["header"] == ["instance:y", "class:a/b", "none"]
    assert row["file"] == "images/header/00000.png"


def test_inpainting_keeps_the_known_codes(flags, tmp_path, capsys, monkeypatch):
    decoded = []
    codes_of = Sampler.codes

    def spy(self, *args, **kwargs):
        decoded.append((kwargs["start"], codes_of(self, *args, **kwargs)))
        return decoded[-1][1]

    monkeypatch.setattr(Sampler, "codes", spy)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 20, 3), np.uint8)).save(tmp_path / "photo.png")
    flags = (*flags, f"--config.image={tmp_path / 'photo.png'}", "--config.num=2")
    done = run(capsys, *flags, "--config.keep=outside 1:3,1:3", f"--workdir={tmp_path / 'run'}")
    assert done.code == 0
    ((start, codes),) = decoded
    known = start[0].reshape(4, 4) >= 0
    assert known.tolist() == [[True] * 4, *[[True, False, False, True]] * 2, [True] * 4]
    assert (start == start[0]).all()
    assert (codes[:, known.ravel()] == start[:, known.ravel()]).all()
    assert (codes >= 0).all()
    found = json.loads((tmp_path / "run" / "samples.json").read_text())
    assert found["given"] == {"image": str(tmp_path / "photo.png"), "keep": "outside 1:3,1:3"}


def test_pictures_that_cannot_be_kept(flags, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name, code, message in (
        ("none.png", 2, "none.png': no such file"),
        ("broken.png", 1, "broken.png is not a whole image (not an image)"),
    ):
        image = f"--config.image={tmp_path / name}"
        done = run(capsys, *flags, image, f"--workdir={tmp_path / 'run'}")
        assert (done.code, message in done.error()) == (code, True)
    assert not (tmp_path / "run").exists()


def test_a_part_to_keep_of_no_picture(flags, tmp_path, capsys):
    done = run(capsys, *flags, "--config.keep=left", f"--workdir={tmp_path / 'run'}")
    assert (
        done.code,
        "config.keep = 'left' has no use with config.image = ''" in done.error(),
    ) == (2, True)
    assert not (tmp_path / "run").exists()


def test_tensorflow_stays_out(flags, tmp_path):
    program = (
        "import sys\nfrom maskgit_prompt import main\ncode = main.main(sys.argv)\n"
        "print(sorted({'tensorflow', 'orbax', 'sklearn', 'matplotlib'} & set(sys.modules)))\n"
        "sys.exit(code)"
    )
    flags = (*flags, "--config.num=1", "--config.sample.steps=1")
    done = subprocess.run(
        [sys.executable, "-c", program, *flags, f"--workdir={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
