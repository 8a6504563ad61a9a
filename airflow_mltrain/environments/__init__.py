"""Environments: what a job needs before its script can run."""
