"""The first thing that a driver's Python runs: it becomes the script, as if nothing were between.

Arguments and output would change on their way through a Java virtual machine. So the script's
words come from a file, and what it prints goes straight into the log.
"""

import importlib
import json
import os
import signal
import sys

WORDS_VARIABLE = "MLTRAIN_SPARK_WORDS"
LOG_VARIABLE = "MLTRAIN_SPARK_LOG"
PROPERTIES_VARIABLE = "MLTRAIN_SPARK_PROPERTIES"  # a file of them, for a Java that runs already
JAVA_VARIABLE = "MLTRAIN_SPARK_JAVA"  # the process that is that Java
PACKAGES_VARIABLE = "MLTRAIN_SPARK_PACKAGES"  # where its Python finds pyspark
_ADDED_TO = ("spark.files", "spark.archives", "spark.submit.pyFiles")


def main() -> None:
    """Go on as the script; its environment is that of any other job, and Spark's gateway."""
    log = os.open(os.environ.pop(LOG_VARIABLE), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which its Java ignores
    properties = os.environ.pop(PROPERTIES_VARIABLE, None)
    if properties is not None:
        _tell_java(properties)
    path = os.environ.pop(WORDS_VARIABLE)
    with open(path, "rb") as file:
        words = file.read().split(b"\0")
    os.unlink(path)  # shows that the script has begun
    os.execv(sys.executable, [os.fsencode(sys.executable), *words])  # noqa: S606  # no shell is wanted


def _tell_java(path: str) -> None:
    """Give the Java that began this the properties of its coming session, over its own gateway."""
    py4j = importlib.import_module("py4j.clientserver")  # it comes with Spark, as that Java does
    port, token = (os.environ["PYSPARK_GATEWAY_" + name] for name in ("PORT", "SECRET"))
    java = py4j.JavaParameters(port=int(port), auth_token=token, auto_convert=True)
    gateway = py4j.ClientServer(java, py4j.PythonParameters(port=0, eager_load=False))
    system = gateway.jvm.java.lang.System
    with open(path, encoding="utf-8") as file:
        properties = json.load(file)
    os.unlink(path)
    for name, value in properties.items():
        before = system.getProperty(name) if name in _ADDED_TO else None
        system.setProperty(name, before + "," + value if before else value)
    gateway.close()  # this end of it: the script opens its own


if __name__ == "__main__":
    main()
