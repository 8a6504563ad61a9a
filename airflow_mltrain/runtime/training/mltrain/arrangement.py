"""Logged values by name, as Azure ML's `get_metrics` arranges them."""

from typing import Any, Dict, Iterable, List, Optional, Tuple

Point = Tuple[str, Any, Optional[str]]  # name, value, kind


def arrange(points: Iterable[Point]) -> Dict[str, Any]:
    """The values of each name.

    A name logged once has that value, one logged again the list of its values. Rows of one name
    are a table: a dictionary of columns.
    """
    by_name: Dict[str, List[Any]] = {}
    for name, value, kind in points:
        series = by_name.setdefault(name, [])
        if kind == "list+" and series and _are_lists([series[-1], value]):
            series[-1] = series[-1] + value
        elif kind == "table+" and series and _are_tables([series[-1], value]):
            columns = {column: None for part in (series[-1], value) for column in part}
            series[-1] = {
                column: series[-1].get(column, []) + value.get(column, []) for column in columns
            }
        else:  # also what should go on with something else, as two threads may log under one name
            series.append(value)
    return {name: _arranged(series) for name, series in by_name.items()}


def _are_lists(values: Iterable[Any]) -> bool:
    return all(isinstance(value, list) for value in values)


def _are_tables(values: Iterable[Any]) -> bool:
    return all(isinstance(value, dict) and _are_lists(value.values()) for value in values)


def _arranged(series: List[Any]) -> Any:
    if len(series) == 1:
        return series[0]
    if all(isinstance(value, dict) for value in series):
        columns = {column: None for row in series for column in row}
        return {column: [row.get(column) for row in series] for column in columns}
    return series
