"""Compute targets: one module per kind, behind the protocol in `base`."""
