"""Damages inputs at random and prints how each is taken.

    python -m tests.fuzz                            # 500 inputs, some minutes
    python -m tests.fuzz --count 60 --seed 3 image  # of one kind

A damaged input is refused in one line, told of in a warning, taken for the very same, or, where its
format has no checksum, taken for another. Anything else is a fault: a traceback, or other contents
where a checksum should have told. Exits with 1 when there was a fault.
"""

import argparse
import collections
import hashlib
import io
import json
import pathlib
import random
import shutil
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from absl import logging

from tests import light

light.leave_out_for_good("tensorflow")

import jax  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from maskgit_prompt import backbones, params  # noqa: E402
from maskgit_prompt.config import command_line, defaults, rules  # noqa: E402
from maskgit_prompt.data.pixels import Preprocessing  # noqa: E402
from maskgit_prompt.data.sets.folder import image_folder  # noqa: E402
from maskgit_prompt.errors import UserError  # noqa: E402
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator  # noqa: E402
from maskgit_prompt.params import create  # noqa: E402
from maskgit_prompt.storage import checkpoint, workdir  # noqa: E402
from maskgit_prompt.tuning import train, tuned_prompt  # noqa: E402
from maskgit_prompt.tuning.tuned_file import TunedOn  # noqa: E402
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt  # noqa: E402
from tests import tiny, training  # noqa: E402
from tests.data import building  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
REFUSED, TOLD, SAME, OTHER, FAULT = "refused", "told", "same", "another", "FAULT"

# --- Damage --------------------------------------------------------------------------------------


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def drop(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]


def repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randint(1, 64)]


def overwrite(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    piece = rng.choice((bytes(16), b"\xff" * 16, rng.randbytes(16)))
    data[start : start + 16] = piece


def insert(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.choice((b"\n", b"\0", b'"', b",", b"\xc3", b"{", b"-", b"9" * 30))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    flip,
    cut,
    drop,
    repeat,
    overwrite,
    insert,
)

# --- Kinds of input ------------------------------------------------------------------------------


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), np.uint8)
    return Image.fromarray(pixels).resize((40, 48))


def digest(*arrays: Any) -> str:
    found = hashlib.sha256()
    for x in arrays:
        x = np.asarray(x)
        found.update(f"{x.dtype} {x.shape}".encode() + x.tobytes())
    return found.hexdigest()


def of_set(path: pathlib.Path) -> Any:
    """What a folder or archive of images is taken for."""
    images = image_folder(path, Preprocessing(16))
    return images.classes, images.labels.tolist(), list(images.ids), digest(images.pixels())


class Images:
    """A folder of whole images and one of any format that is damaged."""

    checked = False
    formats = ("png", "jpg", "webp", "gif", "bmp", "tif", "avif", "ppm", "tga", "jp2")

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        for name in ("a", "b"):
            (home / name).mkdir()
            for number in range(2):
                picture(number).save(home / name / f"{number}.png")
        for kind in self.formats:
            picture(7).save(home / "a" / f"z.{kind}")
            yield home / "a" / f"z.{kind}"

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        for other in (home / "a").glob("z.*"):  # the other formats are for their own turns
            if other != home / file:
                other.unlink()
        return of_set(home)


class Archives:
    """Archives that hold the same folder."""

    checked = False

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        names = [f"{name}/{number}.png" for name in "ab" for number in range(2)]
        with zipfile.ZipFile(home / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for seed, name in enumerate(names):
                file.writestr(name, png(seed))
        for ending, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tar.xz", "w:xz")):
            with tarfile.open(home / f"x{ending}", mode) as file:
                for seed, name in enumerate(names):
                    info = tarfile.TarInfo(name)
                    info.size = len(png(seed))
                    file.addfile(info, io.BytesIO(png(seed)))
        return sorted(home.iterdir())

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        return of_set(home / file)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


class Tables:
    """labels.csv and classes.txt beside the images that they are of."""

    checked = False

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        for folder in ("table", "list"):
            for name in ("a", "b"):
                (home / folder / name).mkdir(parents=True)
                for number in range(2):
                    picture(number).save(home / folder / name / f"{number}.png")
        rows = [f"{name}/{number}.png,class {name}\n" for name in "ab" for number in range(2)]
        (home / "table" / "labels.csv").write_text("file,class\n" + "".join(rows))
        (home / "list" / "classes.txt").write_text("b\na\n")
        return home / "table" / "labels.csv", home / "list" / "classes.txt"

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        return [of_set(home / "table"), of_set(home / "list")]


class Prompts:
    checked = True
    config = PromptConfig(kind="factorized", tokens=2, width=4, classes=2, instances=3, embedding=2)

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        _, init = create(lambda rngs: PromptGenerator(self.config, rngs=rngs))
        tree = jax.tree.map(np.asarray, init(jax.random.key(0)))
        prompt = TunedPrompt(
            self.config,
            tree,
            classes=("cat", "dog"),
            backbone=TunedOn("tiny", "0123456789abcdef", ("tokenizer", "transformer")),
            instances=("x", "y", "z"),
            instance_classes=(0, 1, 0),
            sample={"steps": 3},
        )
        tuned_prompt.save(home / "prompt.safetensors", prompt)
        return [home / "prompt.safetensors"]

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        found = tuned_prompt.load(home / "prompt.safetensors")
        arrays = sorted(params.flatten(found.tree).items())
        rest = {name: x for name, x in vars(found).items() if name != "tree"}
        return rest, [name for name, _ in arrays], digest(*(x for _, x in arrays))


class Checkpoints:
    checked = True

    def state(self, x: float) -> train.TrainState:
        tree = {"prompt": {"x": np.full(300, x, np.float32), "y": np.arange(4, dtype=np.float32)}}
        state = train.TrainState(np.int32(x), tree, ({"mu": np.full(300, x, np.float32)}, ()), None)
        return jax.device_put(state, jax.NamedSharding(training.mesh(), jax.P()))

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        with checkpoint.manager(home, every=1) as manager:
            checkpoint.save(manager, 1, self.state(3))
        return [path for path in sorted(home.rglob("*")) if path.is_file() and path.stat().st_size]

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        with checkpoint.manager(home, every=1) as manager:
            return digest(*jax.tree.leaves(checkpoint.restore(manager, self.state(0), step=1)))


class Backbones:
    checked = True

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        tiny.write(home / "tiny")
        return sorted((home / "tiny").iterdir())

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        found = backbones.load(str(home / "tiny"))
        parts = [
            (name, part.kind, part.cfg, digest(*jax.tree.leaves(part.tree)))
            for name, part in found.parts.items()
        ]
        return found.name, found.classes, found.provenance, found.identities, parts


class Configs:
    """A config file: it is Python, so it may well say something else."""

    checked = False

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        for name in ("quickstart", "folder", "sample", "imagenet256"):
            shutil.copy(ROOT / "configs" / f"{name}.py", home)
        return sorted(home.iterdir())

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        found = []
        for file in sorted(home.iterdir()):
            argument = "" if file.stem in ("quickstart", "sample") else ":photos"
            argv = ["maskgit_prompt", f"--config={file}{argument}", "--workdir=run"]
            config, _ = command_line.parse(argv)
            rules.check(config)
            found.append(config.to_json_best_effort())
        return found


class CodesFiles:
    """Of codes that are damaged the same are made again, with a warning."""

    checked = True

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        folder = building.build(home, building.Encoder()).folder
        return sorted(folder.iterdir())

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        return digest(building.build(home, building.Encoder()).codes)


class Workdirs:
    """What a run that is started again reads of its workdir, besides checkpoints and codes."""

    checked = False

    def write(self, home: pathlib.Path) -> Iterable[pathlib.Path]:
        with workdir.prepare(home, defaults.transfer()) as folder:
            workdir.bind(folder, {"tuned on": "0123", "held out": "4567"})
        metrics = workdir.Metrics(home, tensorboard=False)
        for step in range(1, 9):
            metrics.log(step, {"loss": 1 / step, "evaluated_train": 0.5})
        return [home / name for name in ("config.json", "images.json", "metrics.jsonl")]

    def read(self, home: pathlib.Path, file: pathlib.Path) -> Any:
        with workdir.prepare(home, defaults.transfer()) as folder:
            workdir.bind(folder, {"tuned on": "0123", "held out": "4567"})
            return json.dumps(workdir.Metrics(folder, tensorboard=False).rows())


KINDS = {
    "image": Images,
    "archive": Archives,
    "table": Tables,
    "prompt": Prompts,
    "checkpoint": Checkpoints,
    "backbone": Backbones,
    "config": Configs,
    "codes": CodesFiles,
    "workdir": Workdirs,
}

# --- Trying --------------------------------------------------------------------------------------


class Kind:
    """A kind of input, whole, and what it is taken for."""

    def __init__(self, name: str, room: pathlib.Path):
        self.name, self._input, self._room = name, KINDS[name](), room
        self._whole = room / "whole"
        self._whole.mkdir(parents=True)
        self._files = [path.relative_to(self._whole) for path in self._input.write(self._whole)]
        self._taken = {file: self._read(file, bytes) for file in self._files}

    def try_one(self, rng: random.Random) -> tuple[str, str, str]:
        """(outcome, what was done, what was said) of one damaged file."""
        file, damage = rng.choice(self._files), rng.choice(DAMAGES)

        def damaged(data: bytes) -> bytes:
            changed = bytearray(data)
            damage(changed, rng)
            return bytes(changed)

        done = f"{self.name} {file}: {damage.__name__}"
        said: list[str] = []
        try:
            taken = self._read(file, damaged, said)
        except UserError as error:
            lines = str(error).splitlines()
            return (REFUSED if len(lines) == 1 else FAULT), done, str(error)
        except Exception:
            return FAULT, done, traceback.format_exc()
        told = "; ".join(said)
        if any("\n" in text for text in said):
            return FAULT, done, told
        if taken == self._taken[file]:
            return (TOLD if said else SAME), done, told
        if said:
            return TOLD, done, told
        return (FAULT if self._input.checked else OTHER), done, "taken for something else"

    def _read(
        self,
        file: pathlib.Path,
        damage: Callable[[bytes], bytes],
        said: list[str] | None = None,
    ) -> Any:
        """What the input is taken for with a damaged file; warnings go into `said`."""
        home = self._room / "damaged"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self._whole, home)
        (home / file).write_bytes(damage((home / file).read_bytes()))
        with _warnings([] if said is None else said):
            return self._input.read(home, file)


class _warnings:
    """Takes what is logged or warned of as a list of texts."""

    def __init__(self, said: list[str]):
        self._said = said

    def __enter__(self):
        self._before = logging.warning
        logging.warning = lambda text, *args: self._said.append(text % args if args else text)
        self._caught = warnings.catch_warnings(record=True)
        self._list = self._caught.__enter__()
        warnings.simplefilter("always")

    def __exit__(self, *error):
        logging.warning = self._before
        self._caught.__exit__(*error)
        # A library's own warning reached the user: it names no file.
        loud = [
            w
            for w in self._list
            if not issubclass(w.category, (DeprecationWarning, ResourceWarning))
        ]
        if loud and error[0] is None:
            raise RuntimeError(f"a library's warning: {loud[0].message}")


def fuzz(kinds: Iterable[str], count: int, seed: int, show: bool = True) -> collections.Counter:
    """Tries `count` damaged inputs, shared out among kinds; counts (kind, outcome)."""
    kinds, found = list(kinds), collections.Counter()
    with tempfile.TemporaryDirectory() as room:
        for number, name in enumerate(kinds):
            kind = Kind(name, pathlib.Path(room) / name)
            rng = random.Random(f"{seed} {name}")
            for _ in range(count // len(kinds) + (number < count % len(kinds))):
                outcome, done, said = kind.try_one(rng)
                found[name, outcome] += 1
                if show or outcome == FAULT:
                    print(
                        f"{outcome:8} {done}: {said}" if outcome != SAME else f"{outcome:8} {done}"
                    )
    return found


def run(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true", help="print faults alone, and the table")
    args = parser.parse_args(argv)
    if strange := set(args.kinds) - KINDS.keys():
        parser.error(f"no kind {', '.join(sorted(strange))}; there are {', '.join(KINDS)}")
    kinds = args.kinds or list(KINDS)
    found = fuzz(kinds, args.count, args.seed, not args.quiet)
    outcomes = (REFUSED, TOLD, SAME, OTHER, FAULT)
    print(f"\n{'':11}" + "".join(f"{outcome:>9}" for outcome in outcomes))
    for name in kinds:
        print(f"{name:11}" + "".join(f"{found[name, outcome]:9}" for outcome in outcomes))
    return int(any(found[name, FAULT] for name in kinds))


if __name__ == "__main__":
    sys.exit(run())
