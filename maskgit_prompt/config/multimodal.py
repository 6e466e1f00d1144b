"""The defaults of the task on images and texts, and of pretraining for it."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import base, training


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
            # Steps in which scenes grow from one thing to all; 0: none. Without them it takes long
            # until a model looks at images at all.
            "ease": 0,
            "smoothing": 0.0,  # label smoothing of the loss
            # Factor of a loss by which each cell of an image's grid says what it shows, and where
            # that ends; 0: none. Answers alone teach the grid slowly.
            "cells": 0.0,
        }
    )


def ask() -> ConfigDict:
    """The main job on images and texts: prefixes of a frozen encoder-decoder."""
    config = training(base("multimodal"), steps=1000, batch_size=32, learning_rate=0.03)
    config.task = "multimodal"  # what the run learns: a folder of maskgit_prompt/tasks/
    config.model = ""  # the kind of network: "ofa"; empty: the backbone's
    # Folder of a published vocabulary's files; empty: the backbone's own.
    config.vocabulary = ""
    # What is asked: "caption", "question", "point", "statement", "imply" or "class"; empty: what
    # the task of drawn scenes asks.
    config.goal = ""
    # What the encoder reads beside the image, "{}" for each text; empty: the goal's.
    config.instruction = ""
    # What answers may be: "usual" (closed for statements and classes, and as the task of drawn
    # scenes has it), "any", "targets" (those of the examples to tune on), or a file with one in
    # each line.
    config.closed = "usual"
    # What is tuned: "prompt", "adapter", "lora", "bias", "bias_ofa" or "full".
    config.method = "prompt"
    config.trainable = ("method",)  # patterns of paths that are tuned; "method": the method's
    config.data = ConfigDict(
        {
            # The source: "scenes" (drawn), "table" (a CSV or JSON lines beside images) or "tsv"
            # (images in the file, as OFA's).
            "name": "scenes",
            "task": "count",  # task of drawn scenes
            "path": "",  # the table, its folder, or the file
            "test": "",  # the same of what is held out; empty: a share of path's
            "heldout": 0.2,  # without test: the share that is held out
            # Columns by their heading; with "tsv" by number, counted from 0.
            "image": "image",  # column of the images
            "texts": ("text",),  # columns of the texts that the instruction takes
            "target": "target",  # column of the right answers
            "tune_num": 500,  # examples to tune on; of a table at most, 0: all
            "test_num": 200,  # examples held out; of a table at most, 0: all
            "size": 64,  # side of the images in pixels
            # How an image becomes square: "resize" (as OFA's), "crop" or "pad". Boxes need
            # "resize".
            "fit": "resize",
            "seed": 0,  # seed of scenes, of the split and of what is taken of a table
        }
    )
    config.prompt = ConfigDict(
        {
            "encoder": 16,  # prompt tokens in the encoder's layers; 0: none
            "decoder": 16,  # prompt tokens in the decoder's layers; 0: none
            "cross": 0,  # prompt tokens in front of the decoder's attention to the encoder
            "layers": "all",  # layers that have them: "all", "bottom-K" or "top-K"
            "left_out": (),  # numbers of layers that have none
            "reparameterize": 0,  # hidden width of an MLP that makes them while tuning; 0: none
            "std": 0.02,  # standard deviation of their first values
            "gated": False,  # start as if there were none
            "start_text": "",  # a text whose keys and values they start from; empty: at random
            "dropout": 0.0,  # dropout rate of prompt tokens in training
        }
    )
    config.adapter = ConfigDict({"bottleneck": 16})  # width of the adapters
    config.lora = ConfigDict(
        {
            "rank": 8,  # rank of the updates
            "alpha": 8.0,  # updates are scaled by alpha / rank
            # Pattern of the kernels that are updated.
            "targets": ".*blocks/attention/(query|value)/kernel",
        }
    )
    config.loss = ConfigDict(
        {
            "smoothing": 0.0,  # label smoothing
            "drop_worst": 0.0,  # share of tokens with the largest losses to leave out
            "r_drop": 0.0,  # factor of R-Drop; every example then stands in a batch twice
            "closed": True,  # share probabilities among closed answers only
            "dropout": 0.0,  # dropout rate of the network in training
        }
    )
    config.search = ConfigDict(
        {
            "beams": 5,  # hypotheses that are followed; 1: greedy
            "length": 0,  # most tokens of an answer; 0: what the answers need
            "min_length": 1,  # least tokens of an answer
            "length_penalty": 1.0,  # power of the length that scores are divided by; 0: sums
            "no_repeat": 0,  # n: no n tokens in a row come twice; 0: off
        }
    )
    config.train.epochs = 0.0  # above 0: times through the examples, at most train.steps
    config.train.evaluate_every = 0  # steps between held-out losses; 0: only at the end
    config.train.best = False  # keep the state with the smallest held-out loss
    config.train.remat = False  # recompute activations: less memory, more time
    config.score = ConfigDict(
        {
            "batch_size": 64,  # examples that are answered at once
            "untuned": True,  # also answer with the model as it is
        }
    )
    return config


def answer() -> ConfigDict:
    """Answers about pictures, by prefixes that were tuned before."""
    config = base("answer")
    # The prefix.safetensors of runs on one backbone; each answers for every picture.
    config.prefixes = ()
    config.texts = ()  # texts that the instructions take, such as a question, for all pictures
    # Folder of a published vocabulary's files; empty: the backbone's own.
    config.vocabulary = ""
    config.batch_size = 32  # pictures at once
    config.data = ConfigDict(
        {
            # The pictures: a folder with all its folders, a zip or tar archive, a file, or a list
            # of files (.txt).
            "path": "",
            # How an image becomes square: "resize" (as OFA's), "crop" or "pad".
            "fit": "resize",
        }
    )
    return config


def attack() -> ConfigDict:
    """How tuned encoder-decoders stand up to adversarial images, over the size of the change."""
    config = ask()
    config.job = "attack"
    # The prefix.safetensors or tuned.safetensors of runs on one backbone, whose held-out examples
    # config.data names.
    config.tuned = ()
    config.epsilons = (0.0, 1.0, 2.0, 4.0, 8.0)  # largest changes of a value of 0 to 255
    return config
