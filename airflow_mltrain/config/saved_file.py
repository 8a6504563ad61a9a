"""A config in a file of its own, as JSON."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from airflow_mltrain.config.model import ConfigModel, validate_again
from airflow_mltrain.config.small_file import read_small
from airflow_mltrain.errors import ConfigurationError

_Model = TypeVar("_Model", bound=ConfigModel)


def save(config: ConfigModel, path: Path, *, overwrite: bool) -> None:
    """Write `config`, whole or not at all; raises ConfigurationError where that cannot be.

    It is validated again before, so that what is written can be read. A file that exists is
    refused unless it may be overwritten, also where two write at once.
    """
    checked = validate_again(config)
    content = json.dumps(checked.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    write_whole(path, content, overwrite=overwrite)


def write_whole(path: Path, content: str, *, overwrite: bool = True) -> None:
    """Write a file, whole or not at all; raises ConfigurationError where that cannot be.

    A file that is written over stays as readable, or as private, as it was, and a symbolic link
    leads to it still.
    """
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        draft.touch(0o666 if mode is None else 0o600, exist_ok=False)
        try:
            draft.write_text(content, encoding="utf-8")
            if mode is not None:
                draft.chmod(mode)
            if overwrite:
                draft.replace(target)
            else:
                os.link(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists; save to another directory, or with overwrite=True"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def read_saved(model: type[_Model], path: Path) -> _Model:
    """Read what `save` wrote; raises ConfigurationError, which names the file."""
    try:
        content = json.loads(read_small(path))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{path} is not JSON; save the environment again") from None
    try:
        return model.model_validate(content)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
