"""The main job: tune a prompt on a few examples, then use it, score it and report.

1. Check the settings, alone and beside the frozen backbone, which is fetched if need be.
2. Plan: find the examples that config.task asks for, and all that can be wrong.
3. Claim the workdir, now that nothing more can be found wrong.
4. Carry out the plan.
"""

from ml_collections import ConfigDict

from maskgit_prompt import backbones, tasks
from maskgit_prompt.config import rules, uses
from maskgit_prompt.data import loading
from maskgit_prompt.devices import sharding
from maskgit_prompt.importers import obtain
from maskgit_prompt.progress import Clock
from maskgit_prompt.storage import workdir


def run(config: ConfigDict, path: str) -> None:
    clock = Clock()
    rules.check(config)
    task = tasks.find(config.task)
    workdir.check(path, config)  # before all images are looked at
    if "name" in config.data:
        loading.check_path(config.data)  # before a backbone is fetched
    folder = obtain.backbone(config.backbone, config.download)
    with clock("load"):
        mesh = sharding.make_mesh(**config.mesh)
        backbone = backbones.load_for(config, folder, task.PARTS[-1])
        uses.check(config, {task.PARTS[-1]: backbone.part(task.PARTS[-1]).kind})
        plan = task.make_plan(config, backbone, mesh, path)
    with task.claim(plan, path) as home:
        task.carry_out(plan, home, clock)
