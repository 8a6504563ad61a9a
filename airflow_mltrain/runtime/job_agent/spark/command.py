"""The command line that begins a driver, and the files that it names."""

import os
import re
import shutil
import zipfile
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..environment import archive
from ..folder import JobFolder
from .driver import LOG_VARIABLE, WORDS_VARIABLE

KEYTAB = "<keytab>"  # where the command line names the file of it
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")  # Spark takes paths apart at commas and the like
ANY_PYTHON = "python"  # then Spark's own configuration says which
_QUICK_LAUNCHER = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # of the Java that only finds words
_MODULES_OPTIONS = "-Dspark.files={0} -Dspark.submit.pyFiles={0}"  # what --py-files comes to
_LEFT_OUT = ("outputs", "logs")
_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


class LaunchError(Exception):
    """The driver cannot begin; `exit_code` is what a shell would have said, if anything."""

    def __init__(self, reason: str, exit_code: Optional[int] = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Launch(NamedTuple):
    """A driver that is ready to begin."""

    argv: List[str]
    variables: Dict[str, str]
    words: str  # a file that is gone once the script has begun
    properties: Dict[str, str]  # that Spark was given in a file


TICKETS = "tickets"  # of Kerberos, in a driver's folder


class Scratch:
    """A folder for the files of one driver, under a path that Spark takes as it is."""

    def __init__(self, folder: JobFolder) -> None:
        self.path = os.path.join(folder.path, "spark")
        self._is_elsewhere = not _PLAIN_PATH.fullmatch(self.path)
        if self._is_elsewhere:
            import tempfile  # noqa: PLC0415  # hardly ever needed

            link, self.path = self.path, tempfile.mkdtemp(prefix="mltrain-spark-")
            os.symlink(self.path, link)  # whoever finds the job dead removes what is secret
        else:
            os.makedirs(self.path, mode=0o700, exist_ok=True)

    def file(self, name: str) -> str:
        """The path of a file in it."""
        return os.path.join(self.path, name)

    def write(self, name: str, content: bytes) -> str:
        """Have a file there that only its owner may read; its path."""
        path = self.file(name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return path

    def take(self, source: str) -> str:
        """A path of a file that lies elsewhere, fit for Spark."""
        if _PLAIN_PATH.fullmatch(source):
            return source
        path = self.file(os.path.basename(source))
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
        return path

    def remove(self) -> None:
        """Remove what may hold secrets; the rest goes with the job's folder."""
        if self._is_elsewhere:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for name in ("properties", "keytab", TICKETS):
            if os.path.exists(self.file(name)):
                os.unlink(self.file(name))


def make_launch(
    folder: JobFolder,
    spec: Dict[str, Any],
    secrets: Dict[str, Any],
    tree: Optional[str],
    scratch: Scratch,
) -> Launch:
    """What begins the job's driver, with every file that it names; `tree` is its environment."""
    told = spec["spark"]
    variables = dict(os.environ)
    program = find_submit(told["command"][0], variables)
    properties = dict(read_defaults(program, variables), **secrets["properties"])
    properties["spark.mltrain.runId"] = told["run_id"]
    argv = [program, *told["command"][1:]]
    modules = zip_modules(folder, spec, scratch)
    if told["master"].startswith("spark://") and "spark.files" not in properties:
        # As an argument, Java would load Hadoop's file systems for it before the script begins.
        options = [variables.get("SPARK_SUBMIT_OPTS", ""), _MODULES_OPTIONS.format(modules)]
        variables["SPARK_SUBMIT_OPTS"] = " ".join(options).strip()
    else:
        argv += ["--py-files", modules]
    interpreter, *words = spec["argv"]
    archives: List[str] = []
    if tree is not None:
        archives.append("{}#{}".format(scratch.take(archive.path_of(tree)), archive.NAME))
        variables["PYSPARK_DRIVER_PYTHON"] = os.path.join(tree, "bin", "python")
        variables["PYSPARK_PYTHON"] = "./{}/bin/python".format(archive.NAME)
    elif interpreter not in (ANY_PYTHON, told["default_python"]):
        variables["PYSPARK_DRIVER_PYTHON"] = variables["PYSPARK_PYTHON"] = interpreter
    if archives:
        argv += ["--archives", ",".join(archives)]
    argv += ["--properties-file", scratch.write("properties", encode_properties(properties))]
    if secrets["keytab"] is not None:
        import base64  # noqa: PLC0415  # hardly ever needed

        keytab = scratch.write("keytab", base64.b64decode(secrets["keytab"]))
        argv = [keytab if word == KEYTAB else word for word in argv]
    variables.setdefault("SPARK_LAUNCHER_OPTS", _QUICK_LAUNCHER)
    variables[LOG_VARIABLE] = folder.log
    variables[WORDS_VARIABLE] = scratch.write("words", b"\0".join(map(os.fsencode, words)))
    with open(os.path.join(os.path.dirname(__file__), "driver.py"), "rb") as file:
        argv.append(scratch.write("mltrain_driver.py", file.read()))
    return Launch(argv, variables, variables[WORDS_VARIABLE], properties)


def find_submit(program: str, variables: Dict[str, str]) -> str:
    """The path of spark-submit: that of SPARK_HOME, or the first on the PATH."""
    home = variables.get("SPARK_HOME")
    if home is not None:
        own = os.path.join(home, "bin", program)
        if os.access(own, os.X_OK):
            return own
        words = (
            "there is no program {!r} in SPARK_HOME = {} where the driver runs: install the "
            "cluster's version of Spark there, or correct `spark_home` in the compute target's "
            "settings"
        )
        raise LaunchError(words.format("bin/" + program, home), exit_code=127)
    found = shutil.which(program, path=variables.get("PATH"))
    if found is None:
        words = (
            "there is no program {!r} where the driver runs: install the cluster's version of "
            "Spark there, and name its folder as `spark_home` in the compute target's settings"
        )
        raise LaunchError(words.format(program), exit_code=127)
    return found


def find_java(variables: Dict[str, str]) -> str:
    """The Java that Spark would run; LaunchError where there is none."""
    home = variables.get("JAVA_HOME")
    java = (
        os.path.join(home, "bin", "java")
        if home
        else shutil.which("java", path=variables.get("PATH"))
    )
    if java is None or not os.access(java, os.X_OK):
        where = "in JAVA_HOME = {}".format(home) if home else "on the PATH"
        words = (
            "there is no Java {} where the driver runs: install the one that this version of "
            "Spark needs (Spark 4: Java 17 or newer), or name its folder as JAVA_HOME in "
            "`environment_variables` of the compute target's settings"
        )
        raise LaunchError(words.format(where), exit_code=127)
    return java


def read_defaults(program: str, variables: Dict[str, str]) -> Dict[str, str]:
    """The settings of this machine's Spark, which it does not read beside a file of ours."""
    home = variables.get("SPARK_HOME") or os.path.dirname(
        os.path.dirname(os.path.realpath(program))
    )
    path = os.path.join(
        variables.get("SPARK_CONF_DIR") or os.path.join(home, "conf"), "spark-defaults.conf"
    )
    found: Dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in map(str.strip, file):
                if line and line[0] not in "#!":
                    name, *value = re.split(r"\s*[=:\s]\s*", line, maxsplit=1)
                    found[name] = value[0] if value else ""
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        words = "Spark's settings where the driver runs cannot be read: {}: {}; mend or remove {}"
        raise LaunchError(words.format(type(error).__name__, error, path)) from None
    return found


def encode_properties(properties: Dict[str, str]) -> bytes:
    """As Java reads it: Latin-1, with escapes for the rest."""
    lines = (
        "{}={}\n".format(_escaped(name), _escaped(value)) for name, value in properties.items()
    )
    return "".join(lines).encode("ascii")


def _escaped(text: str) -> str:
    found = "".join(_ESCAPED.get(letter, letter) for letter in text)
    found = re.sub(r"^ |[=:#!]", lambda match: "\\" + match.group(), found)
    units = (letter if " " <= letter <= "~" else _in_units(letter) for letter in found)
    return "".join(units)


def _in_units(letter: str) -> str:
    encoded = letter.encode("utf-16-be", "surrogatepass")
    pairs = (encoded[at : at + 2].hex() for at in range(0, len(encoded), 2))
    return "".join("\\u" + pair for pair in pairs)


def zip_modules(folder: JobFolder, spec: Dict[str, Any], scratch: Scratch) -> str:
    """What a function can import on an executor: the snapshot's modules, and `mltrain`."""
    path = scratch.file("code.zip")
    with zipfile.ZipFile(path, "w") as file:
        for source, name in _training_modules(spec["training_modules"]):
            file.write(source, name)
        for source, name in _modules(folder.code):
            file.write(source, name)
    return path


def _training_modules(top: str) -> Iterator[Tuple[str, str]]:
    """Folders too: without an entry of its own, a package that has no file is not found."""
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in [*folders, *sorted(name for name in names if name.endswith(".py"))]:
            source = os.path.join(parent, name)
            yield source, os.path.relpath(source, top)


def _modules(code: str) -> Iterator[Tuple[str, str]]:
    """Every Python file, and all that lies in a package: it may be its data."""
    for parent, folders, names in os.walk(code):
        below = os.path.relpath(parent, code)
        if below == ".":
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
        is_package = "__init__.py" in names
        for name in names:
            source = os.path.join(parent, name)
            if (is_package or name.endswith(".py")) and os.path.isfile(source):
                yield source, os.path.normpath(os.path.join(below, name))
