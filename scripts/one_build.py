#!/usr/bin/env python3
"""Whether the library with all features is one compilation for the crate, its tests and the Python package.

Cargo compiles a crate again wherever a dependency is asked for other features, however little that changes, and this one takes minutes.
This asks cargo what it would compile, which takes a second, and names the dependencies that differ; the feature `one-build` of Cargo.toml
is where they are evened out.

    python3 scripts/one_build.py
"""

import json
import os
import subprocess
import sys

BUILDS = {
    "the crate": ["build", "--release", "--all-features", "--lib"],
    "its tests": ["test", "--release", "--all-features", "--no-run"],
    "the Python package": ["build", "--release", "--package", "veridical-python", "--features", "all"],
}


def units(arguments):
    """What cargo would compile, as its graph of units has it: an option that is not stable yet."""
    command = ["cargo", *arguments, "--quiet", "--unit-graph", "-Zunstable-options"]
    done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, "RUSTC_BOOTSTRAP": "1"}, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: failed")
    return json.loads(done.stdout)["units"]


def library(units):
    """All that the library is compiled of, itself included: packages with their features and profiles."""
    found, wanted = set(), [i for i, unit in enumerate(units) if is_library(unit)]
    while wanted:
        unit = units[wanted.pop()]
        key = json.dumps([unit["pkg_id"], unit["target"]["name"], unit["mode"], unit["platform"], unit["features"], unit["profile"]])
        if key not in found:
            found.add(key)
            wanted += [dependency["index"] for dependency in unit["dependencies"]]
    return found


def is_library(unit):
    target = unit["target"]
    return target["name"] == "veridical" and target["kind"] == ["lib"] and unit["mode"] == "build"


def main():
    made = {name: library(units(arguments)) for name, arguments in BUILDS.items()}
    (first, expected), *others = made.items()
    wrong = []
    for name, found in others:
        for key in sorted(found - expected):
            package, target, _, _, features, _ = json.loads(key)
            wrong.append(f"{name}: {package.split('#')[-1]} ({target}) with {', '.join(features) or 'no features'}, which {first} asks otherwise")
    if wrong:
        sys.exit("\n".join([*wrong, "the library would be compiled again: let the feature one-build in Cargo.toml ask for these"]))
    print(f"one compilation of {len(expected)} units for {', '.join(made)}")


if __name__ == "__main__":
    main()
