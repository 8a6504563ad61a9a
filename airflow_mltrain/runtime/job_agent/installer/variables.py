"""The environment variables of the tools that install packages."""

import netrc
import os
from typing import Dict, Optional

_DIVERSIONS = {  # settings that would put the packages elsewhere, or put others there
    "python": "HOME INSPECT OPTIMIZE PATH USERBASE",
    "pip_": "DRY_RUN EDITABLE IGNORE_INSTALLED NO_BUILD_ISOLATION NO_DEPS PREFIX PYTHON QUIET "
    "REPORT REQUIREMENT REQUIRE_HASHES REQUIRE_VIRTUALENV ROOT TARGET USER VERBOSE",
    "uv_": "ENV_FILE MANAGED_PYTHON NO_BUILD_ISOLATION NO_MANAGED_PYTHON NO_VERIFY_HASHES PROJECT "
    "PROJECT_ENVIRONMENT PYTHON REQUIRE_HASHES SYSTEM_PYTHON VENV_RELOCATABLE VENV_SEED "
    "WORKING_DIR WORKING_DIRECTORY",
    "": "CLICOLOR_FORCE CONDA_PREFIX FORCE_COLOR VIRTUAL_ENV",
}
_MANNERS = {
    "NO_COLOR": "1",
    "PIP_BREAK_SYSTEM_PACKAGES": "1",  # a conda environment may say that it is managed
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_USER": "0",
    "PIP_USE_PEP517": "1",  # builds apart from what is installed, as uv does
    "PYTHONNOUSERSITE": "1",
    "UV_BREAK_SYSTEM_PACKAGES": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
}


def install_variables(work: str) -> Dict[str, str]:
    """This process's environment, less what would divert an install, with `work`'s netrc."""
    variables = dict(os.environ)
    for prefix, names in _DIVERSIONS.items():
        for name in names.split():
            variables.pop(prefix.upper() + name, None)
    variables.update(_MANNERS)
    secrets = _merge_netrc(work)
    if secrets is not None:
        variables["NETRC"] = secrets
    return variables


def _merge_netrc(work: str) -> Optional[str]:
    """What is brought counts first; the machine's own file still holds for other hosts."""
    brought = os.path.join(work, "netrc")
    if not os.path.exists(brought):
        return None
    own = _read_machine_netrc()
    if own is None:
        return brought
    merged = os.path.join(work, "netrc.merged")
    with open(brought, encoding="utf-8") as file:
        text = file.read()
    descriptor = os.open(merged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("{}\n\n{}".format(own, text))  # of two entries for one host the last holds
    return merged


def _read_machine_netrc() -> Optional[str]:
    path = os.environ.get("NETRC") or os.path.join(os.path.expanduser("~"), ".netrc")
    try:
        netrc.netrc(path)  # one that cannot be parsed would spoil the other
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError, netrc.NetrcParseError):
        return None
