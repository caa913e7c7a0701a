"""Distances between samples, and scores of classifiers and taggers, as functions of arrays.

Samples are `[n, ...]`, of which everything after the first axis is a row. All is computed in 64 bits, in an order that
does not depend on the number of threads.
"""

from ._veridical import (
    classification,
    density_coverage,
    energy_distance,
    frechet_distance,
    inception_score,
    kid,
    kid_subsets,
    median_distance,
    mmd,
    multilabel_f1,
    precision_recall,
    ranking,
    sliced_wasserstein,
    wasserstein_1d,
)

__all__ = [
    "classification",
    "density_coverage",
    "energy_distance",
    "frechet_distance",
    "inception_score",
    "kid",
    "kid_subsets",
    "median_distance",
    "mmd",
    "multilabel_f1",
    "precision_recall",
    "ranking",
    "sliced_wasserstein",
    "wasserstein_1d",
]
