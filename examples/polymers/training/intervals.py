"""Split-conformal intervals: the expected error of each answer, times what covers the wanted share of held-out rows.

The method is that of J. Lei et al., Distribution-free predictive inference for regression, JASA 113, 1094 (2018),
section 5.2: residuals are divided by an estimate of the error before their quantile is taken.
"""

import numpy as np
import torch

COVERAGE = 0.9


def fit_error(terms, missed):
    """Coefficients of the logarithm of the expected error, by the likelihood of a Laplace distribution."""
    terms, missed = torch.tensor(terms, dtype=torch.float64), torch.tensor(missed, dtype=torch.float64)
    coefficients = torch.zeros(terms.size(1), dtype=torch.float64)
    coefficients[0] = float(torch.log(missed.mean()))
    coefficients.requires_grad_()
    optimizer = torch.optim.LBFGS([coefficients], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        expected = terms @ coefficients
        value = (expected + missed * torch.exp(-expected)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return coefficients.detach().numpy()


def calibrate(terms, missed):
    """Coefficients of the logarithm of the half-width that covers COVERAGE of rows like these."""
    coefficients = fit_error(terms, missed)
    ratio = np.sort(missed / np.exp(terms @ coefficients))
    rank = min(len(ratio), int(np.ceil((len(ratio) + 1) * COVERAGE)))
    coefficients[0] += np.log(ratio[rank - 1])
    return coefficients


def held_out_half_widths(terms, missed, fold_of):
    """Half-widths of each fold's rows as the other folds calibrate them."""
    widths = np.empty(len(missed))
    for number in np.unique(fold_of):
        inside = fold_of != number
        widths[~inside] = np.exp(terms[~inside] @ calibrate(terms[inside], missed[inside]))
    return widths


def coverage_figures(widths, missed):
    """Share of rows inside their interval: overall and by tercile of width; median half-width."""
    inside = missed <= widths
    terciles = np.array_split(np.argsort(widths), 3)
    return {"coverage": COVERAGE, "held_out": round(float(inside.mean()), 4),
            "held_out_by_tercile_of_width": [round(float(inside[rows].mean()), 4) for rows in terciles],
            "median_half_width": round(float(np.median(widths)), 1), "unit": "K"}
