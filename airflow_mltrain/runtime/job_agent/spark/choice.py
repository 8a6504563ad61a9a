"""Which master puts the drivers of a run on its cluster."""

from typing import Any, Dict

from ..folder import JobFolder
from .master import DriverMaster


def choose_master(
    folder: JobFolder, told: Dict[str, Any], secrets: Dict[str, Any]
) -> DriverMaster:
    """The one of the cluster manager that the job names; its `close` is the caller's to call.

    Raises LaunchError where this machine lacks what it is asked by.
    """
    if told["manager"] == "standalone":
        from .standalone import StandaloneMaster  # noqa: PLC0415  # one of three

        return StandaloneMaster(told)
    from .submission import Submission  # noqa: PLC0415  # as above

    submission = Submission(folder, told, secrets)
    if told["manager"] == "yarn":
        from .yarn import YarnMaster  # noqa: PLC0415  # as above

        return YarnMaster(told, submission)
    from .kubernetes import KubernetesMaster  # noqa: PLC0415  # as above

    return KubernetesMaster(told, submission)
