"""What a training script imports; on a compute target the same module comes along with the run."""

from airflow_mltrain.runtime.training.mltrain import Run, __getattr__, _OfflineRun

__all__ = ["Run", "_OfflineRun", "__getattr__"]
