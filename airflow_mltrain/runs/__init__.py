"""Runs: their states, their record, and the history that keeps them."""
