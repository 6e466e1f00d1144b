"""What earlier versions called config keys and jobs: old workdirs and commands still work."""

KEYS = {"source": "backbone", "models.sources": "models.backbones"}
JOBS = {"transfer": "run"}
