"""The main job: tune a prompt on a few examples, then use it, score it and report.

1. Load the frozen backbone.
2. Plan: find the examples that config.task asks for, and all that can be wrong.
3. Claim the workdir, now that nothing more can be found wrong.
4. Carry out the plan.
"""

from ml_collections import ConfigDict

from maskgit_prompt import backbones, tasks
from maskgit_prompt.config import rules
from maskgit_prompt.devices import sharding
from maskgit_prompt.progress import Clock
from maskgit_prompt.storage import workdir


def run(config: ConfigDict, path: str) -> None:
    clock = Clock()
    task = tasks.find(config.task)
    rules.check(config)
    workdir.check(path, config)  # before all images are looked at
    with clock("load"):
        mesh = sharding.make_mesh(**config.mesh)
        plan = task.make_plan(config, backbones.load_for(config), mesh, path)
    with task.claim(plan, path) as home:
        task.carry_out(plan, home, clock)
