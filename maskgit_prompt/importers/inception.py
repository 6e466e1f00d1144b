r"""The Inception network of FID, from the file that PyTorch's FID tools share.

pt_inception-2015-12-05-6726825d.pth of mseitzer/pytorch-fid, which torch-fidelity has under another
name: TensorFlow's network of December 2015 with torchvision's names, as
"Mixed_5b.branch1x1.bn.weight", and fc.weight (1008, 2048).
"""

from collections.abc import Mapping
from typing import Any

from maskgit_prompt.backbones import Part
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch as files
from maskgit_prompt.importers.format import Format
from maskgit_prompt.importers.resnet import AVERAGED, COUNTED, conv, norm
from maskgit_prompt.importers.rules import Options, Rule, parameters, without_sign
from maskgit_prompt.models.inception import BLOCKS, HALVING, STEM, Inception, InceptionConfig

SIGN = "Mixed_7c.branch_pool.conv.weight"
ANOTHER = "AuxLogits.fc.weight"  # torchvision's own network has it
LAYERS = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")  # of the stem: Conv2d_1a_3x3, …
# How the sha256 of the published file begins: names of torch.hub end in these eight digits. Not
# compared with the file itself, which we never had.
PUBLISHED = "6726825d"
# A branch's name here -> there.
BRANCHES = {
    "1x1": "1x1",
    "3x3": "3x3",
    "5x5": "5x5",
    "7x7": "7x7",
    "3x3_3x3": "3x3dbl",
    "7x7_7x7": "7x7dbl",
    "7x7_3x3": "7x7x3",
    "pool": "_pool",
}


def rules() -> list[Rule]:
    r"""Names of the file -> paths of models.inception.Inception.

    Layers of a branch are counted from 1, "Mixed_6b.branch7x7_3", unless there is only one,
    "Mixed_6a.branch3x3"; forks have the same number and a letter, "Mixed_7b.branch3x3_2a".
    """
    found = []
    places = (str(i) for i, step in enumerate(STEM) if step != HALVING)
    for name, place in zip(LAYERS, places, strict=True):
        found += _layer(rf"Conv2d_{name}", f"stem/{place}")
    for block, branches in BLOCKS.items():
        for name, branch in branches.items():
            theirs, ours = rf"Mixed_{block}\.branch{BRANCHES[name]}", f"blocks/{block}/rows/{name}"
            alone = len(branch.convs) == 1 and not branch.forks
            for i in range(len(branch.convs)):
                found += _layer(theirs if alone else f"{theirs}_{i + 1}", f"{ours}/convs/{i}")
            for i in range(len(branch.forks)):
                found += _layer(f"{theirs}_{len(branch.convs) + 1}{'ab'[i]}", f"{ours}/forks/{i}")
    found.append(Rule(r"fc\.weight", "head/kernel", lambda x: x.transpose(1, 0)))
    found.append(Rule(r"fc\.bias", "head/bias"))
    return found


def _layer(theirs: str, ours: str) -> list[Rule]:
    return [
        conv(rf"{theirs}\.conv", f"{ours}/conv"),
        *norm(rf"{theirs}\.bn", f"{ours}/norm", AVERAGED),
    ]


def read(source: Mapping[str, Any], what: str, options: Options) -> dict[str, Part]:
    """{"features": the network in a file, checked completely but not yet read}.

    Raises:
      UserError: lists everything unexpected, missing or misshapen.
    """
    if SIGN not in source:
        raise without_sign(source, what, "Inception network of FID", SIGN, ".")
    if ANOTHER in source:
        raise UserError(
            f"{what} holds {ANOTHER}, expected FID's Inception network, which has none: this is "
            "torchvision's Inception-v3, whose features give other distances; docs/backbones.md "
            "says what to fetch"
        )
    cfg = InceptionConfig()
    make = lambda rngs: Inception(cfg, rngs=rngs)
    tree = parameters(make, source, rules(), ignored=[COUNTED], what=what)
    return {"features": Part("inception", cfg, tree)}


FORMAT = Format(
    "inception",
    files.read_or_safetensors,
    read,
    tokenizer=(),
    licence="pytorch-fid: Apache-2.0; the weights are TensorFlow's of 2015, see its page",
)
