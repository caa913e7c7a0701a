"""Models and reference values that the tests share."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

import veridical

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
TYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U8": np.uint8}


def read(path):
    """Tensors and metadata of a safetensors file."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]

    def tensor(entry):
        start, end = entry["data_offsets"]
        return np.frombuffer(body[start:end], TYPES[entry["dtype"]]).reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}, metadata


def write(path, tensors, metadata):
    """A safetensors file of f32."""
    header, body = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        part = np.ascontiguousarray(tensor, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(body), len(body) + len(part)]}
        body += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.fixture(scope="session")
def golden():
    """Reference values that neither this package nor its library made."""

    def cases(name):
        path = GOLDEN / f"{name}.safetensors"
        if not path.exists():
            pytest.skip(f"{path} is not here: it is in the repository")
        return read(path)

    return cases


# The shortest runs: whatever they learn, they learn little.
SHORT = {
    "train.images": 256,
    "train.batch": 64,
    "train.device": "cpu",
    "sampling.steps": 3,
    "sampling.measured": 8,
    "sampling.columns": 4,
    "sampling.rows": 1,
}
# Small networks for images.
SMALL = {"model.model_channels": 8, "model.channel_mult": [1], "model.num_blocks": 1, "model.attn_resolutions": []}


def train(data, out, **settings):
    """The shortest run on points or tables."""
    return veridical.train(data, out, settings={**SHORT, **settings})


@pytest.fixture(scope="session")
def points():
    return np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32) * 0.5


@pytest.fixture(scope="session")
def trained(points, tmp_path_factory):
    """A run on points, and its outcome."""
    return veridical.train(
        points, tmp_path_factory.mktemp("runs") / "points", settings={"train.images": 2048, "train.batch": 64, "train.device": "cpu"}
    )


@pytest.fixture(scope="session")
def gaussian(trained, tmp_path_factory):
    """A model whose network answers zero. It is then the exact denoiser of N(0, s^2 I) with s = sigma_data: the
    preconditioning's skip connection alone, D(x; sigma) = s^2 / (s^2 + sigma^2) x."""
    tensors, metadata = read(Path(trained.out) / "model.safetensors")
    path = tmp_path_factory.mktemp("gaussian") / "model.safetensors"
    metadata.pop("veridical.units", None)
    write(path, {name: np.zeros_like(tensor) for name, tensor in tensors.items()}, metadata)
    return veridical.load(path)
