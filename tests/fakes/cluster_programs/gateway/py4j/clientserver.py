"""A gateway whose Java is a file: what it is told of its properties is a line of JSON each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class JavaParameters:
    def __init__(self, **told: Any) -> None:
        self.told = told


class PythonParameters(JavaParameters):
    pass


class _System:
    def __init__(self) -> None:
        self._path = Path(os.environ["PROPERTIES_OF_JAVA"])

    def getProperty(self, _: str) -> str | None:  # noqa: N802 - Java's word
        return None

    def setProperty(self, name: str, value: str) -> None:  # noqa: N802 - Java's word
        with self._path.open("a") as file:
            file.write(json.dumps([name, value]) + "\n")


class ClientServer:
    def __init__(self, java: JavaParameters, python: JavaParameters) -> None:
        assert java.told["auth_token"] == os.environ["PYSPARK_GATEWAY_SECRET"]
        assert python.told["port"] == 0
        lang = type("lang", (), {"System": _System()})
        self.jvm = type("jvm", (), {"java": type("java", (), {"lang": lang})})

    def close(self) -> None:
        pass
