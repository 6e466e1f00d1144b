"""Other people's checkpoint files to the parts of a backbone's folder.

1. Read names and shapes of every file, without running what is in it.
2. Check that every name is used and that every parameter is there.
3. Write the folder, one parameter at a time.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from maskgit_prompt import backbones
from maskgit_prompt.backbones import Backbone, Part
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import fit
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.progress import bytes_progress
from maskgit_prompt.storage.files import sha256

Found = dict[str, tuple[Part, dict]]  # part -> (the network, where it comes from)


def read(files: Sequence[str], form: Format, given: Options, there: Backbone) -> Found:
    """The networks in all files; reads no weights.

    Args:
      given: what files do not tell, as far as the user does.
      there: the backbone that they will be added to; without parts for a new one.

    Raises:
      UsageError: two files hold the same part. UserError: a file is not of this format, or does not
        fit the network; all that is wrong is listed.
    """
    opened = []
    for file in files:
        file, options = form.find(file, given) if form.find else (file, given)
        opened.append((file, options, form.read(file)))
    # A tokenizer first: it tells where the codes end among a transformer's words.
    opened.sort(key=lambda one: not any(name.startswith(form.tokenizer) for name in one[2]))
    codes = there.parts["tokenizer"].cfg.codebook if "tokenizer" in there.parts else 0
    found = {}
    for file, options, names in opened:
        inside = form.networks(names, file, dataclasses.replace(options, tokenizer=codes))
        if twice := inside.keys() & found.keys():
            raise UsageError(f"{file} holds a {', '.join(twice)}, too; give one file per part")
        if "tokenizer" in inside:
            codes = inside["tokenizer"].cfg.codebook
        origin = {
            "file": pathlib.Path(file).name,
            "sha256": _digest(file),
            "format": form.name,
            "licence": form.licence,
        }
        found |= {name: (part, origin) for name, part in inside.items()}
    return found


def _digest(path: str) -> str:
    with bytes_progress(os.path.getsize(path), "hash") as update:
        return sha256(path, update)


def write(
    found: Found,
    there: Backbone,
    folder: pathlib.Path,
    *,
    name: str = "",
    store_dtype: str = "float32",
    image_size: int = 0,
    any_host: bool = False,
) -> Backbone | None:
    """Adds new parts to those in a folder, and returns what is there now; None if nothing is new.

    Args:
      found: as `read` gives it, without a prompt.
      there: what the folder holds.
      name: of the backbone; empty: as it is called, or as the folder.
      store_dtype: of the stored weights.
      image_size: config.image_size; 0: to be found.
      any_host: as in backbones.save.

    Raises:
      UsageError: the folder has another such part, or the same with other options. UserError: parts
        do not belong together, or the folder cannot be written.
    """
    files = there.provenance.get("files", {})
    old = {n for n, (_, origin) in found.items() if _sha256(files, n) == origin["sha256"]}
    for part in sorted(old):
        fit.check_same(part, found[part][0], there.parts[part], store_dtype, image_size, folder)
    new = {part: one for part, one in found.items() if part not in old}
    if not new:
        return None
    if kept := new.keys() & there.parts.keys():
        raise UsageError(
            f"{folder} has another {', '.join(sorted(kept))} already; use another --workdir, or "
            "delete that one"
        )
    parts = {**there.parts, **{name: part for name, (part, _) in new.items()}}
    parts = fit.fit(parts, image_size)
    origins = {name: origin for name, (_, origin) in new.items()}
    backbone = Backbone(
        name or there.name or folder.name,
        parts,
        provenance={"files": {**files, **origins}},
    )
    fit.check_published(backbone)
    written = backbones.save(backbone, folder, store_dtype, before=there, any_host=any_host)
    fit.warn_of_words(written)
    return written


def _sha256(files: dict, name: str) -> str:
    """The digest of the file that a folder's part comes from, from its config.json."""
    return files.get(name, {}).get("sha256", "")
