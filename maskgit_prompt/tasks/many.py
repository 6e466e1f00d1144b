"""Data sets one after the other: which have data, and what is said of one that fails."""

import traceback

from absl import logging
from ml_collections import ConfigDict

from maskgit_prompt.data import loading
from maskgit_prompt.data.sets import builders, fgvc, vtab
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UserError


def find_data(chosen: list[vtab.Task], config: ConfigDict) -> dict[str, str]:
    """Task -> what to do, for tasks without prepared data; prints a list of all tasks.

    config: config.data; missing data is downloaded if it says so.
    """
    missing, lines = {}, []
    failed: dict[str, str] = {}  # data set -> why it could not be prepared
    for task in chosen:
        state, name, how = "missing", task.dataset, vtab.how_to_prepare(task, config.data_dir)
        try:
            builder = vtab.open_task(task, config.data_dir)
            name = builder.info.full_name
            if config.download and not builders.is_prepared(builder) and name not in failed:
                builders.download(builder)
            state = "prepared" if builders.is_prepared(builder) else "missing"
        except UserError as error:
            failed[name] = str(error)
        lines.append(f"  {state:<9}{task.group:<12}{task.name:<31}{name}")
        if state == "missing":
            missing[task.name] = failed.get(name, f"not prepared: {how}")
            lines.append(f"{'':11}{failed.get(name, how)}")
    if distributed.is_first():
        count, place = len(chosen) - len(missing), builders.place(config.data_dir)
        print(
            "\n".join([f"data of {count} of {len(chosen)} tasks in {place}:", *lines]), flush=True
        )
    return missing


def named(names: tuple[str, ...], source: str) -> dict[str, str]:
    """name -> group, of the tasks or sets of a source of images that are chosen by name or group.

    A source of one set has it under "images".

    Raises:
      UsageError: a name that is none of theirs.
    """
    if source == "vtab":
        return {task.name: task.group for task in vtab.chosen(names)}
    if source == "fgvc":
        return {one.name: fgvc.GROUP for one in fgvc.chosen(names)}
    return {"images": ""}


def find_missing(names: list[str], config: ConfigDict) -> dict[str, str]:
    """Task or set -> what to do, for those of `named` without data; prints a list of all.

    config: config.data.
    """
    sets = loading.sets_of_lists(config)
    if sets is None:
        chosen = [vtab.BY_NAME[name] for name in names] if config.name == "vtab" else []
        return find_data(chosen, config) if chosen else {}
    missing, lines = {}, []
    for one in sets.chosen(names):
        found = sets.place(one, config.path)
        lines.append(f"  {'there' if found else 'missing':<9}{one.name:<31}{found or ''}".rstrip())
        if found is None:
            missing[one.name] = sets.how_to_prepare(one, config.path)
            lines.append(f"{'':11}{missing[one.name]}")
    if distributed.is_first():
        there = len(names) - len(missing)
        print("\n".join([f"data of {there} of {len(names)} in {config.path}:", *lines]), flush=True)
    return missing


def report_failure(name: str, error: Exception) -> str:
    """Warns about a failed task and returns the reason in one line."""
    text = " ".join(str(error).split())
    reason = text if isinstance(error, UserError) else f"{type(error).__name__}: {text[:500]}"
    logging.info("%s", traceback.format_exc())
    if distributed.is_first():
        logging.warning("%s failed: %s", name, reason)
    return reason
