"""Objects below one URL, by keys, through fsspec; what goes wrong there is told in our words."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_mltrain.artifacts.file_system import FileSystem, open_file_system
from airflow_mltrain.artifacts.store_secrets import StoreSecrets
from airflow_mltrain.errors import ArtifactError, MLTrainError, StoreUnreachableError

if TYPE_CHECKING:
    from airflow_mltrain.settings import StoreUrl

_T = TypeVar("_T")
_R = TypeVar("_R")

# Where an object appears whole when the last byte of it has come; elsewhere it is moved there.
_OBJECT_STORES: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"}
)
_AT_ONCE: Final = 16
_PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 4
_TIMES: Final = ("LastModified", "last_modified", "mtime", "updated", "created")
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_SILENT_ERRORS: Final = frozenset(  # of Python, botocore, aiohttp and fsspec, by name
    {"ConnectionError", "TimeoutError", "gaierror", "HTTPClientError", "ClientConnectionError"}
    | {"ClientPayloadError"}
)
_UNREACHABLE: Final = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
_OVERLOADED: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class ListedObject:
    """One object as a listing has it."""

    key: str
    size_bytes: int
    modified_at: float


class Objects:
    """Any number of threads and processes may use one; a forked process gets its own connections.

    Every call raises ArtifactError, with no secret in it, where the store does not answer,
    refuses, or has no room.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._is_object_store = url.scheme in _OBJECT_STORES
        self._is_s3 = url.scheme in ("s3", "s3a")
        self._opened: tuple[int, FileSystem] | None = None
        self._secrets = StoreSecrets()

    def connect(self) -> None:
        """Look up what is needed to reach the store, where that was not done before."""
        with self._explained():
            self._open()

    def uri(self, key: str) -> str:
        """Where an object lies, as a URI."""
        return f"{self._url}/{key}"

    def find(self, key: str) -> ListedObject | None:
        """What is known of an object; None where there is none."""
        with self._explained():
            system = self._open()
            system.fs.invalidate_cache()
            path = system.path(key)
            try:
                info = self._head(system.fs, path) if self._is_s3 else system.fs.info(path)
            except FileNotFoundError as error:
                _require_bucket(error)
                return None
            return None if info.get("type") == "directory" else _listed(key, info)

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes | None:
        """The bytes of an object that has some, or a range of them; None where there is none."""
        with self._explained():
            system = self._open()
            try:
                content: bytes = system.fs.cat_file(system.path(key), start=start, end=end)
            except FileNotFoundError as error:
                _require_bucket(error)
                return None
            return content

    def read_parts(self, key: str, size: int) -> Iterator[bytes]:
        """The bytes of an object of that size, a part at a time; less where it is shorter."""
        for start in range(0, size, _PART_BYTES):
            part = self.read(key, start, min(start + _PART_BYTES, size))
            if not part:
                return
            yield part

    def write(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all; one of that name is replaced."""
        self._put(key, lambda fs, path: fs.pipe_file(path, data))

    def create(self, key: str, data: bytes) -> None:
        """The same, but where there is one of that name it stays, as far as the store can do that.

        Which one there is then has to be read. Raises what the store said where that is an error.
        """
        if not self._is_object_store:
            if self.find(key) is None:
                self.write(key, data)
            return
        with self._explained():
            system = self._open()
            try:
                system.fs.pipe_file(system.path(key), data, mode="create")
            except FileExistsError:
                return
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                system.fs.pipe_file(system.path(key), data)

    def upload(self, source: Path, key: str) -> None:
        """Write a file's content as an object, whole or not at all, in parts where it is large."""
        parts: dict[str, Any] = {}
        if self._is_s3:
            parts = {"chunksize": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE}
        self._put(key, lambda fs, path: fs.put_file(os.fspath(source), path, **parts))

    def list_below(self, prefix: str) -> list[ListedObject]:
        """Every object whose key begins with that prefix and a slash."""
        with self._explained():
            system = self._open()
            system.fs.invalidate_cache()
            base = system.path(prefix)
            try:
                found: dict[str, dict[str, Any]] = system.fs.find(base, detail=True)
            except FileNotFoundError as error:
                _require_bucket(error)
                return []
            start = len(base.rstrip("/")) + 1
            return [
                _listed(f"{prefix}/{path[start:]}", info)
                for path, info in found.items()
                if path.startswith(f"{base}/") and info.get("type") != "directory"
            ]

    def remove(self, keys: Collection[str], check: Callable[[], None] | None = None) -> None:
        """Remove objects; those that are not there are none the less gone.

        What `check` raises before one of them is raised.
        """

        def remove(key: str) -> None:
            if check is not None:
                check()
            self._remove(key)

        self.for_each(remove, keys)  # many in one request, and s3fs tells of no failure

    def for_each(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """What a function that asks the store gives for each item, many at once."""
        wanted = list(items)
        self.connect()
        if len(wanted) < 2 or not self._open().fs.async_impl:  # noqa: PLR2004 - one alone
            return [function(item) for item in wanted]
        pool = ThreadPoolExecutor(min(_AT_ONCE, len(wanted)), "mltrain-artifacts")
        try:
            return list(pool.map(function, wanted))
        finally:
            pool.shutdown(cancel_futures=True)

    def _remove(self, key: str) -> None:
        with self._explained(), suppress(FileNotFoundError):
            system = self._open()
            system.fs.rm_file(system.path(key))

    @staticmethod
    def _head(fs: Any, path: str) -> dict[str, Any]:
        """The same as `info`, which would look for a folder of that name too."""
        bucket, key, _ = fs.split_path(path)
        found: dict[str, Any] = fs.call_s3("head_object", Bucket=bucket, Key=key)
        return {"size": found["ContentLength"], "LastModified": found["LastModified"]}

    def _put(self, key: str, write: Callable[[Any, str], object]) -> None:
        with self._explained():
            system = self._open()
            path = system.path(key)
            if self._is_object_store:
                write(system.fs, path)
                return
            draft = f"{path}.{token_hex(8)}.part"
            system.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                write(system.fs, draft)
                system.fs.mv(draft, path)
            except BaseException:
                with suppress(Exception):
                    system.fs.rm_file(draft)
                raise

    def _open(self) -> FileSystem:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), open_file_system(self._url, self._secrets))
        return self._opened[1]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except MLTrainError:
            raise
        except Exception as error:
            kind = StoreUnreachableError if _is_silence(error) else ArtifactError
            words = self._secrets.hide(self._describe(error))
            if self._secrets.are_told_by(error):
                raise kind(words) from None  # who prints an error prints what it came of
            raise kind(words) from error

    def _describe(self, error: Exception) -> str:
        said = str(error) or type(error).__name__
        start = f"the artifact store {self._url}"
        if isinstance(error, ImportError):
            extra = "'airflow-mltrain[s3]'" if self._is_s3 else "what it names"
            return f"{start} cannot be reached without a package: {said}; install {extra}"
        if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
            return (
                f"the artifact store {self._url} refuses this process: {said}; see which "
                "credentials it has, and what these may do there, then repeat"
            )
        if isinstance(error, FileNotFoundError):
            return (
                f"{start} is not there: {said}; make that bucket or folder, or name another one "
                "in [mltrain] artifacts"
            )
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return f"{start} has no room: {said}; make some, then repeat"
        return (
            f"{start} does not answer as it should: {type(error).__name__}: {said}; see that it "
            "runs and can be reached from here, then repeat"
        )


def _require_bucket(error: FileNotFoundError) -> None:
    """Raise it again where it is not the object but its bucket that is missing."""
    response = getattr(error.__cause__, "response", None) or {}
    if response.get("Error", {}).get("Code") == "NoSuchBucket":
        raise error


def _is_silence(error: Exception) -> bool:
    """Whether asking again may help: no answer came, or one that says so."""
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _OVERLOADED
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return True
    return any(kind.__name__ in _SILENT_ERRORS for kind in type(error).__mro__)


def _listed(key: str, info: dict[str, Any]) -> ListedObject:
    moment = next((info[name] for name in _TIMES if info.get(name) is not None), 0.0)
    instant = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    return ListedObject(key, int(info.get("size") or 0), instant)
