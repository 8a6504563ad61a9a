"""A run to look at while it goes on, in a notebook or a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from airflow_mltrain import progress
from airflow_mltrain.absent import refuse_given
from airflow_mltrain.errors import MLTrainError
from airflow_mltrain.run_view import RunView, render_html, render_text, view_run
from airflow_mltrain.silence import UNANSWERED

if TYPE_CHECKING:
    from airflow_mltrain.run import Run

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 10.0


class RunDetails:
    """Shows a run as it goes on; what it shows is escaped, whatever its script says."""

    def __init__(self, run_instance: Run) -> None:
        self._run = run_instance

    def show(self, render_lib: Any = None, widget_settings: Any = None) -> None:
        """Show the run until it has ended.

        In a notebook this returns at once, and the output of its cell is kept up to date by a
        thread. Elsewhere it prints a line for each change and returns at the run's end; breaking
        off ends the showing, and the run goes on.
        """
        refuse_given(
            "RunDetails.show", {}, {"render_lib": render_lib, "widget_settings": widget_settings}
        )
        display = _find_display()
        if display is None:
            self._print()
            return
        views = self._views()
        update = display(render_html(*next(views)))
        Thread(
            target=self._update, args=(views, update), name="mltrain-details", daemon=True
        ).start()

    def get_widget_data(self, widget_settings: Any = None) -> dict[str, Any]:
        """The details and the metrics of the run."""
        refuse_given("RunDetails.get_widget_data", {}, {"widget_settings": widget_settings})
        return {"run": self._run.get_details(), "metrics": self._run.get_metrics()}

    def _print(self) -> None:
        printed = ""
        for view, remark in self._views():
            line = render_text(_without_clock(view), remark)
            if line != printed:
                print(line, flush=True)  # noqa: T201 - what was asked for
                printed = line

    def _update(
        self, views: Iterator[tuple[RunView, str]], update: Callable[[str], object]
    ) -> None:
        for view, remark in views:
            update(render_html(view, remark))

    def _views(self) -> Iterator[tuple[RunView, str]]:
        """The run as it stands, again and again until it has ended, with what is amiss."""
        workspace, run_id = self._run.experiment.workspace, self._run.id
        pause_seconds = _FIRST_PAUSE_SECONDS
        view = view_run(workspace, workspace.history.get(run_id))
        yield view, ""
        while True:
            try:
                record = progress.refresh(workspace, run_id)
                view = view_run(workspace, record)
            except UNANSWERED as error:
                yield view, f"no answer, the run goes on: {error}"
            except MLTrainError as error:
                yield view, str(error)
                return
            else:
                yield view, ""
                if record.status.is_terminal:
                    return
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.05, _LONGEST_PAUSE_SECONDS)


def _without_clock(view: RunView) -> RunView:
    """The view without how long it has lasted, while that is no news."""
    if view.status in ("Completed", "Failed", "Canceled"):
        return view
    facts = tuple(fact for fact in view.facts if fact[0] != "Duration")
    return RunView(view.run_id, view.status, facts, view.metrics, view.more_metrics)


def _find_display() -> Callable[[str], Callable[[str], object]] | None:
    """What shows HTML in the notebook that this runs in, and returns what replaces it."""
    ipython = sys.modules.get("IPython")  # who runs in a notebook has it
    shell = None if ipython is None else ipython.get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display  # type: ignore[import-not-found]  # noqa: PLC0415

    def show(html: str) -> Callable[[str], object]:
        handle = display(HTML(html), display_id=True)
        return lambda changed: handle.update(HTML(changed))

    return show
