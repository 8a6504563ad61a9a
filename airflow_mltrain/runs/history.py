"""The run history: what is known of every run, kept in SQLite or PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from airflow_mltrain.errors import RunHistoryError, RunNotFoundError
from airflow_mltrain.runs import (
    enumeration,
    log_position,
    metric_row,
    resolution,
    script_news,
)
from airflow_mltrain.runs.database import Database
from airflow_mltrain.runs.enumeration import RunFilter
from airflow_mltrain.runs.experiment_list import Experiments
from airflow_mltrain.runs.metric_line import RunNews
from airflow_mltrain.runs.record import ModelRecord, without_none
from airflow_mltrain.runs.registered_environment import RegisteredEnvironments
from airflow_mltrain.runs.schema import models, runs, to_record, to_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy.sql.elements import ColumnElement

    from airflow_mltrain.runs.record import (
        MetricRecord,
        MetricValue,
        RunRecord,
        SubmissionKey,
    )
    from airflow_mltrain.runs.status import RunStatus


def open_run_history(url: str) -> RunHistory:
    """The run history at a SQLite or PostgreSQL URL; the first call on it connects.

    Where there is none yet, that call makes it, a SQLite file with its folder; an older one is
    upgraded. ConfigurationError where the URL names neither engine.
    """
    return RunHistory(Database(url))


class RunHistory:
    """Every run and what is known of it; each call is one transaction, from any thread or process.

    `environments` are those that were registered under a name, `experiments` what runs are in.

    Any call may raise RunHistoryUnavailableError, and may then be repeated on the same object,
    or SchemaVersionError where a newer version of this package has made the tables.
    """

    def __init__(self, database: Database) -> None:
        self.environments = RegisteredEnvironments(database)
        self.experiments = Experiments(database)
        self._database = database

    @property
    def address(self) -> str:
        """Where the history lies, for a person: its URL without password and options."""
        return self._database.address

    def close(self) -> None:
        """Let go of the connections; the next call opens new ones."""
        self._database.close()

    def add(self, record: RunRecord) -> RunRecord:
        """Keep a new run, or return the one that its submission has in this generation already.

        Of many callers at once one adds its record, and all get that one. RunHistoryError where
        the run id belongs to another submission.
        """
        with self._database.writing() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(insert(runs).values(to_row(record)))
            except IntegrityError:
                return self._find_equivalent(connection, record)
        return record

    def get(self, run_id: str) -> RunRecord:
        """The run with this id; RunNotFoundError where there is none."""
        with self._database.reading() as connection:
            return self._get(connection, run_id)

    def find_latest(self, key: SubmissionKey) -> RunRecord | None:
        """The run of a submission's highest generation."""
        statement = select(runs).where(*_is(key)).order_by(runs.c.generation.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else to_record(row)

    def list_runs(
        self,
        experiment: str | None = None,
        *,
        limit: int = 100,
        statuses: Collection[RunStatus] = (),
        tags: Mapping[str, str | None] | None = None,
        before: str | None = None,
        include_children: bool = False,
    ) -> list[RunRecord]:
        """The newest submitted runs, newest first: all, or of one experiment.

        With `statuses` those in one of them, and with `tags` those that have all of them, with
        any value where it is None. `before` is the run id that the page before ended with;
        RunNotFoundError where there is none such. With `include_children` those that scripts
        began are among them.
        """
        wanted = RunFilter(experiment, statuses, tags or {}, include_children)
        with self._database.reading() as connection:
            last = None if before is None else self._get(connection, before)
            return enumeration.list_newest(connection, wanted, limit, last)

    def list_unfinished(self) -> list[RunRecord]:
        """Every submitted run that has not ended, oldest first."""
        with self._database.reading() as connection:
            return enumeration.list_unfinished(connection)

    def find_many(self, run_ids: Iterable[str]) -> dict[str, RunRecord]:
        """Those of these runs that there are, by id."""
        with self._database.reading() as connection:
            return enumeration.find_many(connection, run_ids)

    def read_runs(self) -> Iterator[RunRecord]:
        """Every submitted run, in no order of use; each few are a transaction of their own."""
        after = ""
        while True:
            with self._database.reading() as connection:
                some = enumeration.list_after(connection, after)
            if not some:
                return
            yield from some
            after = some[-1].run_id

    def advance(
        self,
        run_id: str,
        status: RunStatus,
        *,
        is_started: bool | None = None,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        exit_code: int | None = None,
        error: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Keep what was observed of a run, and return the run as it stands after.

        News may come late, twice, or from many observers: the status moves forward only, and
        once a run has ended neither it nor the facts of its end change any more. Properties are
        set as `annotate` sets them.
        """
        observed = {
            "is_started": is_started,
            "started_at": started_at,
            "ended_at": ended_at,
            "exit_code": exit_code,
            "error": error,
        }
        facts: dict[str, Any] = {name: fact for name, fact in observed.items() if fact is not None}
        with self._database.writing() as connection:
            run = self._get(connection, run_id, is_locked=True)
            if run.status.is_terminal:
                facts = {}
            else:
                facts["status"] = run.status.advanced_to(status)
            if properties:
                facts["properties"] = {**run.properties, **properties}
            advanced = replace(run, **facts)
            if advanced != run:
                connection.execute(update(runs).where(runs.c.run_id == run_id).values(facts))
            if advanced.status.is_terminal:
                script_news.end_children(connection, advanced, advanced.ended_at)
        return advanced

    def annotate(
        self,
        run_id: str,
        *,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str] | None = None,
        display_name: str | None = None,
    ) -> RunRecord:
        """Set some of a run's tags and properties, before or after its end; the rest stay.

        A tag that is None is removed.
        """
        with self._database.writing() as connection:
            run = self._get(connection, run_id, is_locked=True)
            merged: dict[str, Any] = {
                "tags": without_none({**run.tags, **(tags or {})}),
                "properties": {**run.properties, **(properties or {})},
                "display_name": display_name or run.display_name,
            }
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(merged))
        return replace(run, **merged)

    def take_in(
        self, run_id: str, told: Mapping[str, RunNews], *, position: int, next_position: int
    ) -> bool:
        """Keep what the job's metrics file says between two positions, in bytes, exactly once.

        `told` is what it says of the run itself, under OWN_RUN, and of its children.

        False, and nothing is kept, where the history does not stand at `position`: another reader
        was faster, or this call was made before.
        """
        count = sum(len(news.points) for news in told.values())
        if next_position < position or (count and next_position == position):
            raise ValueError(f"{count} metrics cannot lie in [{position}, {next_position})")
        move_on = (
            update(runs)
            .where(runs.c.run_id == run_id, runs.c.metrics_position == position)
            .values(metrics_position=next_position)
        )
        with self._database.writing() as connection:
            if not connection.execute(move_on).rowcount:
                self._get(connection, run_id)
                return False
            script_news.keep(connection, self._get(connection, run_id), position, told)
        return True

    def get_metrics(self, run_id: str, name: str | None = None) -> list[MetricRecord]:
        """A run's metrics, one name or all, in the order in which the script logged them."""
        with self._database.reading() as connection:
            found = metric_row.list_metrics(connection, run_id, name)
            if not found:
                self._get(connection, run_id)
        return found

    def read_newest_metrics(self, run_id: str, limit: int) -> list[MetricRecord]:
        """So many of a run's metrics, those that were logged last, in the order of logging."""
        with self._database.reading() as connection:
            return metric_row.list_newest(connection, run_id, limit)

    def get_metric_values(self, run_id: str) -> list[MetricValue]:
        """A run's metrics without steps and times, in the order in which they were logged."""
        with self._database.reading() as connection:
            return metric_row.list_values(connection, run_id)

    def get_models(self, run_id: str) -> list[ModelRecord]:
        """The models that a run's script registered, in that order."""
        statement = (
            select(models.c.name, models.c.facts, models.c.registered_at)
            .where(models.c.run_id == run_id)
            .order_by(models.c.position, models.c.ordinal)
        )
        with self._database.reading() as connection:
            return [ModelRecord(*row) for row in connection.execute(statement).all()]

    def list_children(self, run_id: str) -> list[RunRecord]:
        """The runs that a run's script began, in that order."""
        statement = (
            select(runs)
            .where(runs.c.parent_run_id == run_id)
            .order_by(runs.c.created_at, runs.c.run_id)
        )
        with self._database.reading() as connection:
            return [to_record(row) for row in connection.execute(statement).mappings().all()]

    def find_submitted(self, run_id: str) -> RunRecord:
        """The run that was submitted and that this one is below, or this one itself."""
        with self._database.reading() as connection:
            run = self._get(connection, run_id)
            while run.parent_run_id is not None:
                run = self._get(connection, run.parent_run_id)
        return run

    def number_of(self, run: RunRecord) -> int:
        """The how-manieth submitted run of its experiment a run is; the first is 1."""
        with self._database.reading() as connection:
            earlier = (
                select(func.count())
                .select_from(runs)
                .where(runs.c.experiment == run.experiment, runs.c.parent_run_id.is_(None))
                .where(enumeration.is_before(run))
            )
            return 1 + (connection.scalar(earlier) or 0)

    def log_position(self, run_id: str, reader: str) -> int:
        """How many bytes of the run's log a reader has dealt with; 0 where it never said."""
        with self._database.reading() as connection:
            return log_position.find(connection, run_id, reader) or 0

    def set_log_position(self, run_id: str, reader: str, position: int) -> None:
        """Keep how many bytes a reader has dealt with; a lower number than before is ignored."""
        with self._database.writing() as connection:
            self._get(connection, run_id, is_locked=True)  # one writer per run
            log_position.move_on(connection, run_id, reader, position)

    def keep_resolved(self, run_id: str, resolved: Mapping[str, Any]) -> RunRecord:
        """Keep what a run's environment was resolved to, and return the run as it stands after.

        Of a recipe's resolutions for one platform the first stays, and so does the first
        environment of a run, also once the run has ended; repeating this changes nothing.
        """
        with self._database.writing() as connection:
            run = self._get(connection, run_id, is_locked=True)
            resolution.keep(connection, resolved)
            if run.environment_key is not None:
                return run
            facts = {"environment_key": resolved["key"]}
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(facts))
        return replace(run, **facts)

    def find_locks(self, recipe_id: str) -> dict[str, dict[str, list[str]]]:
        """What a recipe was resolved to, by platform: exact `packages` and `conda` packages."""
        with self._database.reading() as connection:
            return resolution.find_locks(connection, recipe_id)

    def find_resolved(self, key: str) -> dict[str, Any] | None:
        """What the environment with this key is made of: `python`, `packages`, `platform`, ..."""
        with self._database.reading() as connection:
            return resolution.find(connection, key)

    def _get(self, connection: Connection, run_id: str, *, is_locked: bool = False) -> RunRecord:
        statement = select(runs).where(runs.c.run_id == run_id)
        if is_locked:
            statement = statement.with_for_update()
        row = connection.execute(statement).mappings().first()
        if row is None:
            raise RunNotFoundError(
                f"there is no run {run_id!r} in the run history {self.address}; check the id, "
                "and that this is the history it was submitted to",
            )
        return to_record(row)

    def _find_equivalent(self, connection: Connection, record: RunRecord) -> RunRecord:
        if record.submission is not None:
            same = (*_is(record.submission), runs.c.generation == record.generation)
            row = connection.execute(select(runs).where(*same)).mappings().first()
            if row is not None:
                return to_record(row)
        known = self._get(connection, record.run_id)
        if (known.submission, known.generation) != (record.submission, record.generation):
            raise RunHistoryError(
                f"the run id {record.run_id!r} belongs to another submission in the run history "
                f"{self.address}; choose a new id",
            )
        return known


def _is(key: SubmissionKey) -> list[ColumnElement[bool]]:
    return [runs.c[name] == value for name, value in key._asdict().items()]
