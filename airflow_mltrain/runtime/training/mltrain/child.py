"""The children of a run: how they are called, and which of them are meant."""

import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

_ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_LONGEST_ID = 256
_MOST_CHILDREN = 100  # at once, as in Azure ML


def name_child(parent_id: str, ending: Optional[str]) -> str:
    """The id of a child, with an ending of chance where none is given; ValueError for no id."""
    ending = os.urandom(4).hex() if ending is None else str(ending)
    if ending.startswith(parent_id + "_"):
        ending = ending[len(parent_id) + 1 :]
    child_id = "{}_{}".format(parent_id, ending)
    if not ending or not _ID_LETTERS.issuperset(ending) or len(child_id) > _LONGEST_ID:
        raise ValueError(
            "the id of a child is {}_ and letters, digits, '-' and '_', at most {} in all, "
            "not {!r}".format(parent_id, _LONGEST_ID, ending)
        )
    return child_id


def choose_tag_values(
    count: Optional[int], tag_key: Optional[str], tag_values: Optional[Sequence[Any]]
) -> List[Any]:
    """One for each child that is to be made; ValueError for too many, or none."""
    if (count is None) == (tag_values is None) or (tag_key is None) != (tag_values is None):
        raise ValueError("give either count, or tag_key and tag_values")
    values = [None] * int(count or 0) if tag_values is None else list(tag_values)
    if not 0 < len(values) <= _MOST_CHILDREN:
        raise ValueError(
            "{} children: 1 to {} can be made at once".format(len(values), _MOST_CHILDREN)
        )
    return values


def has(read: Callable[[], Dict[str, str]], asked: Union[str, Dict[str, Any], None]) -> bool:
    """Whether there is a key, or are all of these values."""
    if asked is None:
        return True
    found = read()
    if isinstance(asked, str):
        return asked in found
    return all(found.get(key) == value for key, value in asked.items())
