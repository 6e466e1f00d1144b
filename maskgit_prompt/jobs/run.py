"""The main job: tune a prompt on a few images, generate, score, report.

1. Load the frozen backbone.
2. Find the images; part them into those to tune on, to train the judge on, to score against.
3. Claim the workdir, now that nothing more can be found wrong.
4. Carry out the plan.
"""

from ml_collections import ConfigDict

from maskgit_prompt import backbones
from maskgit_prompt.config import rules
from maskgit_prompt.devices import sharding
from maskgit_prompt.progress import Clock
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.generation.plan import claim, make_plan
from maskgit_prompt.tasks.generation.transfer import carry_out


def run(config: ConfigDict, path: str) -> None:
    clock = Clock()
    rules.check(config)
    workdir.check(path, config)  # before all images are looked at
    with clock("load"):
        mesh = sharding.make_mesh(**config.mesh)
        plan = make_plan(config, backbones.load_for(config), mesh, path)
    home = claim(plan, path)
    carry_out(plan, home, clock)
