"""The defaults of every job, as a config file asks for them, and the rules that values keep."""

from maskgit_prompt.config.classification import (
    classify,
    classify_folder,
    predict,
    robustness,
    sweep,
    vpt_fgvc,
    vpt_vtab,
)
from maskgit_prompt.config.defaults import (
    base,
    causal,
    compare,
    folder,
    import_weights,
    masking,
    next_code,
    published,
    sample,
    sampling,
    side_by_side,
    training,
    transfer,
)
from maskgit_prompt.config.embedded import on_mini64
from maskgit_prompt.config.evaluation import evaluate
from maskgit_prompt.config.imagenet import maskgit, taming
from maskgit_prompt.config.multimodal import answer, ask, attack
from maskgit_prompt.config.named_data import few_shot, vtab, vtab_folder
from maskgit_prompt.config.pretraining import pretrain
from maskgit_prompt.config.segmentation import masks, segment, segment_folder
from maskgit_prompt.config.studies import sample_study

__all__ = [
    "answer",
    "ask",
    "attack",
    "base",
    "causal",
    "classify",
    "classify_folder",
    "compare",
    "evaluate",
    "few_shot",
    "folder",
    "import_weights",
    "maskgit",
    "masking",
    "masks",
    "next_code",
    "on_mini64",
    "predict",
    "pretrain",
    "published",
    "robustness",
    "sample",
    "sample_study",
    "sampling",
    "segment",
    "segment_folder",
    "side_by_side",
    "sweep",
    "taming",
    "training",
    "transfer",
    "vpt_fgvc",
    "vpt_vtab",
    "vtab",
    "vtab_folder",
]
