"""The defaults of the pretraining job."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import base, masking, next_code, sampling, training


def pretrain(
    stage: str, *, steps: int = 5_000, batch_size: int = 64, learning_rate: float = 1e-3
) -> ConfigDict:
    """The pretraining job of one stage; the sizes of its network are the config file's."""
    config = training(
        base("pretrain"), steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )
    config.train.evaluate_every = 500  # steps between held-out losses; 0: only at the end
    config.train.show_every = 0  # steps between sheets of images in progress.html; 0: none
    config.model = "masked"  # or "causal": what stage "transformer" makes
    config.tokenizer_kind = "vq"  # or "vqgan": what stage "tokenizer" makes
    config.trainable = (".*",)  # path patterns of what is trained
    config.stage = stage  # "tokenizer", "transformer" or "features"
    config.backbone = ""  # the folder that the stage before wrote; the first stage has none
    config.name = "mini"  # of the backbone
    config.store_dtype = "float32"  # of the stored weights
    config.data = ConfigDict(
        {
            # "drawn", folders, archives, and data sets that TFDS has prepared as "tfds:NAME:SPLIT".
            # Classes of the same name are one class.
            "sets": ("drawn",),
            "weights": (),  # of the sets in batches; empty: by their numbers of images
            "num": 50_000,  # how many images are drawn
            "seed": 0,  # of the drawing, of views and of what is held out
            "size": 32,  # pixels a side
            "heldout": 0.02,  # share of each class that is not trained on; 0: none
            # Side of the square that is cut out, as a share of the image's: least and most.
            "zoom": (1.0, 1.0),
            "flips": (),  # sets whose images may be mirrored
            # Shares of transparent images on white, black, one colour, and photographs.
            "grounds": (1.0, 0.0, 0.0, 0.0),
            "photographs": (),  # sets whose images serve as grounds
            "views": 1,  # codes stored of each image, for stage "transformer"
            # The middle square of an image; "resize": all of it, straight; "pad": all of it, with
            # bars in the colour of its edge.
            "fit": "crop",
            "full_scale": 0.0,  # which value of more than 8 bits is white; 0: as the files say
            "max_pixels": 300_000_000,  # larger images are skipped, and named
            "strict": False,  # refuse a folder with broken images, instead of skipping them
            "data_dir": "",  # of prepared data; empty: $TFDS_DATA_DIR, or ~/tensorflow_datasets
            "label": "label",  # what TFDS data sets call their class
        }
    )
    # How near a reconstruction is to its image: factors of the parts of the tokenizer's loss.
    config.reconstruction = ConfigDict({"l1": 1.0, "l2": 1.0})
    config.quantizer = ConfigDict(
        {
            "commitment": 0.25,  # factor of what draws features to their codes
            "codebook": 1.0,  # factor of what draws codes to their features
            "entropy": 0.02,  # factor of what keeps all codes in use
            "temperature": 0.01,  # of the entropy's probabilities
            "affinity": "softmax",  # or "argmax": how the entropy takes the choice of a code
            "ema": 0.0,  # decay of moving averages that are the codebook; 0: it has a gradient
            "revive": 0.0,  # codes that fewer features a step choose start again; 0: none
        }
    )
    # A discriminator that the tokenizer is trained against.
    config.adversarial = ConfigDict(
        {
            "weight": 0.0,  # of its term; 0: there is none
            "discriminator": "patch",  # or "stylegan"
            "loss": "hinge",  # or "non_saturating"
            "start": 0,  # step from which it plays
            "adaptive": False,  # scale the term to the gradient of the others
            "penalty": 0.0,  # cost of the gradient penalty R1
            "penalty_every": 16,  # steps between penalties
            "learning_rate": 0.0,  # of the discriminator; 0: the tokenizer's
            "width": 64,  # of "patch": of its first layer
            "layers": 3,  # of "patch": that halve the image
        }
    )
    config.masking = masking()
    config.next_code = next_code()
    config.sample = sampling()  # how sheets of stage "transformer" are decoded
    # Masks drawn a held-out image, and how many images are scored at most.
    config.score = ConfigDict({"rounds": 2, "most": 2000})
    return config
