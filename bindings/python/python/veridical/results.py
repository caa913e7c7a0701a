"""What functions return that is more than one number or array."""

from typing import Any, Dict, NamedTuple, Optional


class Progress(NamedTuple):
    """A step of a run."""

    #: Which it was, from 1 on.
    step: int
    #: Steps of the whole run.
    steps: int
    #: Images seen so far.
    seen: int
    #: Images of the whole run.
    images: int
    #: The loss before the weights were changed.
    loss: float
    #: The learning rate of the step.
    learning_rate: float
    #: The speed of the last steps.
    images_per_second: float


class Trajectory(NamedTuple):
    """Samples, and the way to them."""

    #: `[n, *shape]`.
    samples: Any
    #: The states before each step and after the last, `[steps + 1, n, *shape]`.
    states: Any
    #: Their noise levels, `[steps + 1]`.
    sigmas: Any
    #: Denoiser calls, of the sample that took most.
    calls: int


class LogLikelihood(NamedTuple):
    """How probable samples are."""

    #: Log-densities, `[n]`.
    nats: Any
    #: The same as bits for each number of a sample, less is better, `[n]`.
    bits_per_dim: Any
    #: Mean number of denoiser calls.
    calls: float


class Kid(NamedTuple):
    value: float
    #: Standard error.
    error: float


class KidSubsets(NamedTuple):
    mean: float
    #: Standard deviation over the subsets.
    std: Optional[float]
    #: Standard error of the mean.
    error: Optional[float]


class PrecisionRecall(NamedTuple):
    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    density: float
    coverage: float


class InceptionScore(NamedTuple):
    mean: float
    #: Over the splits, divided by their number.
    std: float


class Classification(NamedTuple):
    accuracy: float
    #: Mean negative log-likelihood, in nats.
    nll: float
    #: Expected calibration error.
    ece: float


class Ranking(NamedTuple):
    #: `P@k` by k.
    precision: Dict[int, float]
    #: `R@k` by k.
    recall: Dict[int, float]
    #: `F@k` by k.
    f: Dict[int, float]
    #: Mean average precision.
    map: float
    #: Mean reciprocal rank of the row's label that comes first.
    mrr: float
    #: Rows that have a label.
    rows: int
    #: Rows without any.
    left_out: int


class MultilabelF1(NamedTuple):
    micro: float
    macro: float
