"""Learn the true data distribution, even when the data you have is not it.

Diffusion models of images, signals, points and tables, from data that may be noisy, few or barely labelled; what they
learnt, measured; and the games of several networks. The command `veridical` comes with the package.

    import veridical

    outcome = veridical.train("digits", "runs/digits", settings={"train.images": 20_000})
    images = outcome.model.to_data(outcome.model.sample(64, seed=1))    # [64, 8, 8, 1], numbers of the data

    with veridical.load("runs/digits") as model:
        clean = model.denoise(noisy, sigma=0.5, labels=labels)

Arrays go in as anything that NumPy or DLPack knows, and come out as NumPy's. Errors are `VeridicalError`s. What a run
has to say it says to the logger `veridical`.
"""

from . import metrics
from ._veridical import (
    Model,
    Outcome,
    __version__,
    ambient,
    collapse,
    csc,
    kdgan,
    load,
    sfbd,
    solvers,
    train,
    triple_gan,
)
from .errors import DeviceError, FileError, InvalidInput, MissingFileError, OutOfMemory, VeridicalError

__all__ = [
    "DeviceError",
    "FileError",
    "InvalidInput",
    "MissingFileError",
    "Model",
    "OutOfMemory",
    "Outcome",
    "VeridicalError",
    "__version__",
    "ambient",
    "collapse",
    "csc",
    "kdgan",
    "load",
    "metrics",
    "sfbd",
    "solvers",
    "train",
    "triple_gan",
]
