"""What every run history promises; a database's test file says where an empty one lies."""

from __future__ import annotations

from tests.contracts.history_environment import EnvironmentContract
from tests.contracts.history_experiment import ExperimentContract
from tests.contracts.history_log_position import LogPositionContract
from tests.contracts.history_metrics import MetricsContract
from tests.contracts.history_progress import ProgressContract
from tests.contracts.history_resolution import ResolutionContract
from tests.contracts.history_script import ScriptContract
from tests.contracts.history_sharing import SharingContract
from tests.contracts.history_submission import SubmissionContract


class RunHistoryContract(
    SubmissionContract,
    ProgressContract,
    MetricsContract,
    ScriptContract,
    LogPositionContract,
    EnvironmentContract,
    ExperimentContract,
    ResolutionContract,
    SharingContract,
):
    """Run by a subclass with the fixture `history_url`, new and empty for each test."""
