"""Whether imported parts belong together and fit what is already in the folder."""

import dataclasses
import math
import pathlib
import re
from typing import Any

import jax
from absl import logging

from maskgit_prompt.backbones import Backbone, Part, kinds
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.models.masked import MaskedConfig

CLASSES = 1000  # of the published models
PUBLISHED = re.compile(r"imagenet(256|512)")  # in the names of published files


def fit(parts: dict[str, Part], image_size: int) -> dict[str, Part]:
    """Parts that fit together: the image size follows from the transformer's number of codes.

    Args:
      image_size: config.image_size; 0: to be found.

    Raises:
      UserError: they do not fit. UsageError: the image size does not fit.
    """
    if "transformer" not in parts or "tokenizer" not in parts:
        return parts
    tokenizer, transformer = parts["tokenizer"], parts["transformer"]
    side = math.isqrt(transformer.cfg.length)
    if side**2 != transformer.cfg.length:
        raise UserError(
            f"the transformer has {transformer.cfg.length} codes per image, expected a square"
        )
    # A causal transformer's table may have more rows, for a condition.
    least = transformer.kind == "causal" and transformer.cfg.codebook > tokenizer.cfg.codebook
    if transformer.cfg.codebook != tokenizer.cfg.codebook and not least:
        raise UserError(
            f"the tokenizer has {tokenizer.cfg.codebook} codes, the transformer "
            f"{transformer.cfg.codebook}: they do not belong together"
        )
    if kinds()[tokenizer.kind].project != kinds()[transformer.kind].project:
        raise UserError(
            f"a {tokenizer.kind} tokenizer and a {transformer.kind} transformer are of different "
            "projects: they do not belong together"
        )
    size = side * tokenizer.cfg.factor
    if image_size not in (0, size):
        raise UsageError(
            f"config.image_size = {image_size}, but the transformer's "
            f"{transformer.cfg.length} codes are those of images of {size}"
        )
    cfg = dataclasses.replace(tokenizer.cfg, image_size=size)  # a multiple of the factor
    return {**parts, "tokenizer": dataclasses.replace(tokenizer, cfg=cfg)}


def check_same(
    name: str, new: Part, old: Part, store_dtype: str, image_size: int, folder: pathlib.Path
) -> None:
    """Raises UsageError if a part in the folder was imported with other options."""
    stored = {leaf.dtype.name for leaf in jax.tree.leaves(old.tree)}
    differ: list[tuple[str, Any]] = [] if stored == {store_dtype} else [("store_dtype", *stored)]
    for field in dataclasses.fields(new.cfg):
        # If it is not given, the image size follows from the transformer's length.
        if field.name == "image_size" and not image_size:
            continue
        if (value := getattr(old.cfg, field.name)) != getattr(new.cfg, field.name):
            differ.append((field.name, value))
    if differ:
        raise UsageError(
            f"{folder} has the {name} of this very file, but with "
            f"{', '.join(f'{key} {value}' for key, value in differ)}; give the options it was "
            "imported with, or use another --workdir"
        )


def check_published(backbone: Backbone) -> None:
    """Raises UserError if the names of the files say two image sizes, 256 and 512."""
    files = backbone.provenance["files"]
    named = {name: PUBLISHED.search(origin.get("file", "")) for name, origin in files.items()}
    sizes = {name: found[1] for name, found in named.items() if found}
    if len(set(sizes.values())) > 1:
        raise UserError(
            "the names of the files say a "
            + " and a ".join(f"{name} of {sizes[name]} x {sizes[name]}" for name in sorted(sizes))
            + ": they do not belong together; give both files of one size"
        )


def warn_of_words(backbone: Backbone) -> None:
    """Warns if a masked transformer has another number of classes than the published ones."""
    cfg = getattr(backbone.parts.get("transformer"), "cfg", None)
    if isinstance(cfg, MaskedConfig) and cfg.classes != CLASSES:
        logging.warning(
            "the transformer's %d words are taken as %d codes, %d classes and MASK; the "
            "published ones have %d classes: check that the two were trained together%s",
            cfg.vocabulary,
            cfg.codebook,
            cfg.classes,
            CLASSES,
            "" if "tokenizer" in backbone.parts else ", or give --config.codebook",
        )
