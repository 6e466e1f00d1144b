"""Settings of a classifier, chosen by trying, on one set of images or on each of several.

Several are VTAB's tasks, or the five fine-grained sets.

1. See which tasks' data is there, and say how to get the others.
2. Load the backbone once.
3. For every task try the grid, choose, and train with each seed. Finished rows and tasks are kept
   when the job starts again; a task that fails is reported, and the others go on.
4. Write results.json, results.md and report.html: all finished tasks in one table.
"""

import functools
import pathlib
from typing import Any

from ml_collections import ConfigDict

from maskgit_prompt import backbones
from maskgit_prompt.config import published_settings, rules, uses
from maskgit_prompt.data import loading
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.errors import Stopped, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics.formats import brackets, percent
from maskgit_prompt.report import results, swept
from maskgit_prompt.storage import workdir
from maskgit_prompt.storage.files import read_json, write_whole
from maskgit_prompt.tasks.classification import protocols
from maskgit_prompt.tasks.classification.plan import Plan, make_plan
from maskgit_prompt.tasks.classification.sweep import Grid, sweep
from maskgit_prompt.tasks.many import find_missing, named, report_failure

RESULT = "result.json"  # of one task, written last


def run(config: ConfigDict, path: str) -> None:
    # 1. Data.
    rules.check(config)
    loading.check_path(config.data)
    home = workdir.check(path, config)
    tasks = named(config.tasks, config.data.name)
    settings = {name: published_settings.applied(config, name) for name in tasks}
    left = [name for name in tasks if not (home / name / RESULT).exists()]
    missing = find_missing(left, config.data) if left else {}
    if missing and len(missing) == len(tasks):
        raise UserError(f"no data: none of {len(tasks)} tasks is prepared; see the list above")

    # 2. Backbone.
    folder = obtain.backbone(config.backbone, config.download)
    mesh, backbone = (
        sharding.make_mesh(**config.mesh),
        backbones.load_for(config, folder, "encoder"),
    )
    uses.check(config, {"encoder": backbone.part("encoder").kind})
    with workdir.prepare(path, config):
        # 3. Tasks.
        failed = dict(missing)
        for i, name in enumerate(left, 1):
            if name in missing:
                continue
            if distributed.is_first() and len(left) > 1:
                print(f"task {i} of {len(left)}: {name} ({tasks[name]})", flush=True)
            if distributed.is_first() and (line := published_settings.source_of(config, name)):
                print(line, flush=True)
            one = home / name
            plans = functools.partial(plan_of, settings[name], backbone, mesh, one, name)
            try:
                one.mkdir(exist_ok=True)
                found = sweep(Grid.of(settings[name]), plans, one, config.seed)
            except (Stopped, KeyboardInterrupt):
                raise
            except Exception as error:
                if distributed.index_and_count()[1] > 1 or len(tasks) == 1:
                    raise  # the other hosts may be waiting for this one
                failed[name] = report_failure(name, error)
                continue
            results.write_json(one / RESULT, found)

        # 4. The table.
        distributed.barrier("sweep")
        rows = [row_of(home, name, group, failed) for name, group in tasks.items()]
        write(home, rows, config, backbone.name)
        if distributed.is_first():
            for row in (row for row in rows if row["accuracy"] is not None):
                print(f"{row['task']}: accuracy {percent(row['accuracy'])} {_spread(row)}")
            print(f"report: {home / 'report.html'}\ntable: {home / 'results.md'}")
        if failed:
            raise UserError(
                f"{len(failed)} of {len(tasks)} tasks are not done: {', '.join(failed)}; the "
                f"reasons are in {home / 'results.md'}, and the same command again runs only these"
            )


def plan_of(
    config: ConfigDict,
    backbone: backbones.Backbone,
    mesh,
    home: pathlib.Path,
    name: str,
    final: bool,
) -> Plan:
    """The plan of one task.

    final: of the reported runs, which are tuned on config.sweep.final, or on the deciding images,
      too, unless config.sweep.with_judge says no.
    """
    one = ConfigDict(config.to_dict())
    one.prompt.tokens = config.sweep.tokens[0]  # the default length need not fit
    if config.data.name in ("vtab", "fgvc"):
        one.data.task = name
    if final and config.sweep.final:
        one.data.split, one.data.validation = config.sweep.final, ""
    plan = make_plan(one, backbone, mesh, home)
    if final and not config.sweep.final and config.sweep.with_judge:
        return plan.with_judge()
    return plan


def row_of(home: pathlib.Path, name: str, group: str, failed: dict[str, str]) -> dict[str, Any]:
    """A task's row of the table."""
    row: dict[str, Any] = {"task": name, "group": group, "accuracy": None}
    if (home / name / RESULT).exists():
        found = read_json(home / name / RESULT, "delete it to sweep that task again")
        best = found.pop("best")
        keys = ("tokens", "learning_rate", "weight_decay")
        row |= {key: best[key] for key in keys} | {"validation": best["accuracy"]}
        names = ("accuracy", "deviation", "interval", "accuracies", "images", "classes", "steps")
        return row | {key: found[key] for key in names} | {"status": "done", "error": None}
    status = "failed" if name in failed else "missing"
    return row | {"status": status, "error": failed.get(name)}


def write(home: pathlib.Path, rows: list[dict], config: ConfigDict, backbone: str) -> None:
    """Writes the files over all tasks."""
    protocol = protocols.find(config.protocol).about
    title = f"{config.method} on {backbone}"
    found = {"rows": rows, "means": swept.means(rows), "protocol": protocol}
    results.write_json(home / "results.json", found | {"config": config.to_dict()})
    write_whole(home / "results.md", swept.markdown(rows, title, protocol).encode())
    grids = {
        row["task"]: read_json(home / row["task"] / RESULT, "delete it")["rows"]
        for row in rows
        if row["status"] == "done"
    }
    swept.swept_report(home / "report.html", rows, grids, title, protocol, config.to_dict())


def _spread(row: dict) -> str:
    deviation = "" if row["deviation"] is None else f"± {percent(row['deviation'])} over seeds, "
    return f"{deviation}95 % interval {brackets(row['interval'], percent)}"
