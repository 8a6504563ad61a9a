"""What each exit code of a script means to whoever waits for its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from airflow_mltrain.config.exit_action import ExitAction

_MOST_EXIT_CODE: Final = 255
_MOST_PREEMPTIONS: Final = 10_000


def _read_code(given: object) -> int:
    is_text = isinstance(given, str) and given.isascii() and given.isdigit()  # as JSON has it
    if is_text or (isinstance(given, int) and not isinstance(given, bool)):
        code = int(given)  # type: ignore[call-overload]  # it is one of the two
        if 0 < code <= _MOST_EXIT_CODE:
            return int(code)
    raise ValueError(
        f"exit code {given!r:.40} should be a whole number from 1 to {_MOST_EXIT_CODE}; 0 is a "
        "success, whatever is said of it"
    )


def _read_policy(given: object) -> object:
    if not isinstance(given, Mapping):
        return given
    policy: dict[int, str] = {}
    for key, action in given.items():
        code = _read_code(key)
        if code in policy:
            raise ValueError(f"exit code {code} should be there once")
        try:
            policy[code] = str(ExitAction(action))
        except ValueError:
            words = ", ".join(map(repr, map(str, ExitAction)))
            raise ValueError(f"exit code {code} should be one of {words}") from None
    return policy


def _refuse_bool(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("it should be a whole number")  # noqa: TRY004 - pydantic collects ValueErrors
    return given


ExitWord: TypeAlias = Literal["retry", "fail", "skip", "preempted"]
"""Those of `ExitAction`, as a user writes them."""

ExitCodePolicy: TypeAlias = Annotated[dict[int, ExitWord], BeforeValidator(_read_policy)]
"""What is not in it is a failure to be retried."""

PreemptionCount: TypeAlias = Annotated[
    int, BeforeValidator(_refuse_bool), Field(ge=0, le=_MOST_PREEMPTIONS)
]
