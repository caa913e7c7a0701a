#!/usr/bin/env python3
"""Turn reference statistics of EDM2 (.pkl) into the .npz that `veridical evaluate --real-features` reads.

EDM's older statistics are .npz files with `mu` and `sigma` and are read as they are. Newer ones are pickles with a mean and a
covariance for each metric: `fid` on features of the Inception network, `fd_dinov2` on those of DINOv2. Only compare with
features of the same network (scripts/inception_features.py makes those of `fid`).

A pickle can run any program when it is opened; this script opens nothing but arrays in dictionaries, and refuses the rest.
Needs NumPy.

  python scripts/edm_statistics.py img512.pkl img512-fid.npz
  python scripts/edm_statistics.py --metric fd_dinov2 img512.pkl img512-dinov2.npz
  veridical evaluate --real-features img512-fid.npz --generated-features features.npy
"""

import argparse
import os
import pickle
import sys

# What arrays and dictionaries are made of in pickles, by the names that NumPy has had for them.
ARRAYS = {
    "numpy": {"ndarray", "dtype"},
    "_codecs": {"encode"},  # bytes, in pickles of protocol 2
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}
DICTIONARIES = {("collections", "OrderedDict"), ("dnnlib.util", "EasyDict")}


class Problem(Exception):
    """What is wrong and what to do, for the user."""


class Dictionary(dict):
    """A dictionary by whatever name."""


class Arrays(pickle.Unpickler):
    """Opens arrays and dictionaries."""

    def find_class(self, module, name):
        if (module, name) in DICTIONARIES:
            return Dictionary
        if name in ARRAYS.get(module, ()):
            import numpy

            here, gone = ("numpy._core", "numpy.core") if hasattr(numpy, "_core") else ("numpy.core", "numpy._core")
            current = module.replace(gone, here)
            __import__(current)
            return getattr(sys.modules[current], name)
        raise Problem(f"it asks for {module}.{name}, which statistics have no need of, and which is not run")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pickle", help="statistics of EDM2, such as img512.pkl")
    parser.add_argument("output", help="the file to write, which ends in .npz")
    parser.add_argument("--metric", default="fid", help="which of the metrics in it (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        if not args.output.endswith(".npz"):
            raise Problem(f"{args.output}: what is written is .npz; end the name so")
        mu, sigma = statistics(load(args.pickle), args.metric, args.pickle)
        import numpy

        part = f"{args.output}.part"
        with open(part, "wb") as file:
            numpy.savez(file, mu=mu, sigma=sigma)
        os.replace(part, args.output)
    except (Problem, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"{args.output}: mean and covariance of {len(mu)} numbers, for {args.metric}")
    return 0


def load(path):
    """The content of the pickle at `path`."""
    try:
        import numpy  # noqa: F401 (asked for before the pickle is)
    except ImportError as error:
        raise Problem(f"NumPy is needed: {error}") from error
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            raise Problem(f"{path} is a zip archive, perhaps an .npz already, which veridical reads as it is")
        file.seek(0)
        try:
            return Arrays(file).load()
        except Problem as problem:
            raise Problem(f"{path}: {problem}") from problem
        except Exception as error:  # whatever a damaged pickle comes up with
            raise Problem(f"{path} cannot be unpickled: {type(error).__name__}: {error}") from error


def statistics(content, metric, path):
    """Mean and covariance of `metric`, in f64."""
    import numpy

    if not isinstance(content, dict):
        raise Problem(f"{path} holds a {type(content).__name__}, not a dictionary of metrics")
    if {"mu", "sigma"} <= set(content):
        found = content
    elif metric in content:
        found = content[metric]
    else:
        raise Problem(f"{path} has no metric {metric!r}; it has {', '.join(map(str, content)) or 'none'} (--metric)")
    if not isinstance(found, dict) or not {"mu", "sigma"} <= set(found):
        has = f"it holds {', '.join(map(str, found))}" if isinstance(found, dict) else f"it is a {type(found).__name__}"
        raise Problem(f"{path}: {metric} has no mu and sigma, but {has}; only metrics of means and covariances can be turned")
    try:
        mu, sigma = (numpy.asarray(found[name], dtype=numpy.float64) for name in ("mu", "sigma"))
    except (TypeError, ValueError) as error:
        raise Problem(f"{path}: mu or sigma is no array of numbers: {error}") from error
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise Problem(f"{path}: mu is {list(mu.shape)} and sigma {list(sigma.shape)}, expected [dims] and [dims, dims]")
    if not (numpy.isfinite(mu).all() and numpy.isfinite(sigma).all()):
        raise Problem(f"{path}: mu or sigma holds numbers that are not finite")
    return mu, sigma


if __name__ == "__main__":
    sys.exit(main())
