"""`mltrain ...`: what a person does from a terminal."""

from airflow_mltrain.cli.program import main

__all__ = ["main"]
