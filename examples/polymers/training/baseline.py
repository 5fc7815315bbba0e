"""What the ensemble has to beat, on the same rows of the same folds (the boosted trees are a part of its members)."""

import numpy as np

STRENGTHS = np.logspace(-1, 4, 11)


def ridge_curve(train_rows, train_values, test_rows, strengths):
    """Predictions of ridge regressions of several strengths: [strengths, test rows]."""
    mean_row, mean_value = train_rows.mean(0), train_values.mean()
    rows = (train_rows - mean_row).astype(np.float64)
    eigenvalues, vectors = np.linalg.eigh(rows.T @ rows)
    inner = vectors.T @ (rows.T @ (train_values - mean_value))
    cross = (test_rows - mean_row) @ vectors
    return np.stack([mean_value + cross @ (inner / (eigenvalues + strength)) for strength in strengths])


def predict_ridge(rows, values, test_rows, groups):
    """Predicts the test rows; the strength is chosen on a fifth of the groups of the training rows."""
    held_out = groups % 5 == 0
    curve = ridge_curve(rows[~held_out], values[~held_out], rows[held_out], STRENGTHS)
    strength = STRENGTHS[int(np.argmin(np.abs(curve - values[held_out]).mean(1)))]
    return ridge_curve(rows, values, test_rows, [strength])[0]
