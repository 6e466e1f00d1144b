"""What earlier versions called config keys and jobs, and did where they had no key.

Old workdirs and commands still work.
"""

KEYS = {"source": "backbone", "models.sources": "models.backbones"}
JOBS = {"transfer": "run"}
# Keys that earlier versions did not have -> what they did.
ADDED = {"data.fit": "crop"}
