"""VTAB's tasks one after the other: which have data, and what is said of one that fails."""

import traceback

from absl import logging
from ml_collections import ConfigDict

from maskgit_prompt.data.sets import builders, vtab
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


def report_failure(task: vtab.Task, error: Exception) -> str:
    """Warns about a failed task and returns the reason in one line."""
    text = " ".join(str(error).split())
    reason = text if isinstance(error, UserError) else f"{type(error).__name__}: {text[:500]}"
    logging.info("%s", traceback.format_exc())
    if distributed.is_first():
        logging.warning("%s failed: %s", task.name, reason)
    return reason
