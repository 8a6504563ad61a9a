"""Why a driver failed, in words that say what to do, from what Spark has said."""

import re
from typing import List, NamedTuple, Optional

from .cluster import Cluster

_SHOWN_LINES = 30
_CALM = re.compile(r"^\S+ \S+ (INFO|DEBUG|TRACE) |^\s*$|^WARNING: Using incubator")


class _Sign(NamedTuple):
    """A pattern in the words of Spark, and what it means."""

    pattern: str
    meaning: str


_SIGNS = (
    _Sign(
        r"UnsupportedClassVersionError|class file version \d+|Unrecognized option: --add-modules"
        r"|Unrecognized VM option",
        "its Java is too old for this version of Spark: install a newer one (Spark 4: Java 17 or "
        "newer), and name its folder as JAVA_HOME in `environment_variables` of the compute "
        "target's settings",
    ),
    _Sign(
        r"JAVA_HOME is not set|java: (command )?not found",
        "there is no Java where the driver runs: install the one that this version of Spark "
        "needs, or name its folder as JAVA_HOME in `environment_variables` of the compute "
        "target's settings",
    ),
    _Sign(
        r"unresolved dependency: (?P<what>[^\s:\]]+)",
        "a package does not resolve ({what}): see that its Maven coordinates in spark.packages "
        "are group:artifact:version of something that exists, and that the driver's machine "
        "reaches Maven Central or one of spark.repositories",
    ),
    _Sign(
        r"PYTHON_VERSION_MISMATCH.*?(?P<what>\d+\.\d+)\D+?(?P<other>\d+\.\d+)",
        "the Python of the executors is another than the driver's ({what}, {other}): give the run "
        "an environment, which is sent to both, or name an interpreter that all have as `python` "
        "in the compute target's settings",
    ),
    _Sign(
        r"Cannot run program \"?(?P<what>\./environment/bin/python)",
        "an executor cannot start the environment's Python: the interpreter that it was built on "
        "has to be on every worker under the same path; install it there, or take Python from "
        "conda packages",
    ),
    _Sign(
        r"Cannot run program \"?(?P<what>[^\"\s:]+)",
        "an executor cannot start {what}: install it on every worker, or give the run an "
        "environment, which is sent there",
    ),
    _Sign(
        r"local class incompatible|InvalidClassException|NoSuchMethodError: .*org\.apache\.spark",
        "the Spark of the driver's machine is another version than the cluster's{versions}: use "
        "the cluster's, and name its folder as `spark_home` in the compute target's settings",
    ),
    _Sign(
        r"Application has been killed\. Reason: (?P<what>.*)",
        "its master ended the application: {what}",
    ),
    _Sign(
        r"Master removed our application: (?P<what>\w+)",
        "its master removed the application ({what}): see the master's pages, and the logs of the "
        "executors there",
    ),
)
_NO_MASTER = r"All masters are unresponsive"


def diagnose(spark_log: str, cluster: Cluster, own_version: Optional[str]) -> Optional[str]:
    """What went wrong, as far as Spark's words show; None where nobody but the script knows."""
    version = cluster.find_version() if own_version is not None else None
    versions = "" if version is None else " ({} here, {} there)".format(own_version, version)
    if re.search(_NO_MASTER, spark_log):
        return _blame_master(cluster, version, own_version, versions)
    for sign in _SIGNS:
        match = re.search(sign.pattern, spark_log)
        if match:
            return sign.meaning.format(versions=versions, **match.groupdict())
    return None


def _blame_master(
    cluster: Cluster, version: Optional[str], own_version: Optional[str], versions: str
) -> str:
    deaf = cluster.find_deaf_master()
    if deaf is not None:
        return (
            "the master does not answer ({}): see that it runs, and that host and port of the "
            "connection are right and reached from where the driver runs".format(deaf)
        )
    if version is not None and version != own_version:
        return (
            "the master does not understand the Spark of the driver's machine{}: use the "
            "cluster's version, and name its folder as `spark_home` in the compute target's "
            "settings".format(versions)
        )
    return (
        "the master takes connections and registers no application: see that port of the "
        "connection is the master's own (7077, not that of its pages), that the versions of Spark "
        "are the same, and the master's log"
    )


def last_words(spark_log: str) -> List[str]:
    """The last lines of Spark's log that are no mere information."""
    return [line for line in spark_log.splitlines() if not _CALM.match(line)][-_SHOWN_LINES:]
