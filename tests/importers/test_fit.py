"""Which parts belong together: by their codes, their kinds and the size of their images."""

import dataclasses
import re

import pytest

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers.fit import fit
from maskgit_prompt.importers.format import formats
from maskgit_prompt.models.vqgan import VQGANConfig
from tests import tiny

# 24 codes; three levels, each but the last of which halves the image: 16 codes are 16 x 16 pixels.
VQGAN = VQGANConfig(
    image_size=16,
    codebook=24,
    embedding=4,
    latent=4,
    filters=8,
    multipliers=(1, 1, 1),
    attention=(),
    groups=2,
)
PARTS = {
    "vq": Part("vq", tiny.TOKENIZER, {}),
    "vqgan": Part("vqgan", VQGAN, {}),
    "masked": Part("masked", tiny.TRANSFORMER, {}),
    "causal": Part("causal", tiny.CAUSAL, {}),
}


def parts(tokenizer: str, transformer: str, **changes) -> dict[str, Part]:
    """changes: to the transformer's config."""
    part = PARTS[transformer]
    part = dataclasses.replace(part, cfg=dataclasses.replace(part.cfg, **changes))
    return {"tokenizer": PARTS[tokenizer], "transformer": part}


def test_the_formats_of_the_package():
    assert list(formats()) == [
        "convnext",
        "inception",
        "maskgit",
        "maskgit-torch",
        "ofa",
        "resnet",
        "swin",
        "taming",
        "vit-npz",
        "vit-torch",
    ]
    tuned_on = {form.name: form.tuned_on for form in formats().values() if form.tuned_on}
    assert tuned_on == {"maskgit": "masked"}


@pytest.mark.parametrize("pair", [("vq", "masked"), ("vqgan", "causal")])
def test_parts_of_one_project(pair):
    assert fit(parts(*pair), 0) == parts(*pair)


@pytest.mark.parametrize("pair", [("vq", "causal"), ("vqgan", "masked")])
def test_parts_of_two_projects(pair):
    tokenizer, transformer = pair
    message = f"a {tokenizer} tokenizer and a {transformer} transformer are of different projects"
    with pytest.raises(UserError, match=message):
        fit(parts(*pair), 0)


def test_the_image_size_follows_from_the_number_of_codes():
    longer = parts("vq", "masked", length=64)  # 8 x 8 codes of 4 x 4 pixels
    assert fit(longer, 0)["tokenizer"].cfg.image_size == 32
    message = "config.image_size = 16, but the transformer's 64 codes are those of images of 32"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        fit(longer, 16)


def test_only_a_causal_transformer_may_have_rows_beyond_the_codes():
    assert fit(parts("vqgan", "causal", codebook=30), 0).keys() == {"tokenizer", "transformer"}
    for pair, codes in ((("vqgan", "causal"), 20), (("vq", "masked"), 30)):
        with pytest.raises(UserError, match=f"has 24 codes, the transformer {codes}: they do not"):
            fit(parts(*pair, codebook=codes), 0)
