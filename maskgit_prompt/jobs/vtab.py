"""VTAB: the main job on each of its tasks, with one backbone.

1. See which tasks' data is prepared, and say how to get the others. Download if asked to.
2. Load the backbone once.
3. For every task run the main job in its own folder. Keep a finished task when the job starts
   again. Report a task that fails, and go on with the others.
4. Write results.json, results.md, tasks.png and report.html: all finished tasks in one table.
"""

import contextlib
import pathlib
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.config import rules, uses
from maskgit_prompt.counts import counted
from maskgit_prompt.data.sets import builders, vtab
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.errors import Stopped, UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics.scores import RUN_ROW
from maskgit_prompt.progress import Clock
from maskgit_prompt.report import results, tasks
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.tasks.generation.plan import check, claim, make_plan
from maskgit_prompt.tasks.generation.transfer import REPORT, carry_out
from maskgit_prompt.tasks.many import find_data, report_failure

_COUNTS = ("classes", "images", "steps", "generated")


def run(config: ConfigDict, path: str) -> None:
    # 1. Data.
    rules.check(config)
    chosen = vtab.chosen(config.tasks)
    for key in ("split", "test", "reference"):
        if config.data[key] not in vtab.SPLITS and (config.data[key] or key != "reference"):
            raise UsageError(
                f"config.data.{key} = {config.data[key]!r}, expected {', '.join(vtab.SPLITS)}"
            )
    home = workdir.check(path, config)
    finished = [task for task in chosen if (home / task.name / REPORT).exists()]
    left = [task for task in chosen if task not in finished]
    missing = find_data(left, config.data) if left else {}
    if missing and len(missing) == len(chosen):
        raise UserError(
            f"no data: none of {len(chosen)} tasks is prepared in "
            f"{builders.place(config.data.data_dir)}; run the commands above, let this one prepare "
            "them (--config.data.download=True), or name another --config.data.data_dir"
        )

    # 2. Backbone.
    backbone = backbones.load_for(config, obtain.backbone(config.backbone, config.download))
    mesh = sharding.make_mesh(**config.mesh)
    uses.check(config, {"transformer": backbone.part("transformer").kind})
    check(config, backbone, mesh)
    with workdir.prepare(path, config):
        # 3. Tasks.
        failed = dict(missing)
        left = [task for task in left if task.name not in missing]
        untuned = None  # images of the backbone alone, shared by tasks that need the same number
        for i, task in enumerate(left, 1):
            if distributed.is_first():
                print(f"task {i} of {len(left)}: {task.name} ({task.group})", flush=True)
            one, folder, clock = config_of(config, task, home), home / task.name, Clock()
            with contextlib.ExitStack() as stack:
                try:
                    # All hosts find these errors, so all go on to the next task.
                    workdir.check(folder, one)
                    with clock("load"):
                        plan = make_plan(one, backbone, mesh, folder)
                    stack.enter_context(claim(plan, folder))
                except UserError as error:
                    failed[task.name] = report_failure(task.name, error)
                    continue
                try:
                    untuned = carry_out(plan, folder, clock, untuned)
                except Stopped:
                    raise
                except Exception as error:
                    if distributed.index_and_count()[1] > 1:
                        raise  # the other hosts may be waiting for this one
                    failed[task.name] = report_failure(task.name, error)

        # 4. The table, after the first host has written the results.
        distributed.barrier("tasks")
        rows = [row_of(task, home, task in chosen, missing, failed) for task in vtab.TASKS]
        write(home, [row for row in rows if row], config, backbone.name)
        wrong = [task.name for task in chosen if task.name in failed]
        if distributed.is_first():
            print(f"report: {home / REPORT}\ntable: {home / 'results.md'}")
        if wrong:
            raise UserError(
                f"{len(wrong)} of {len(chosen)} tasks are not done: {', '.join(wrong)}; the "
                f"reasons are in {home / 'results.md'}, and the same command again runs only these"
            )


def config_of(config: ConfigDict, task: vtab.Task, home: pathlib.Path) -> ConfigDict:
    """The config of the main job on one task; tasks on one data set share codes."""
    one = ConfigDict(config.to_dict())
    del one["tasks"], one["steps"]
    if config.steps:
        one.train.steps, one.train.epochs = config.steps, 0.0
    one.job, one.data.name, one.data.task = "run", "vtab", task.name
    one.data.codes = config.data.codes or str(home / "codes")
    return one


def row_of(
    task: vtab.Task, home: pathlib.Path, asked: bool, missing: dict[str, str], failed: dict
) -> dict[str, Any] | None:
    """A task's row of the table; None if the task is neither asked for nor finished."""
    folder = home / task.name
    row = {"task": task.name, "group": task.group}
    if (folder / REPORT).exists():
        done = results.read_run(folder)
        row |= {"status": "done", "error": None, "folder": task.name}
        return row | done.row((*RUN_ROW, "real_accuracy", *_COUNTS))
    if not asked:
        return None
    status = "missing" if task.name in missing else "failed"
    return {**row, "status": status, "error": failed.get(task.name)}


def write(home: pathlib.Path, rows: list[dict], config: ConfigDict, model: str) -> None:
    """Writes the files over all tasks."""
    title = f"VTAB: prompt tuning of {model}"
    remarks = [
        f"Tuned on {config.data.split}"
        + (f", {counted(config.data.shots, 'image')} per class" if config.data.shots else "")
        + f". Distances are to {config.data.reference or 'half of ' + config.data.test}. "
        f"A classifier trained on half of {config.data.test} reads the generated images, if the "
        "prompt was not tuned on that half and it has three images of every class. The other half "
        "is held out.",
    ]
    found = {"rows": rows, "means": tasks.means(rows), "config": config.to_dict()}
    results.write_json(home / "results.json", found)
    write_whole(home / "results.md", tasks.markdown(rows, title, remarks).encode())
    write_whole(home / "tasks.png", tasks.chart(rows))
    pictures = {}
    for row in rows:
        if row["status"] == "done":
            with Image.open(home / row["folder"] / "samples" / "glance.png") as sheet:
                pictures[row["task"]] = sheet.copy()
    tasks.tasks_report(
        home / REPORT, rows, pictures, title=title, remarks=remarks, config=config.to_dict()
    )
