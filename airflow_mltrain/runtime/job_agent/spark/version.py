"""Which version of Spark a spark-submit belongs to."""

import contextlib
import os
import re
from typing import Dict, Optional

_CORE = re.compile(r"spark-core_[\d.]+-(.+)\.jar")


def find_version(program: str, variables: Dict[str, str]) -> Optional[str]:
    """The version, by its libraries; None where they are not where they are looked for."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(program)))
    places = [variables.get("SPARK_HOME") or home, home]
    libraries = os.path.join(home, "lib")
    with contextlib.suppress(OSError):  # one that pip installed
        places += [
            os.path.join(libraries, name, "site-packages", "pyspark")
            for name in os.listdir(libraries)
        ]
    for place in places:
        with contextlib.suppress(OSError):
            for name in os.listdir(os.path.join(place, "jars")):
                match = _CORE.fullmatch(name)
                if match:
                    return match.group(1)
    return None
