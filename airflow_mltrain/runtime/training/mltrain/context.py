"""Where a script runs: in which run, with what known of it, or on its own."""

import os
from typing import TYPE_CHECKING, Any, Dict, Optional

from .journal import Journal

if TYPE_CHECKING:
    from .artifact import Artifacts
    from .statement import Statements

RUN_ID_VARIABLE = "MLTRAIN_RUN_ID"
DRIVER_OF_VARIABLE = "MLTRAIN_DRIVER_OF"  # the run of a driver whose job has an id of its own
METRICS_VARIABLE = "MLTRAIN_METRICS"
CODE_VARIABLE = "MLTRAIN_CODE"
FACTS_VARIABLE = "MLTRAIN_FACTS"
CHILD_VARIABLE = "MLTRAIN_CHILD_ID"
PREVIOUS_OUTPUTS_VARIABLE = "MLTRAIN_PREVIOUS_OUTPUTS"
OFFLINE_VARIABLE = "MLTRAIN_OFFLINE"  # for a child of a script that was not submitted
OFFLINE_PREFIX = "OfflineRun_"


class JobContext:
    """What the runs of one job share: their journal, their folder, and the facts of the job."""

    def __init__(
        self, run_id: str, metrics: Optional[str], code: str, facts: Optional[str] = None
    ) -> None:
        self.run_id = run_id
        self.journal = Journal(metrics)
        self.code = code
        self._statements: "Optional[Statements]" = None
        self._facts_path = facts
        self._facts: Optional[Dict[str, Any]] = None

    @property
    def is_offline(self) -> bool:
        """Whether the script was not submitted."""
        return self.journal.is_offline

    @property
    def statements(self) -> "Statements":
        """What its scripts have said so far."""
        from .statement import Statements  # noqa: PLC0415  # most scripts only write

        if self._statements is None:
            self._statements = Statements(self.journal, self.run_id)
        return self._statements

    @property
    def artifacts(self) -> "Artifacts":
        """Its files that are kept."""
        from .artifact import Artifacts  # noqa: PLC0415  # dear at start-up

        return Artifacts(self.code)

    @property
    def facts(self) -> Dict[str, Any]:
        """What was known when the job was submitted; offline nothing."""
        if self._facts is None:
            self._facts = _read_facts(self._facts_path)
        return self._facts

    def child_variables(self, child_id: str) -> Dict[str, str]:
        """The environment of a process that is to be a child run of this job."""
        variables = dict(os.environ)
        variables[CHILD_VARIABLE] = child_id
        if self.is_offline:
            variables[OFFLINE_VARIABLE] = self.run_id
            variables[METRICS_VARIABLE] = self.journal.path
            variables[CODE_VARIABLE] = self.code
        return variables


def find_context() -> JobContext:
    """The job that this process belongs to, or a new one that nobody submitted."""
    variables = os.environ
    run_id, metrics = variables.get(RUN_ID_VARIABLE), variables.get(METRICS_VARIABLE)
    run_id = variables.get(DRIVER_OF_VARIABLE, run_id)
    if metrics is not None and run_id is None:
        run_id = variables.get(OFFLINE_VARIABLE)
    if run_id is None or metrics is None:
        import random  # noqa: PLC0415  # offline only

        name = "{:032x}".format(random.SystemRandom().getrandbits(128))
        return JobContext(OFFLINE_PREFIX + name, None, os.getcwd())
    code = variables.get(CODE_VARIABLE) or os.path.join(os.path.dirname(metrics), "code")
    return JobContext(run_id, metrics, code, variables.get(FACTS_VARIABLE))


def _read_facts(path: Optional[str]) -> Dict[str, Any]:
    import json  # noqa: PLC0415  # loaded by now

    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):  # a script may have removed the folder it lives in
        return {}
