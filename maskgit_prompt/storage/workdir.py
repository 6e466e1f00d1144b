"""The folder of a run: its config, which must not change, its lock, and its metrics."""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt import params, renamed
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UsageError, UserError, unwritable
from maskgit_prompt.storage import lock
from maskgit_prompt.storage.files import read_json, write_whole

# These say how long and where a run goes on, where its images are, whether its backbone may be
# fetched or which of its tasks it does,
# not what it computes. That the images themselves are the same ones, `bind` sees to.
FREE = (
    "mesh",
    "train.log_every",
    "train.save_every",
    "train.show_every",
    "train.tensorboard",
    "profile",
    "data.codes",
    "data.csv",
    "data.data_dir",
    "data.download",
    "data.path",
    "download",
    "tasks",
)
# Compared as paths: models/a, models/a/ and /home/me/models/a may be one folder.
PATHS = ("backbone", "generated", "image", "inception", "models.backbones", "prompt", "real")
LOCK = ".lock"
NAMED = 5  # keys that differ, in a message


@contextlib.contextmanager
def prepare(workdir: str | pathlib.Path, config: ConfigDict) -> Iterator[pathlib.Path]:
    """Makes the folder, or checks that it belongs to a run of this config; holds its lock.

    Raises:
      UsageError: it holds a run of another config, and the keys that differ are named; or another
        process runs in it.
    """
    folder = check(workdir, config)
    with _alone(folder):
        _, new = _compare(folder, config)  # once more: another run may have come first
        if not (folder / "config.json").exists():
            text = json.dumps(new, indent=1, sort_keys=True) + "\n"
            write_whole(folder / "config.json", text.encode())
        yield folder


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """One run at a time: the first host holds the lock of the folder, and tells the others."""
    with contextlib.ExitStack() as stack:
        owner = ""
        if distributed.is_first():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock.hold(folder / LOCK))
            except lock.Held as held:
                owner = held.owner
            except OSError as error:
                raise unwritable(f"workdir {folder}", error) from error
        if owner := distributed.gather(owner.encode())[0].decode():
            raise _busy(folder, owner)
        yield


def _busy(folder: pathlib.Path, owner: str) -> UsageError:
    return UsageError(
        f"workdir {folder} is in use by {owner}; wait for that run, stop it, or use another "
        "--workdir"
    )


def bind(folder: pathlib.Path, images: dict[str, str]) -> None:
    """Writes what the run's images are, or checks that they are still the same.

    images: name -> fingerprint.

    Raises:
      UsageError: the folder holds a run on other images.
    """
    path = folder / "images.json"
    if path.exists():
        old = read_json(path, "use another workdir")
        differ = [
            f"those {name} were {old[name]}, are {new}"
            for name, new in images.items()
            if old.get(name, new) != new
        ]
        if differ:
            raise UsageError(
                f"workdir {folder} holds a run on other images or labels than are there now "
                f"({'; '.join(differ)}); use another --workdir, or delete that one"
            )
    write_whole(path, (json.dumps(images, indent=1) + "\n").encode())


def check(workdir: str | pathlib.Path, config: ConfigDict) -> pathlib.Path:
    """Raises what `prepare` would, but writes nothing; gives the folder."""
    # First, since the way out of another config is to delete the folder.
    # The first host alone: it may hold the lock before the others of its run get here.
    owner = lock.owner(pathlib.Path(workdir) / LOCK) if distributed.is_first() else None
    if owner:
        raise _busy(pathlib.Path(workdir), owner)
    return _compare(workdir, config)[0]


def _compare(
    workdir: str | pathlib.Path, config: ConfigDict
) -> tuple[pathlib.Path, dict[str, Any]]:
    """The folder, and the config as JSON.

    Raises:
      UsageError: the folder holds a run of another config; the keys that differ are named.
    """
    folder = pathlib.Path(workdir)
    path, new = folder / "config.json", json.loads(config.to_json_best_effort())
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"workdir {folder} is a file, expected a folder; use another --workdir")
    if not path.exists():
        return folder, new
    old = read_json(path, "use another workdir")
    differ = [
        f"{key} is {value!r} there, {other!r} now"
        for key, value, other in _differences(old, new)
        if not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]
    if differ:
        more = f"; and {len(differ) - NAMED} more" if len(differ) > NAMED else ""
        raise UsageError(
            f"workdir {folder} holds a run of another config: {'; '.join(differ[:NAMED])}"
            f"{more}; use another --workdir, or delete that one"
        )
    return folder, new


def _differences(old: dict, new: dict) -> list[tuple[str, Any, Any]]:
    flat = [{k.replace("/", "."): v for k, v in params.flatten(d).items()} for d in (old, new)]
    # None is as a prompt file says, which an earlier version read there, too.
    flat[0] = renamed.as_today(flat[0], {k for k, x in flat[1].items() if x is not None})
    keys = sorted(flat[0].keys() | flat[1].keys(), key=lambda key: (key != "job", key))
    rows = [(key, flat[0].get(key), flat[1].get(key)) for key in keys]
    rows = [row for row in rows if _comparable(row[0], row[1]) != _comparable(row[0], row[2])]
    # Another job has other keys: that says nothing more.
    return [row for row in rows if row[0] == "job"] or rows


def _comparable(key: str, value: Any) -> Any:
    """A path by the place that it names, anything else as it is."""
    if key not in PATHS or not value:
        return value
    place = lambda path: os.path.abspath(os.path.expanduser(path))
    return place(value) if isinstance(value, str) else [place(path) for path in value]


class Metrics:
    """metrics.jsonl, one line a log step, and the same in TensorBoard's event files.

    A resumed run first drops the lines after the step it resumes from, so that the file has each
    step once. Event files only grow: that of a resumed run says from which step on TensorBoard is
    to forget the others.
    """

    def __init__(self, folder: pathlib.Path, tensorboard: bool):
        self.path = folder / "metrics.jsonl"
        self._tensorboard = tensorboard
        self._resumed = 0
        self._events = None  # made with the first row

    def resume(self, step: int) -> None:
        """Drops what was logged after `step`."""
        self._resumed = step
        rows = [row for row in self.rows() if row["step"] <= step]
        if rows or self.path.exists():
            write_whole(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def rows(self) -> list[dict[str, float]]:
        """What was logged so far; a last line cut off by a crash is left out.

        Raises:
          UserError: a line before it is damaged.
        """
        if not self.path.exists():
            return []
        *whole, _ = self.path.read_bytes().split(b"\n")
        rows = []
        for number, line in enumerate(whole, 1):
            try:
                row = json.loads(line)
                if type(row["step"]) is not int or any(map(_is_no_number, row.values())):
                    raise ValueError("expected numbers by name, and a step")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"line {number} of {self.path} is damaged ({error}); delete the line, or the "
                    "file if its curves are of no use"
                ) from error
            rows.append(row)
        return rows

    def log(self, step: int, values: dict[str, float]) -> None:
        """Appends one line."""
        if not distributed.is_first():
            return
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            if self._tensorboard:
                self._log_event(step, values)
        except OSError as error:
            where = error.filename or self.path.parent
            raise UserError(f"cannot write {where}: {error.strerror}") from error

    def _log_event(self, step: int, values: dict[str, float]) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        if self._events is None:
            # Names begin with the second; the count parts those of one second, and orders them.
            count = len(list(self.path.parent.glob("events.out.tfevents.*")))
            self._events = EventsWriter(str(self.path.parent / "events"), f".{count}")
            start = SessionLog(status=SessionLog.START)
            first = self._resumed + 1
            self._events.write_event(Event(wall_time=time.time(), step=first, session_log=start))
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        summary = Summary(value=scalars)
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._events.flush()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


def _is_no_number(value: Any) -> bool:
    return type(value) not in (int, float)
