"""The facts of a driver's machine and of its cluster; nothing is judged here."""

import os
import subprocess
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .cluster import Cluster
from .command import LaunchError, find_java, find_submit
from .version import find_version

_PATIENCE_SECONDS = 15.0


def examine_spark(
    program: str,
    variables: Mapping[str, str],
    master: str,
    pages: Optional[str],
    gateway: Optional[List[Tuple[str, int]]],
    manager: Optional[str],
) -> Dict[str, Any]:
    """What drivers find here that begin with these variables; takes seconds, changes nothing.

    Those that a manager is to put on its cluster find what it is asked by: a gateway, `yarn`.
    """
    begun_with = dict(os.environ, **variables)
    cluster = Cluster(master, pages)
    return {
        "submit": _submit(program, begun_with),
        "java": _java(begun_with),
        "deaf_master": cluster.find_deaf_master(),
        "cluster_version": cluster.find_version(),
        "workers": cluster.list_workers(),
        "gateway": None if gateway is None else _gateway(gateway),
        "yarn": _yarn(begun_with) if manager == "yarn" else None,
    }


def _gateway(addresses: List[Tuple[str, int]]) -> Dict[str, Any]:
    from .gateway import Gateway  # noqa: PLC0415  # few clusters are asked
    from .master import UnheardError  # noqa: PLC0415  # as above

    try:
        return {"version": Gateway([(host, port) for host, port in addresses]).version()}
    except UnheardError as error:
        return {"error": str(error)}


def _yarn(variables: Dict[str, str]) -> Dict[str, Any]:
    from .yarn import find_yarn  # noqa: PLC0415  # as above

    try:
        return {"path": find_yarn(variables)}
    except LaunchError as error:
        return {"error": str(error)}


def _submit(program: str, variables: Dict[str, str]) -> Dict[str, Any]:
    try:
        path = find_submit(program, variables)
    except LaunchError as error:
        return {"error": str(error)}
    return {"path": path, "version": find_version(path, variables)}


def _java(variables: Dict[str, str]) -> Dict[str, Any]:
    try:
        path = find_java(variables)
        answer = subprocess.run(
            [path, "-version"],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_SECONDS,
            check=True,
        )
    except LaunchError as error:
        return {"error": str(error)}
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": "the Java of the driver's machine does not run: {}".format(error)}
    lines = answer.stdout.decode(errors="replace").splitlines()
    told = [line for line in lines if "version" in line]
    return {"path": path, "version": told[0] if told else "of unknown version"}
