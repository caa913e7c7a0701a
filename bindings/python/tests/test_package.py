"""The package itself: errors, threads, stubs, the command."""

import ast
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import veridical
from veridical import _veridical, errors, metrics, results


def test_errors_are_of_pythons_classes(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        veridical.load(tmp_path / "none.safetensors")
    assert isinstance(missing.value, veridical.VeridicalError) and "none.safetensors" in str(missing.value)
    (tmp_path / "empty.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="empty.safetensors") as wrong:
        veridical.load(tmp_path / "empty.safetensors")
    assert isinstance(wrong.value, veridical.InvalidInput)
    with pytest.raises(veridical.InvalidInput, match="no model in this directory"):
        veridical.load(tmp_path)
    with pytest.raises(veridical.VeridicalError, match="abacus"):
        veridical.load(tmp_path / "empty.safetensors", device="abacus")
    for name in ["DeviceError", "FileError", "InvalidInput", "MissingFileError", "OutOfMemory"]:
        assert issubclass(getattr(errors, name), veridical.VeridicalError)


def test_threads_may_call_at_once(gaussian):
    expected, found = gaussian.sample(50, seed=1), {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: gaussian.sample(50, seed=1)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(samples, expected) for samples in found.values())


def test_pythons_lock_is_released(gaussian):
    done, beats = threading.Event(), []

    def beat():
        while not done.is_set():
            beats.append(time.monotonic())
            time.sleep(0.005)

    other = threading.Thread(target=beat)
    other.start()
    gaussian.sample(2000, steps=80)
    done.set()
    other.join()
    gaps = np.diff(beats)
    assert len(beats) > 3 and gaps.max() < 0.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_is_told_what_to_do(gaussian):
    gaussian.sample(2)
    code = (
        "import os, sys, numpy as np, veridical\n"
        "veridical.metrics.median_distance(np.eye(4), np.eye(4) + 1)\n"
        "if os.fork() == 0:\n"
        "    try: veridical.metrics.median_distance(np.eye(4), np.eye(4) + 1)\n"
        "    except veridical.VeridicalError as e: os._exit(7 if 'spawn' in str(e) else 1)\n"
        "    os._exit(1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60).returncode == 7


def command(*args, **options):
    return subprocess.run([sys.executable, "-m", "veridical", *args], capture_output=True, text=True, timeout=120, **options)


def test_the_command_comes_with_it(tmp_path, trained):
    version = command("--version")
    assert version.returncode == 0 and version.stdout.startswith(f"veridical {veridical.__version__}")
    wrong = command("sample", "--model", "nowhere")
    assert wrong.returncode == 2 and "error:" in wrong.stderr
    assert command("info", "--model", str(trained.out)).returncode == 0 or command("info", str(trained.out)).returncode == 0
    drawn = command("sample", "--model", str(trained.out), "--seeds", "0-3", "--output", str(tmp_path / "drawn.npz"), "--device", "cpu")
    assert drawn.returncode == 0, drawn.stderr
    # The command's samples are the package's.
    there = np.load(tmp_path / "drawn.npz")["images"]
    here = trained.model.to_data(trained.model.sample(4))
    np.testing.assert_allclose(there.reshape(4, -1), here.reshape(4, -1), rtol=1e-6)
    script = Path(sys.executable).with_name("veridical")
    if script.exists():
        assert subprocess.run([script, "-V"], capture_output=True, text=True).stdout.startswith("veridical ")


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_stops_the_command(tmp_path):
    args = ["train", "--data", "synthetic:two-moons", "--out", str(tmp_path / "run"), "--set", "train.log_every=1", "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-m", "veridical", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "log.jsonl"
    while not (log.exists() and log.stat().st_size) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopping" in said, said


STUBS = Path(veridical.__file__).with_name("_veridical.pyi")


def test_stubs_name_what_there_is():
    tree = ast.parse(STUBS.read_text())
    public = {name for name in dir(_veridical) if not name.startswith("_")} | {"__version__"}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    constants = {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert set(functions) | set(classes) | constants == public
    for name, node in functions.items():
        compare(getattr(_veridical, name), node, skip=0)
    for name, node in classes.items():
        methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
        there = {method for method in vars(getattr(_veridical, name)) if not method.startswith("__") or method in ("__enter__", "__exit__")}
        assert set(methods) == there, name
        for method, stub in methods.items():
            found = getattr(getattr(_veridical, name), method)
            if callable(found) and not method.startswith("__") and method != "sample":
                compare(found, stub, skip=1)


def compare(function, stub, skip):
    """Parameters and their defaults are those of the stub."""
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    arguments = stub.args.posonlyargs + stub.args.args + stub.args.kwonlyargs
    names = [argument.arg for argument in arguments][skip:] + ([stub.args.kwarg.arg] if stub.args.kwarg else [])
    assert [parameter.name for parameter in parameters] == names, stub.name


def test_everything_public_says_what_it_is():
    for name in veridical.__all__:
        assert name == "__version__" or getattr(veridical, name).__doc__, name
    for name in metrics.__all__:
        assert "[n" in getattr(metrics, name).__doc__, name
    for name in vars(veridical.Model):
        if not name.startswith("_"):
            assert getattr(veridical.Model, name).__doc__, name
    fields = {name for name, kind in vars(results).items() if isinstance(kind, type) and hasattr(kind, "_fields")}
    assert {"Progress", "LogLikelihood", "Trajectory"} <= fields
    assert Path(veridical.__file__).with_name("py.typed").exists()


def test_options_of_the_solver_are_in_stub_and_docstring():
    tree = ast.parse(STUBS.read_text())
    (model,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Model")
    sample = next(node for node in model.body if isinstance(node, ast.FunctionDef) and node.name == "sample")
    stubbed = {argument.arg for argument in sample.args.args + sample.args.kwonlyargs} - {"self"}
    signature = set(inspect.signature(veridical.Model.sample).parameters) - {"self", "solver"}
    # The flags under the heading "Solver:", which begin two columns in.
    under_heading = re.search(r"^Solver:\n(.*?)^\S", command("sample", "--help").stdout + "\n.", re.M | re.S).group(1)
    of_solver = {flag.replace("-", "_") for flag in re.findall(r"^ {2,6}--([a-z-]+)", under_heading, re.M)}
    assert {"steps", "churn", "grid", "solver", "no_brownian"} <= of_solver and len(of_solver) > 20
    # What follows the solver in the help, and is called otherwise here.
    others = {"class", "class_labels", "start_image", "device"}
    assert of_solver - others <= stubbed, of_solver - stubbed
    for option in of_solver - others:
        assert re.search(rf"`{option}\b", veridical.Model.sample.__doc__), option
    assert signature <= stubbed


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    import json

    path = Path(__file__).parents[1] / "examples" / "first_model.ipynb"
    if not path.exists():
        pytest.skip(f"{path} is not here: it is in the repository")
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 4
    scope = {"__name__": "__main__"}
    for cell in cells:
        source = "".join(cell["source"])
        exec(compile(source, str(path), "exec"), scope)
