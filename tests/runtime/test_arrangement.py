from __future__ import annotations

import pytest

from airflow_mltrain.runtime.training.mltrain.arrangement import arrange


def test_parts_of_a_list_and_of_a_table_are_put_together() -> None:
    points = [
        ("sizes", [1, 2], "list"),
        ("sizes", [3], "list+"),
        ("scores", {"a": [1], "b": [2]}, "table"),
        ("scores", {"b": [3], "c": [4]}, "table+"),
    ]

    assert arrange(points) == {"sizes": [1, 2, 3], "scores": {"a": [1], "b": [2, 3], "c": [4]}}


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ({"a": [1]}, {"a": 5}, "table+"),
        ({"a": 1}, {"a": [5]}, "table+"),
        ({"a": [1]}, [1], "table+"),
        ([1], 3, "list+"),
        (3, [1], "list+"),
    ],
)
def test_what_does_not_fit_what_it_should_go_on_with_is_a_value_of_its_own(
    first: object, second: object, kind: str
) -> None:
    arranged = arrange([("n", first, None), ("n", second, kind)])["n"]

    assert arranged in ([first, second], {"a": [[1], 5]}, {"a": [1, [5]]})
