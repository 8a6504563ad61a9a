"""Everything this package raises on purpose, as one tree.

MLTrainError
+-- ConfigurationError         what a user wrote cannot work; names the key and what would be right
|   +-- AbsentError                a part of Azure ML's SDK that is not here; says what is instead
+-- SnapshotError              the source directory cannot be stored as it is
+-- ArtifactError              the artifact store cannot be read or written
|   +-- StoreUnreachableError      it does not answer now; runs go on
+-- TargetError                a compute target
|   +-- TargetNotFoundError        no such target
|   +-- TargetUnreachableError     it does not answer now; the fate of its runs is unchanged
|   +-- JobStartError              it answered, and refused to start the job
+-- RunHistoryError            the run history
|   +-- RunNotFoundError           no such run
|   +-- RunHistoryUnavailableError the database does not answer now; runs go on
|   +-- SchemaVersionError         made by a newer version of this package
+-- RunFailedError             a run that was waited for ended as Failed
+-- RunCanceledError           a run that was waited for ended as Canceled
+-- WaitTimeoutError           the wait ended before the run; the run goes on
    +-- UnreachableTimeoutError    as its target, the run history or the store was silent for long
"""

from __future__ import annotations


class MLTrainError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(MLTrainError):
    """What a user wrote cannot work; repeating it unchanged cannot help."""


class AbsentError(ConfigurationError, AttributeError):
    """Something of Azure ML's SDK that is not here was used; says what to do instead."""


class SnapshotError(MLTrainError):
    """The source directory cannot be stored as it is; names the path and the remedy."""


class ArtifactError(MLTrainError):
    """The artifact store cannot be read or written; nothing half-written is left in use."""


class StoreUnreachableError(ArtifactError):
    """The artifact store does not answer now; runs go on, and the call may be repeated."""


class TargetError(MLTrainError):
    """A compute target could not do what it was asked."""


class TargetNotFoundError(TargetError):
    """No compute target has this name."""


class TargetUnreachableError(TargetError):
    """The target does not answer now; its runs go on, and the call may be repeated."""


class JobStartError(TargetError):
    """The target answered and refused to start the job; nothing was started."""


class RunHistoryError(MLTrainError):
    """The run history could not do what it was asked."""


class RunNotFoundError(RunHistoryError):
    """No run has this id in this run history."""


class RunHistoryUnavailableError(RunHistoryError):
    """The database does not answer now; runs go on, and the call may be repeated."""


class SchemaVersionError(RunHistoryError):
    """The run history was made by a newer version of this package."""


class RunFailedError(MLTrainError):
    """A run that was waited for ended as Failed; the message says why and shows the log's end."""

    def __init__(self, message: str, *, run_id: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.exit_code = exit_code


class RunCanceledError(MLTrainError):
    """A run that was waited for ended as Canceled."""


class WaitTimeoutError(MLTrainError):
    """The wait ended before the run did; the run goes on and can be waited for again."""


class UnreachableTimeoutError(WaitTimeoutError):
    """The wait ended because nothing had answered it for long; the message says how to go on."""
