"""What the network has to beat: ridge regressions on Morgan counts (the training mean needs no code)."""

import numpy as np

from .graphs import identifier_matrix

STRENGTHS = np.logspace(-4, 3, 15)
INNER_FOLDS = 5


def ridge_curve(train_rows, train_values, test_rows, strengths):
    """Predictions of ridge regressions of several strengths: [strengths, test rows]."""
    mean_row, mean_value = train_rows.mean(0), train_values.mean()
    rows, values = train_rows - mean_row, train_values - mean_value
    eigenvalues, vectors = np.linalg.eigh(rows @ rows.T)
    inner = vectors.T @ values
    cross = (test_rows - mean_row) @ rows.T @ vectors
    return np.stack([mean_value + cross @ (inner / (eigenvalues + strength)) for strength in strengths])


def forms_of(graphs):
    """The counts as they stand, and per heavy atom, which suits a property that does not grow with the unit."""
    counts, _ = identifier_matrix(graphs)
    heavy = np.array([graph.heavy_atoms for graph in graphs])[:, None]
    return {"ridge on Morgan counts": counts, "ridge on Morgan counts per heavy atom": 10 * counts / heavy}


def predict_ridge(rows, values, train, test, groups):
    """Predicts the test rows; the strength is chosen by grouped cross-validation inside the training rows."""
    folds = groups[train] % INNER_FOLDS
    error = np.zeros(len(STRENGTHS))
    for fold in range(INNER_FOLDS):
        inside, outside = train[folds != fold], train[folds == fold]
        curve = ridge_curve(rows[inside], values[inside], rows[outside], STRENGTHS)
        error += np.abs(curve - values[outside]).sum(1)
    strength = STRENGTHS[int(np.argmin(error))]
    return ridge_curve(rows[train], values[train], rows[test], [strength])[0]
