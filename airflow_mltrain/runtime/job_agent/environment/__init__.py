"""The environments of a machine: found, leased, built, collected."""
