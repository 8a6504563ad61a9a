"""Files of a run: what a script keeps on purpose, below the run's `outputs/` and `logs/`."""

import contextlib
import os
import re
import shutil
from typing import Any, Iterator, List

_KEPT = ("outputs", "logs")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_ALIKE = 100_000


class Artifacts:
    """The kept folders of a run, which lie in its source directory."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def keep(self, name: str, source: Any) -> str:
        """Copy a file, or what a stream has, to where it is kept; the name it is kept under.

        A name below neither `outputs/` nor `logs/` is one below `outputs/`. ValueError where it
        leads out of them, FileExistsError where there is such a file; one that is there already
        by its own path stays as it is.
        """
        kept = kept_name(name)
        place = self._place(kept)
        if not hasattr(source, "read"):
            source = os.fspath(source)
            if not os.path.isfile(source):
                raise FileNotFoundError("there is no file {!r}".format(source))
            if os.path.exists(place) and os.path.samefile(source, place):
                return kept
        with _new_file(place, kept) as draft, open(draft, "wb") as file:
            if hasattr(source, "read"):
                _copy_stream(source, file)
            else:
                with open(source, "rb") as content:
                    shutil.copyfileobj(content, file)
        return kept

    def keep_folder(self, name: str, source: str) -> List[str]:
        """Copy the files below a folder, each as `keep` does; the names they are kept under."""
        if not os.path.isdir(source):
            raise NotADirectoryError("there is no folder {!r}".format(source))
        found = []
        for parent, _, names in os.walk(source):
            for one in sorted(names):
                path = os.path.join(parent, one)
                if os.path.isfile(path):  # no pipe, device, or link to nothing
                    found.append((os.path.relpath(path, source), path))
        prefix = name.rstrip("/")
        return [self.keep("{}/{}".format(prefix, below), path) for below, path in found]

    def draw(self, name: str, plot: Any) -> str:
        """Keep a figure, anything with `savefig`, as an image; the name it is kept under."""
        return self._number(name, ".png", lambda path: plot.savefig(path, format="png"))

    def keep_image(self, name: str, path: str) -> str:
        """Keep an image file under a name of its own; the name it is kept under."""
        ending = _UNSAFE.sub("", os.path.splitext(path)[1])
        return self._number(name, ending, lambda place: shutil.copyfile(path, place))

    def names(self) -> List[str]:
        """What would be kept if the run ended now."""
        found = []
        for top in _KEPT:
            for parent, _, names in os.walk(os.path.join(self._folder, top)):
                paths = (os.path.join(parent, one) for one in names)
                found += [
                    os.path.relpath(path, self._folder) for path in paths if os.path.isfile(path)
                ]
        return sorted(found)

    def path(self, name: str) -> str:
        """Where a kept file or folder lies; FileNotFoundError where there is none."""
        place = self._place(kept_name(name))
        if os.path.exists(place):
            return place
        raise FileNotFoundError("the run keeps nothing as {!r}".format(kept_name(name)))

    def _number(self, name: str, ending: str, write: Any) -> str:
        stem = "outputs/images/" + (_UNSAFE.sub("_", name)[:100].strip(".") or "image")
        for number in range(_MOST_ALIKE):
            kept = "{}{}{}".format(stem, "_{}".format(number) if number else "", ending)
            with contextlib.suppress(FileExistsError), _new_file(self._place(kept), kept) as draft:
                write(draft)
                return kept
        raise FileExistsError("there are {:,} images {!r}".format(_MOST_ALIKE, name))

    def _place(self, kept: str) -> str:
        place = os.path.join(self._folder, kept)
        top = os.path.realpath(os.path.join(self._folder, kept.split("/", 1)[0]))
        inside = os.path.realpath(os.path.dirname(place))
        if inside != top and not inside.startswith(top + os.sep):
            raise ValueError("{!r} is behind a link that leads out of the outputs".format(kept))
        return place


def kept_name(name: str) -> str:
    """The name that a file is kept under; ValueError where it leads anywhere else."""
    parts = str(name).split("/")
    is_whole = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    if not is_whole:
        raise ValueError(
            "{!r} cannot be the name of a kept file: give a path below outputs/, as in "
            "'outputs/model.pkl'".format(name)
        )
    return "/".join(parts if parts[0] in _KEPT and len(parts) > 1 else ["outputs", *parts])


@contextlib.contextmanager
def _new_file(place: str, kept: str) -> Iterator[str]:
    """Yield a draft that becomes a new file, whole or not at all."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    try:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        raise FileExistsError("the run has a file {!r} already".format(kept)) from None
    draft = os.path.join(os.path.dirname(place), ".{}.part".format(os.urandom(8).hex()))
    try:
        yield draft
        os.replace(draft, place)
    except BaseException:
        for left in (draft, place):
            with contextlib.suppress(OSError):
                os.unlink(left)
        raise


def _copy_stream(stream: Any, file: Any) -> None:
    while True:
        content = stream.read(1024 * 1024)
        if not content:
            return
        file.write(content.encode() if isinstance(content, str) else content)
