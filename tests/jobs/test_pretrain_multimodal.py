"""The pretraining job's stage for images and texts, on a tiny network."""

import numpy as np

from maskgit_prompt import backbones, params
from maskgit_prompt.tasks.multimodal import words
from tests.jobs.running import ROOT, run

TINY = (
    "train.steps=3",
    "train.batch_size=8",
    "train.log_every=1",
    "train.evaluate_every=0",
    "train.tensorboard=False",
    "optimizer.warmup_steps=0",
    "score.most=8",
    "data.num=200",
    "data.size=32",
    "scenes.tasks=('colour','refer')",
    "scenes.weights=()",
    "scenes.ease=0",
    "scenes.cells=0.5",
    "multimodal.width=16",
    "multimodal.heads=(2,2)",
    "multimodal.layers=(1,1)",
    "multimodal.mlp=(16,16)",
    "multimodal.stem=(1,1,1)",
    "multimodal.stem_width=2",
    "multimodal.positions=32",
    "multimodal.buckets=4",
)


def test_a_backbone_is_written_with_its_vocabulary(tmp_path, capsys):
    home = tmp_path / "run"
    flags = [f"--config.{flag}" for flag in TINY]
    done = run(capsys, f"--config={ROOT}/configs/mini_ofa.py", f"--workdir={home}", *flags)
    assert done.code == 0, done.err
    found = backbones.load(str(home / "backbone"))
    assert found.name == "mini-ofa" and list(found.parts) == ["multimodal"]
    stage = found.provenance["stages"]["multimodal"]
    assert stage["tasks"] == ["colour", "refer"]
    assert set(stage["heldout"]) == {"heldout", "wrong_colour", "wrong_refer"}
    own = words.of_backbone(found)
    assert own.frame == 64 and own.tokenizer.decode(own.target("orangefarben")).strip()
    flat = params.flatten(found.part("multimodal").tree)
    # The norms hold the averages of the first images, not zeros and ones.
    means = [np.asarray(x) for path, x in flat.items() if path.endswith("/mean")]
    assert len(means) == 13 and all(np.abs(mean).max() > 0 for mean in means)


def test_what_scenes_do_not_need_is_refused(tmp_path, capsys):
    flags = (f"--config={ROOT}/configs/mini_ofa.py", f"--workdir={tmp_path}")
    done = run(capsys, *flags, "--config.data.heldout=0.5")
    assert done.code == 2 and "it draws scenes, of which every tenth" in done.error()
