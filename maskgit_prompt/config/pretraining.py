"""The defaults of the pretraining job."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import base, masking, next_code, sampling, training
from maskgit_prompt.config.multimodal import scenes


def pretrain(
    stage: str, *, steps: int = 5_000, batch_size: int = 64, learning_rate: float = 1e-3
) -> ConfigDict:
    """The pretraining job of one stage; the sizes of its network are the config file's."""
    config = training(
        base("pretrain"), steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )
    config.train.evaluate_every = 500  # steps between held-out losses; 0: only at the end
    config.train.show_every = 0  # steps between sheets of images in progress.html; 0: none
    config.train.remat = False  # recompute activations: less memory; on CPUs less time, too
    # Kind of transformer that is trained, "masked" or "causal"; of encoder, "vit" or "swin".
    config.model = "vit" if stage == "encoder" else "masked"
    config.tokenizer_kind = "vq"  # kind of tokenizer that is trained: "vq" or "vqgan"
    config.trainable = (".*",)  # patterns of the paths that are trained
    # The part to train: "tokenizer", "transformer", "features", "encoder" or "multimodal".
    config.stage = stage
    config.backbone = ""  # the folder that the stage before wrote; empty for the first stage
    # The network's first weights: "random", or "backbone", those of the backbone's own part.
    config.initial_weights = "random"
    config.name = "mini"  # the backbone's name
    config.store_dtype = "float32"  # dtype of the stored weights
    config.data = ConfigDict(
        {
            # Sets to learn from: "drawn", folders, archives, and data sets that TFDS has prepared,
            # written "tfds:NAME:SPLIT". Classes with the same name are merged.
            "sets": ("drawn",),
            "weights": (),  # one per set: its share of batches; empty: its number of images
            "num": 50_000,  # number of images in "drawn"
            "seed": 0,  # seed for drawn images, views and the choice of held-out images
            "size": 32,  # side of a view in pixels
            "heldout": 0.02,  # share of each class that is held out; 0: none
            # Smallest and largest side of the square that a view shows, relative to the image's.
            "zoom": (1.0, 1.0),
            "flips": (),  # sets whose images may be mirrored
            # How often transparent images are laid on white, black, a random colour, a photograph.
            "grounds": (1.0, 0.0, 0.0, 0.0),
            "photographs": (),  # sets whose images serve as these photographs
            "views": 1,  # stored views of each image, for stage "transformer"
            # How an image becomes square. "crop": its middle square; "resize": all of it,
            # distorted; "pad": all of it, with bars in the colour of its edge.
            "fit": "crop",
            "full_scale": 0.0,  # value of white above 8 bits; 0: as the files say
            "max_pixels": 300_000_000,  # images with more pixels are skipped and named
            "strict": False,  # refuse a folder with broken images instead of skipping them
            # Folder of the data that TFDS has prepared; empty: $TFDS_DATA_DIR, or
            # ~/tensorflow_datasets.
            "data_dir": "",
            "label": "label",  # the feature of TFDS data sets that holds the class
        }
    )
    # How near a reconstruction is to its image: factors of the parts of the tokenizer's loss.
    config.reconstruction = ConfigDict(
        {
            "l1": 1.0,  # factor of the mean of |x - y|
            "l2": 1.0,  # factor of the mean of (x - y)²
            "perceptual": 0.0,  # factor of a perceptual distance; 0: none
            # Network of this distance: "efficientnet-lite0", a backbone's name or folder, or two
            # files for LPIPS, such as "vgg16.pth,vgg.pth".
            "network": "efficientnet-lite0",
        }
    )
    config.quantizer = ConfigDict(
        {
            "commitment": 0.25,  # factor of the loss that pulls features towards their codes
            "codebook": 1.0,  # factor of the loss that pulls codes towards their features
            "entropy": 0.02,  # factor of the loss that keeps all codes in use
            "temperature": 0.01,  # temperature of the entropy loss's probabilities of codes
            # How the entropy loss counts the choice of a code: "softmax" by its probability,
            # "argmax" as one code.
            "affinity": "softmax",
            "ema": 0.0,  # decay of a codebook of moving averages; 0: the codebook has a gradient
            "revive": 0.0,  # restart codes that fewer features than this choose per step; 0: never
        }
    )
    # A discriminator that the tokenizer is trained against.
    config.adversarial = ConfigDict(
        {
            "weight": 0.0,  # factor of the adversarial loss; 0: no discriminator
            "discriminator": "patch",  # "patch" judges patches, "stylegan" the whole image
            "loss": "hinge",  # the adversarial loss: "hinge" or "non_saturating"
            "start": 0,  # the first step with the discriminator
            "adaptive": False,  # scale the adversarial loss to the gradients of the other terms
            "penalty": 0.0,  # factor of the gradient penalty R1
            "penalty_every": 16,  # steps between penalties
            "learning_rate": 0.0,  # the discriminator's learning rate; 0: the tokenizer's
            "width": 64,  # with "patch": channels of the first layer
            "layers": 3,  # with "patch": number of layers that halve the image
        }
    )
    config.scenes = scenes()  # with stage "multimodal"
    config.masking = masking()
    config.next_code = next_code()
    config.sample = sampling()  # how sheets of stage "transformer" are decoded
    config.score = ConfigDict(
        {
            "rounds": 2,  # masks per held-out image, in stage "transformer"
            "most": 2000,  # the most held-out images that are scored
        }
    )
    return config
