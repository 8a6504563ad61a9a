"""A function that a Dag makes a task of, and what it needs."""

from __future__ import annotations

from curves.scale import SCALE  # type: ignore[import-not-found]  # where this travels to


def fit(rate: float, *, epochs: int) -> dict[str, float]:
    """The loss after so many epochs."""
    import mltrain  # noqa: PLC0415 - it is there where the function runs

    loss = SCALE
    for _ in range(epochs):
        loss *= rate
        mltrain.Run.get_context().log("loss", loss)
    return {"rate": rate, "loss": loss}
