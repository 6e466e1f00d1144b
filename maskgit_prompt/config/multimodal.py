"""The defaults of the task on images and texts, and of pretraining for it."""

from ml_collections import ConfigDict


def scenes() -> ConfigDict:
    """What the pretraining stage "multimodal" learns from drawn scenes."""
    return ConfigDict(
        {
            # Tasks that are learned: of data/sets/scene_tasks.py.
            "tasks": (
                *("caption", "colour", "shape", "count", "presence", "place"),
                *("refer", "entail"),
            ),
            "texts": (),  # tasks whose targets are read as texts alone, with words to fill in
            "texts_share": 0.1,  # with texts: their share of examples
            "weights": (),  # of tasks, then of texts: shares of examples; empty: as above
            "source_length": 20,  # tokens of an instruction with </s>; longer ones are left out
            "target_length": 18,  # tokens of an answer with </s>; longer ones are left out
            "smoothing": 0.0,  # label smoothing of the loss
        }
    )
