"""What a script asks for that runs another as its child."""

import shlex
from typing import Any, List, Optional, Sequence, Union

_HERE = (None, "", "local")


class ScriptRunConfig:
    """A script, or a command, that is to run as a child of the calling run.

    It runs on the same machine and in the same environment: another target or environment is
    refused with ValueError.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # Azure ML's signature
        self,
        source_directory: str = ".",
        script: Optional[str] = None,
        arguments: Union[str, Sequence[Any], None] = None,
        run_config: Any = None,
        _telemetry_values: Any = None,
        compute_target: Any = None,
        environment: Any = None,
        distributed_job_config: Any = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[float] = None,
        command: Union[str, Sequence[Any], None] = None,
        docker_runtime_config: Any = None,
    ) -> None:
        elsewhere = {
            "run_config": run_config,
            "environment": environment,
            "distributed_job_config": distributed_job_config,
            "resume_from": resume_from,
            "docker_runtime_config": docker_runtime_config,
            "max_run_duration_seconds": max_run_duration_seconds,
            "compute_target": None if compute_target in _HERE else compute_target,
        }
        named = [name for name, value in elsewhere.items() if value is not None]
        if named:
            raise ValueError(
                "{}: a script that another one submits runs on the same machine, in the same "
                "environment; leave this out, or submit it from a Dag".format(", ".join(named))
            )
        if (script is None) == (command is None):
            raise ValueError("give either a script or a command")
        self.source_directory = source_directory
        self.script = script
        self.arguments = _words(arguments)
        self.command = _words(command)

    def argv(self, interpreter: str) -> List[str]:
        """The words of the command line."""
        begin = self.command if self.script is None else [interpreter, self.script]
        return [*begin, *self.arguments]


def _words(given: Union[str, Sequence[Any], None]) -> List[str]:
    if given is None:
        return []
    return shlex.split(given) if isinstance(given, str) else [str(word) for word in given]
