"""Images from a prompt file, in seconds.

1. Load the prompt file, and the backbone that it was tuned on.
2. Request: which images, each under which prompts, decoded how, around which known codes.
3. Decode.
4. Write images/CLASS/*.png, sheet.png and samples.json.

A workdir belongs to one configuration. Run again with the same one it gets the same images; with
another one it is refused, so that samples.json always tells how the images beside it were made.
"""

import dataclasses
import hashlib
import pathlib
import re
import time
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import backbones, streams
from maskgit_prompt.backbones.compiled import make_encoder
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import defaults, rules, uses
from maskgit_prompt.counts import counted
from maskgit_prompt.data.pixels import BROKEN, Preprocessing, decode_image
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.report import results, sheets
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.image_files import write_images
from maskgit_prompt.tasks.generation.sampling import Sampler, make_prompts, unconditional
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt

SHEET_COLUMNS = 12
UNKNOWN = 128  # grey, where a given picture is to be made anew
OWN = ("class", "instance")  # header items that differ from image to image
SHORT = {"instance-class": ("instance", "class")}
LISTED = 20  # names in a message


@dataclasses.dataclass(frozen=True)
class Request:
    """What to decode: n images, in groups of one folder and one row of the sheet each.

    Attributes:
      groups: names of the groups.
      group_of: [n], the group of each image.
      class_ids, instance_ids: [n, K], what each image's K prompts are of; NONE for none.
    """

    groups: tuple[str, ...]
    group_of: np.ndarray
    class_ids: np.ndarray
    instance_ids: np.ndarray


@dataclasses.dataclass(frozen=True)
class Given:
    """A picture of which a part is kept.

    Attributes:
      codes: [L], MASK where they are to be made.
      picture: uint8 [S, S, 3], grey there.
    """

    codes: np.ndarray
    picture: np.ndarray


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. Prompt and backbone.
    if not config.prompt:
        raise UsageError("no prompt file: give --config.prompt=DIR/prompt.safetensors of a run")
    prompt = tuned_prompt.load(config.prompt)
    backbone = obtain.tuned_on(config, {config.prompt: prompt.backbone})

    # 2. What to make.
    mesh = sharding.make_mesh(**config.mesh)
    compute = Compute.of(config)
    compute.check(backbone.part("transformer").cfg, mesh)
    request = request_images(config, prompt)
    settings = decoding_settings(config, prompt, len(request.group_of), mesh)
    kind = backbone.part("transformer").kind
    settings.check(backbone.part("tokenizer").cfg.codebook, kind, mesh)
    check_uses(config, prompt, settings, request, kind)
    given = given_picture(config, backbone, mesh) if config.image else None
    sampler = Sampler(backbone, mesh, settings, compute, prompt=prompt.config)
    start = None if given is None else np.repeat(given.codes[None], len(request.group_of), axis=0)
    sampler.check_start(start)
    # Now, so that a mistake claims no workdir.
    with workdir.prepare(path, config) as home:
        # 3. Images.
        prompts = make_prompts(prompt.config, prompt.tree)
        headers = prompts(request.class_ids.ravel(), request.instance_ids.ravel())  # [n K, …]
        split = lambda x: x.reshape(*request.class_ids.shape, *x.shape[1:])
        headers = jax.tree.map(split, headers)  # [n, K, …]
        images = sampler.images(
            headers,
            sharding.make_key(streams.seed_of(config.seed, "more"), mesh),
            uncond=unconditional(settings, prompts),
            start=start,
        )

        # 4. Files.
        files = write_images(home, request.groups, request.group_of, images)
        sheets.save_png(draw_sheet(request, images, given), home / "sheet.png")
        results.write_json(
            home / "samples.json", describe(config, prompt, settings, request, files)
        )
        seconds = time.perf_counter() - began
        many = counted(len(images), "image")
        print(f"{many} in {seconds:.1f} s: {home / 'sheet.png'}, {home / 'images'}")


# --- 2. What to make -----------------------------------------------------------------------------


def request_images(config: ConfigDict, prompt: TunedPrompt) -> Request:
    """config.num images of each class; of none where the header names every prompt itself.

    Two classes, num 2 and header ("instance", "class") give, for instances 0, 2 of class 0 and 1 of
    class 1: class ids (0 0), (0 0), (1 1), (1 1) and instance ids (0 -1), (2 -1), (1 -1), (1 -1).

    Raises:
      UsageError: a name that the prompt file does not have, listing those it has; no image at all.
    """
    items = sum((SHORT.get(str(item), (str(item),)) for item in config.header), ())
    if not items:
        raise UsageError("config.header is empty, expected class, instance or instance-class")
    names = [str(name) for name in config.classes]
    if any(item in OWN for item in items):
        names = names or list(prompt.classes)
        ids = [_index("class", name, prompt.classes) for name in names]
    elif names:
        raise UsageError(
            f"config.classes = {tuple(names)} has no use: config.header = {items} names all its "
            "prompts; leave the classes out, or add class or instance to the header"
        )
    else:
        names, ids = ["header"], [NONE]
    rows = [
        [_resolve(item, prompt, class_id, number) for item in items]
        for class_id in ids
        for number in range(config.num)
    ]
    table = np.array(rows, np.int32)  # [n, K, 2]
    group_of = np.repeat(np.arange(len(ids)), config.num)
    return Request(tuple(names), group_of, table[..., 0], table[..., 1])


def _resolve(item: str, prompt: TunedPrompt, class_id: int, number: int) -> tuple[int, int]:
    """(class id, instance id) of a header item, for the image with this number of a class."""
    kind, _, name = item.partition(":")
    if item == "none":
        return NONE, NONE
    if item == "class":
        return class_id, NONE
    if item == "instance":
        own = [i for i, c in enumerate(prompt.instance_classes) if c == class_id]
        if not own:
            raise UsageError(
                f"config.header has instance, but the prompt has no instances of class "
                f"{prompt.classes[class_id]!r}; use class, or tune with config.prompt.instances"
            )
        return class_id, own[number % len(own)]
    if kind == "class":
        return _index("class", name, prompt.classes), NONE
    if kind == "instance":
        instance = _index("instance", name, prompt.instances)
        return prompt.instance_classes[instance], instance
    raise UsageError(
        f"config.header has {item!r}, expected class, instance, instance-class, none, class:NAME "
        "or instance:NAME; repeat --config.header for several"
    )


def _index(kind: str, name: str, known: Sequence[str]) -> int:
    if name in known:
        return known.index(name)
    listed = ", ".join(known[:LISTED])
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    raise UsageError(
        f"the prompt has no {kind} {name!r}; it has {listed}{more}"
        if known
        else f"the prompt has no {kind} {name!r}, nor any other"
    )


def decoding_settings(config: ConfigDict, prompt: TunedPrompt, count: int, mesh) -> DecodeConfig:
    """The prompt file's settings, changed where config.sample says so."""
    changes = {name: x for name, x in config.sample.to_dict().items() if x is not None}
    known = defaults.sampling()
    known.update({name: x for name, x in prompt.sample.items() if name in known})
    if "batch_size" not in changes:
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        most = max(1, known.batch_size // parts)
        changes["batch_size"] = parts * min(most, -(-count // parts))  # none for padding alone
    known.update(changes)
    return DecodeConfig(**known)


def check_uses(
    config: ConfigDict,
    prompt: TunedPrompt,
    settings: DecodeConfig,
    request: Request,
    transformer: str,
) -> None:
    """Raises UsageError for a setting other than the prompt file's that these images do not use."""
    of_file = {name: prompt.sample.get(name, x) for name, x in defaults.sampling().items()}
    before = {**defaults.sample().to_dict(), "sample": of_file}
    now = {**config.to_dict(), "sample": dataclasses.asdict(settings)}
    prompts = "several prompts" if request.class_ids.shape[1] > 1 else "one prompt"
    facts = {"transformer": transformer, "prompts": prompts}
    uses.check(ConfigDict(now), facts, ConfigDict(before))


def given_picture(config: ConfigDict, backbone: backbones.Backbone, mesh) -> Given:
    """The codes of config.image that config.keep keeps.

    Raises:
      UsageError: no such file, or nothing to keep or to make. UserError: no whole image.
    """
    tokenizer = backbone.part("tokenizer")
    size, side = tokenizer.cfg.image_size, tokenizer.cfg.latent_size
    known = known_codes(config.keep, side)
    path = pathlib.Path(config.image)
    if not path.is_file():
        raise UsageError(f"config.image = {config.image!r}: no such file")
    try:
        pixels = decode_image(path.read_bytes(), Preprocessing(size))
    except BROKEN as error:
        # Pillow names the buffer that it was given, which is nothing a user knows.
        why = "not an image" if "cannot identify" in str(error) else str(error)
        raise UserError(
            f"{path} is not a whole image ({why}); give another config.image"
        ) from error
    encode, _ = make_encoder(tokenizer, mesh, config.dtype)
    codes = encode(np.repeat(pixels[None], mesh.size, axis=0))[0]  # one row a device
    shown = np.kron(known, np.ones((size // side, size // side), bool))  # [h, h] -> [S, S]
    return Given(
        codes=np.where(known.ravel(), codes, MASK).astype(np.int32),
        picture=np.where(shown[..., None], pixels, np.uint8(UNKNOWN)),
    )


def known_codes(keep: str, side: int) -> np.ndarray:
    """Which codes of side x side are kept: bool [side, side].

    Of 4 x 4, "top" keeps rows 0 and 1, "0:1,2:4" the two codes of row 0 and columns 2 and 3, and
    "outside 0:1,2:4" all but these two.

    Raises:
      UsageError: not understood, beyond the codes there are, or nothing left to make.
    """
    half = side // 2
    boxes = {
        "top": f"0:{half},0:{side}",
        "bottom": f"{side - half}:{side},0:{side}",
        "left": f"0:{side},0:{half}",
        "right": f"0:{side},{side - half}:{side}",
    }
    box = boxes.get(keep, keep)
    match = re.fullmatch(r"(outside )?(\d+):(\d+),(\d+):(\d+)", box)
    known = np.zeros((side, side), bool)
    if match:
        top, bottom, left, right = (int(x) for x in match.groups()[1:])
        known[top:bottom, left:right] = True
        within = top < bottom <= side and left < right <= side
    if not match or not within or known.all():
        raise UsageError(
            f"config.keep = {keep!r}, expected top, bottom, left, right, or rows and columns of "
            f"the {side} x {side} codes as in 0:{side},0:{half}, or outside 0:{side},0:{half}"
        )
    return ~known if match[1] else known


# --- 4. Files ------------------------------------------------------------------------------------


def draw_sheet(request: Request, images: np.ndarray, given: Given | None) -> Image.Image:
    """A row a group; where a picture was given, it stands in front of each."""
    columns = min(SHEET_COLUMNS, int(np.bincount(request.group_of).max()))
    cells, present = sheets.by_class(images, request.group_of, len(request.groups), columns)
    labels = None
    if given is not None:
        front = np.repeat(given.picture[None, None], len(cells), axis=0)  # [groups, 1, S, S, 3]
        cells = np.concatenate([front, cells], axis=1)
        present = np.concatenate([np.ones((len(cells), 1), bool), present], axis=1)
        labels = ["given"] + [""] * columns
    return sheets.grid(cells, row_labels=request.groups, col_labels=labels, present=present)


def describe(
    config: ConfigDict,
    prompt: TunedPrompt,
    settings: DecodeConfig,
    request: Request,
    files: list[str],
) -> dict:
    """samples.json: what made each image."""

    def item(class_id: int, instance_id: int) -> str:
        if instance_id != NONE:
            return f"instance:{prompt.instances[instance_id]}"
        return "none" if class_id == NONE else f"class:{prompt.classes[class_id]}"

    return {
        "prompt": {
            "file": config.prompt,
            "sha256": hashlib.sha256(pathlib.Path(config.prompt).read_bytes()).hexdigest(),
            "backbone": prompt.backbone.name,
            "fingerprint": prompt.backbone.fingerprint,
        },
        "seed": config.seed,
        "sample": dataclasses.asdict(settings),
        "given": {"image": config.image, "keep": config.keep} if config.image else None,
        "images": [
            {
                "file": file,
                "group": request.groups[group],
                "header": [item(c, i) for c, i in zip(class_ids, instance_ids, strict=True)],
            }
            for file, group, class_ids, instance_ids in zip(
                files, request.group_of, request.class_ids, request.instance_ids, strict=True
            )
        ],
    }
