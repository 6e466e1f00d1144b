"""Settings that are wrong end every job at once, in one line, before it has made its workdir."""

import jax
import numpy as np
import pytest

from maskgit_prompt import backbones
from maskgit_prompt.config import defaults
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator
from maskgit_prompt.params import create
from maskgit_prompt.tasks.generation.plan import PARTS
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt
from tests import tiny
from tests.jobs.running import FOLDER, QUICKSTART, ROOT, SAMPLE, TINY, TINY_CAUSAL, run

MINI = f"--config={ROOT}/configs/mini.py"
IMPORT = f"--config={ROOT}/configs/import.py"
VTAB = f"--config={ROOT}/configs/vtab.py"


def refused(capsys, home, message: str, *flags: str) -> None:
    done = run(capsys, *flags, f"--workdir={home}")
    assert message in done.error() and done.code == 2
    assert not home.exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.seed=-1", "config.seed = -1, expected 0 or more"),
        (f"--config.seed={2**64}", "and below 2**32 - 256"),
        ("--config.prompt.dropout=1", "dropout = 1.0, expected 0 or more, and below 1"),
        ("--config.prompt.dropout=nan", "config.prompt.dropout = nan, expected a finite number"),
        ("--config.sample.guidance=nan", "config.sample.guidance = nan, expected a finite number"),
        ("--config.sample.power=inf", "config.sample.power = inf, expected a finite number"),
        ("--config.data.codes=/proc/x", "config.data.codes = '/proc/x' cannot be written: "),
        ("--config.score.marquee_cutoffs=a", "marquee_cutoffs = ('a',), expected above 0, and at"),
        ("--config.data.path=photos", "use --config=configs/folder.py:PATH"),
        ("--strict", "config.data.strict = True has no use with config.data.name = 'digits'"),
        (
            "--config.prompt.attention=both",
            "has no use with a masked transformer; it needs a causal",
        ),
        ("--config.next_code.keep=0.5", "has no use with a masked transformer; use config.masking"),
    ],
)
def test_the_main_job(flag, message, backbone, tmp_path, capsys):
    refused(
        capsys, tmp_path / "run", message, QUICKSTART, f"--config.backbone={backbone}", *TINY, flag
    )


@pytest.fixture(scope="module")
def causal(tmp_path_factory) -> str:
    return tiny.write(tmp_path_factory.mktemp("causal") / "tiny", kind="causal")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.masking.shared=True", "masking.shared = True has no use with a causal transfor"),
        (
            "--config.sample.steps=3",
            "a causal transformer; it draws code by code, so leave the key",
        ),
        ("--config.sample.order=halton", "config.sample.order = 'halton' has no use with a causal"),
    ],
)
def test_a_causal_transformer(flag, message, causal, tmp_path, capsys):
    flags = (f"--config.backbone={causal}", *TINY_CAUSAL, flag)
    refused(capsys, tmp_path / "run", message, QUICKSTART, *flags)


@pytest.mark.parametrize(
    ("config", "flags", "message"),
    [
        (f"{QUICKSTART},compare", ["--config.data.shots=3"], "use config.compare.shots"),
        (f"{QUICKSTART},compare", ["--config.data.path=p"], "config.data.path = 'p' has no use"),
        (f"{QUICKSTART},causal", ["--config.backbone=mini"], "use config.models.backbones"),
        (f"{QUICKSTART},causal", ["--config.score.images=nan"], "images = 'nan', expected a whole"),
        (f"{FOLDER}:photos", ["--config.data.dataset=svhn"], "or set config.data.name to tfds"),
        (f"{FOLDER}:photos", ["--config.data.name=digits"], "config.data.path = 'photos' has no u"),
        (f"{VTAB}:svhn", ["--config.steps=3", "--config.train.epochs=2"], "set config.steps to 0"),
        (
            f"{MINI}:tokenizer",
            ["--config.tokenizer.groups=5"],
            "config.tokenizer has sizes that do",
        ),
        (f"{MINI}:tokenizer", ["--config.tokenizer.multipliers=()"], "expected one for each level"),
        (f"{MINI}:tokenizer", ["--config.data.size=16"], "the tokenizer takes images of 32 pixels"),
        (
            f"{MINI}:tokenizer",
            ["--config.trainable=x"],
            "config.trainable: 'x' matches no parameter",
        ),
        (f"{MINI}:tokenizer", ["--config.profile=9:9999"], "goes to step 10008, the run has 4500"),
        (
            f"{MINI}:features",
            ["--config.features.stages=40"],
            "40 stages halve images of 32 pixels",
        ),
        (f"{MINI}:features", ["--config.attention=xla"], "set config.stage to transformer"),
        (
            f"{MINI}:features",
            ["--config.stage=tokenizer"],
            "use --config=configs/mini.py:tokenizer",
        ),
        (
            f"{MINI}:causal",
            ["--config.masking.smoothing=0.5"],
            "a causal transformer; use config.next_code",
        ),
        (
            f"{MINI}:transformer",
            ["--config.backbone=mini", "--config.transformer.heads=5"],
            "config.transformer: width 192 does not divide into 5 heads",
        ),
        (IMPORT, ["--config.format=maskgit", "--config.heads=8"], "set config.format to taming"),
        (IMPORT, ["--config.format=maskgit", "--config.codebook=-1"], "codebook = -1, expected 0"),
        (SAMPLE, ["--config.keep=left"], "has no use with config.image = ''; give --config.image"),
        (SAMPLE, ["--config.sample.top_p=nan"], "config.sample.top_p = nan, expected a finite num"),
    ],
)
def test_the_other_jobs(config, flags, message, tmp_path, capsys):
    refused(capsys, tmp_path / "run", message, config, *flags)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.sample.cutoff=0.5", "has no use with a header of one prompt; take several, as"),
        ("--config.sample.guidance_from=backbone", "has no use with config.sample.guidance = 1.0"),
        ("--config.sample.choice_temperature=1", "config.sample.order = 'halton'; leave it out"),
    ],
)
def test_what_a_prompt_file_leaves_without_use(flag, message, backbone, tmp_path, capsys):
    path, model = tmp_path / "prompt.safetensors", backbones.load(backbone)
    cfg = PromptConfig(kind="table", tokens=1, width=16, classes=2)
    _, init = create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    tree = jax.tree.map(np.asarray, init(jax.random.key(0)))
    sample = {**defaults.sampling().to_dict(), "order": "halton", "power": 2.0}
    tuned_prompt.save(
        path, TunedPrompt(cfg, tree, ("a", "b"), TunedOn.of(model, PARTS), sample=sample)
    )
    flags = (f"--config.prompt={path}", f"--config.backbone={backbone}", flag)
    refused(capsys, tmp_path / "run", message, SAMPLE, *flags)
