"""What the API computes: no HTTP here."""

import pandas


def describe(columns: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Describes each column; raises ValueError unless all hold the same count of numbers, two at least."""
    frame = pandas.DataFrame(columns).astype(float)
    if len(frame) < 2 or frame.isna().any(axis=None):
        raise ValueError("every column must hold two numbers at least")
    return frame.describe().to_dict()
