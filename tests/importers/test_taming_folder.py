import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.importers.taming_folder import find

TRANSFORMER = """
model:
  params:
    transformer_config:
      target: taming.modules.transformer.mingpt.GPT
      params: {vocab_size: 16384, block_size: 256, n_layer: 48, n_head: 24, n_unmasked: 5}
    first_stage_config: {params: {ddconfig: {resolution: 128}}}
    cond_stage_config: {params: {n_classes: 1000}}
"""


@pytest.fixture
def logs(tmp_path):
    for folder in ("checkpoints", "configs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"")
    (tmp_path / "configs" / "2021-04-03-project.yaml").write_text(TRANSFORMER)
    return tmp_path


@pytest.mark.parametrize("given", ["", "checkpoints/last.ckpt"])
def test_folder_or_file(given, logs):
    checkpoint, options = find(str(logs / given), Options())
    assert checkpoint == str(logs / "checkpoints" / "last.ckpt")
    assert options == Options(image_size=128, heads=24, classes=1000, unmasked=5)


def test_what_is_given_goes_before_the_yaml(logs):
    assert find(str(logs), Options(heads=12))[1].heads == 12


def test_a_tokenizers_yaml_and_a_condition_that_is_a_word(logs):
    (logs / "configs" / "2021-04-03-project.yaml").write_text(
        "model: {params: {ddconfig: {resolution: 64}, cond_stage_config: __is_unconditional__}}"
    )
    assert find(str(logs), Options())[1] == Options(image_size=64)


def test_without_a_yaml(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"")
    expected = (str(tmp_path / "model.ckpt"), Options(heads=3))
    assert find(str(tmp_path), Options(heads=3)) == expected


def test_a_folder_without_checkpoint(tmp_path):
    with pytest.raises(UserError, match="has no checkpoints/last.ckpt and no other .ckpt"):
        find(str(tmp_path), Options())


@pytest.mark.parametrize("text", ["model: [1, 2", "- a\n- b", "model: {}", "model: {params: {}}"])
def test_a_yaml_that_is_none(text, logs):
    (logs / "configs" / "2021-04-03-project.yaml").write_text(text)
    if text == "model: {params: {}}":
        assert find(str(logs), Options())[1] == Options()
        return
    with pytest.raises(UserError, match="project.yaml is not a config of Taming Transformers"):
        find(str(logs), Options())
