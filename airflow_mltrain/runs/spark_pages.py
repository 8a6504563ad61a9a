"""The pages of a run that is a Spark application."""

from __future__ import annotations

from airflow_mltrain.runs.record import RunRecord

_DRIVER_PAGES, _HISTORY_PAGES = "spark.ui_url", "spark.history_url"


def find_spark_pages(run: RunRecord) -> str:
    """Where they are: the driver's own while it runs, then those of the history server.

    Empty where there are none, or what is noted is no address that a browser may be sent to.
    """
    names = [_DRIVER_PAGES, _HISTORY_PAGES]
    if run.status.is_terminal:
        names.reverse()
    found = (run.properties.get(name, "") for name in names)
    return next((url for url in found if url.startswith(("http://", "https://"))), "")
