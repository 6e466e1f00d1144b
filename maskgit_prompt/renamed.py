"""What earlier versions called config keys and jobs: old workdirs and commands still work."""

KEYS = {"source": "backbone", "models.sources": "models.backbones"}
JOBS = {"transfer": "run"}
# Keys that came later, each with the value that means what was done before there was a choice.
ADDED = {
    "attention": "auto",
    "data.fit": "crop",
    "optimizer.decays": [],
    "optimizer.momentum": 0.9,
    "optimizer.name": "adamw",
    "optimizer.nesterov": False,
    "optimizer.rates": [],
    "task": "generation",
    "trainable": [".*"],
}
