"""What a user names, as files on this machine: fetched and imported where it is elsewhere.

- A published model: its files go to the cache, and are imported there into a backbone's folder.
- The address of a backbone's folder: its config.json and the files that this one names.
- The address of a checkpoint, for the import job: the file.
- A path, or the name of an embedded backbone: as it is.
"""

import json
import pathlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from maskgit_prompt import backbones
from maskgit_prompt.backbones import Backbone
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import convert
from maskgit_prompt.importers.format import formats
from maskgit_prompt.importers.published import PUBLISHED, Published
from maskgit_prompt.storage import addresses, cache
from maskgit_prompt.storage.addresses import is_address
from maskgit_prompt.storage.cache import Wanted
from maskgit_prompt.tuning.tuned_file import TunedOn

CONFIG = "config.json"


def backbone(name: str, download: bool, key: str = "config.backbone") -> str:
    """What backbones.load takes, of what a user gave as a backbone.

    Args:
      name: a published model, the address of a backbone's folder, or what backbones.load takes.
      download: whether what is not in the cache may be fetched; key: for messages.

    Raises:
      UsageError: it is not in the cache and may not be fetched. UserError: it cannot be fetched or
        imported.
    """
    if name in PUBLISHED:
        return str(_imported(name, download, key))
    if is_address(name):
        return str(_folder(name, download, key))
    return name


def tuned_on(config: ConfigDict, files: Mapping[str, TunedOn]) -> Backbone:
    """The backbone that files of tuned parameters are for.

    It is what config.backbone names; empty: the embedded one that the first file was tuned on.

    Args:
      files: path -> what it was tuned on; one or more.

    Raises:
      UserError: a file that was tuned on another backbone; what `backbone` raises.
    """
    first = next(iter(files.values()))
    found = backbones.load(
        backbone(config.backbone, config.download)
        or backbones.embedded_with(first.fingerprint, first.parts)
    )
    for path, on in files.items():
        on.check(found, path)
    return found


def files(given: str, download: bool, key: str = "config.source") -> list[str]:
    """The files of a key such as config.source: a published model, or FILE,FILE of paths and
    addresses.

    The name of an existing file may hold commas.

    Raises:
      UsageError, UserError: as `backbone`.
    """
    if given in PUBLISHED:
        wanted = _files_of(PUBLISHED[given], f"give the path, as --{key}=FILE")
        size = PUBLISHED[given].size
        found = cache.fetch(wanted, download, f"{key} = {given!r} ({size})")
        return [str(path) for path in found]
    named = [given] if pathlib.Path(given).exists() else given.split(",")
    by_hand = f"download it by hand and give the path, as --{key}=FILE"
    return [
        str(cache.fetch([Wanted(one, by_hand)], download, f"{key} = {one!r}")[0])
        if is_address(one)
        else one
        for one in named
    ]


# --- Published models -----------------------------------------------------------------------------


def _files_of(model: Published, then: str) -> list[Wanted]:
    note = f" ({model.note})" if model.note else ""
    by_hand = f"download it by hand, see {model.page}, and {then}{note}"
    return [Wanted(address, by_hand, name) for name, address in model.files.items()]


def _imported(name: str, download: bool, key: str) -> pathlib.Path:
    """The folder of a published model, imported once."""
    folder = cache.folder() / "backbones" / name
    if (folder / CONFIG).exists():
        return folder
    model, form = PUBLISHED[name], formats()[PUBLISHED[name].format]
    wanted = _files_of(model, f"import it with configs/import.py, for --{key}=FOLDER")
    found = cache.fetch(wanted, download, f"{key} = {name!r} ({model.size})")
    with cache.alone(folder.with_name(f".{name}.lock"), name):
        if not (folder / CONFIG).exists():  # another process may have made it
            nothing = Backbone("", {})
            parts = convert.read([str(path) for path in found], form, model.options, nothing)
            convert.write(parts, nothing, folder, name=name, any_host=True)
            print(f"imported {name} into {folder}; terms of the weights: {model.page}", flush=True)
    return folder


# --- A backbone's folder at an address ------------------------------------------------------------


def _folder(address: str, download: bool, key: str) -> pathlib.Path:
    """The copy of a backbone's folder in the cache."""
    base = address.rstrip("/").removesuffix(f"/{CONFIG}")
    name = f"{addresses.file_name(base)}-{cache.digest(base + '/')}"
    home = cache.folder() / "backbones" / name
    what = f"{key} = {address!r}"
    by_hand = f"download the folder by hand and give its path, as --{key}=FOLDER"
    config = Wanted(
        f"{base}/{CONFIG}",
        f"give the address of a backbone's folder, which has a {CONFIG} (a checkpoint in another "
        f"format goes through configs/import.py), or {by_hand}",
        home=home,
        refused=("empty", "html", "lfs"),
    )
    cache.fetch([config], download, what)
    try:
        entries = json.loads(config.path.read_text())["parts"].values()
        listed = {file: str(digest) for one in entries for file, digest in one["files"].items()}
        if strange := [file for file in listed if pathlib.PurePath(file).name != file]:
            raise ValueError(f"a part in {strange[0]!r}, expected files beside it")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        cache.forget(config)
        raise UserError(
            f"{addresses.shown(base)}/{CONFIG} is not that of a backbone ({error!r}); {by_hand}"
        ) from error
    # Those that are there are compared with config.json whenever the backbone is loaded.
    missing = [
        Wanted(f"{base}/{file}", by_hand, home=home, name=file, sha256=digest)
        for file, digest in listed.items()
        if not (home / file).exists()
    ]
    cache.fetch(missing, download, what)
    return home
