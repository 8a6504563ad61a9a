"""The environments of a machine: found, leased, built, collected."""

ENVIRONMENTS_IN_IMAGE = "/opt/mltrain/envs"  # where an image has some of its own
