#!/usr/bin/env python3
"""Recomputes tests/golden/net_skip.safetensors: EDM's SongUNet with skip encoder and skip decoder, written out in NumPy in f64.

Compares the network's result, the denoiser's, and every stored gradient (by central differences) with the file's.
Needs NumPy alone. Usage: check_net_skip.py [FILE]
"""

import json
import pathlib
import struct
import sys

import numpy as np


def read(path):
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    config = json.loads(header.pop("__metadata__")["veridical.model"])
    tensor = lambda at: np.frombuffer(data[end + at[0] : end + at[1]], "<f4").astype(np.float64)
    return config, {name: tensor(e["data_offsets"]).reshape(e["shape"]) for name, e in header.items()}


def silu(x):
    return x / (1 + np.exp(-x))


class Net:
    """`p` are the parameters by name, without the prefix `model.`."""

    def __init__(self, p):
        self.p = p

    def linear(self, name, x):
        return x @ self.p[name + ".weight"].T + self.p[name + ".bias"]

    def conv(self, name, x):
        w = self.p[name + ".weight"]
        k = w.shape[2]
        x = np.pad(x, [(0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True) + self.p[name + ".bias"][:, None, None]

    def norm(self, name, x):
        n, c, h, w = x.shape
        g = x.reshape(n, min(32, c // 4), -1)
        g = (g - g.mean(2, keepdims=True)) / np.sqrt(g.var(2, keepdims=True) + 1e-6)
        return g.reshape(x.shape) * self.p[name + ".weight"][:, None, None] + self.p[name + ".bias"][:, None, None]

    def down(self, x, name):
        """Every second place of the filtered image."""
        f = self.p[name + ".resample_filter"][0, 0]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), f.shape, (2, 3))
        return np.einsum("nchwij,ij->nchw", windows[:, :, ::2, ::2], f)

    def up(self, x, name):
        """Four times the filter, laid down at every second place."""
        f = 4 * self.p[name + ".resample_filter"][0, 0]
        n, c, h, w = x.shape
        y = np.zeros((n, c, 2 * h + 2, 2 * w + 2))
        for i in range(4):
            for j in range(4):
                y[:, :, i : i + 2 * h : 2, j : j + 2 * w : 2] += f[i, j] * x
        return y[:, :, 1:-1, 1:-1]

    def block(self, name, x, emb):
        resample = {"down": self.down, "up": self.up}.get(name.split("_")[-1])
        part = lambda conv, x: self.conv(f"{name}.{conv}", resample(x, f"{name}.{conv}") if resample else x)
        h = part("conv0", silu(self.norm(name + ".norm0", x)))
        h = silu(self.norm(name + ".norm1", h + self.linear(name + ".affine", emb)[:, :, None, None]))
        h = self.conv(name + ".conv1", h)
        x = (h + (part("skip", x) if name + ".skip.weight" in self.p else x)) * np.sqrt(0.5)
        if name + ".qkv.weight" in self.p:
            n, c, height, width = x.shape
            q, k, v = np.moveaxis(self.conv(name + ".qkv", self.norm(name + ".norm2", x)).reshape(n, c, 3, -1), 2, 0)
            a = np.einsum("ncq,nck->nqk", q, k) / np.sqrt(c)
            a = np.exp(a - a.max(2, keepdims=True))
            a = np.einsum("nqk,nck->ncq", a / a.sum(2, keepdims=True), v).reshape(x.shape)
            x = (self.conv(name + ".proj", a) + x) * np.sqrt(0.5)
        return x

    def forward(self, x, noise):
        half = self.p["map_layer0.weight"].shape[1] // 2
        angles = noise[:, None] * 10000.0 ** (-np.arange(half) / (half - 1))
        emb = np.concatenate([np.sin(angles), np.cos(angles)], 1)
        emb = silu(self.linear("map_layer1", silu(self.linear("map_layer0", emb))))

        image, x = x, self.conv("enc.8x8_conv", x)
        skips = [x]
        for at in [8, 4, 2]:
            at = f"enc.{at}x{at}"
            if at != "enc.8x8":
                image = self.down(image, at + "_aux_down")
                x = self.block(at + "_down", x, emb) + self.conv(at + "_aux_skip", image)
                skips.append(x)
            x = self.block(at + "_block0", x, emb)
            skips.append(x)

        image = None
        for at in [2, 4, 8]:
            at = f"dec.{at}x{at}"
            for name in ["_in0", "_in1"] if at == "dec.2x2" else ["_up"]:
                x = self.block(at + name, x, emb)
            for name in ["_block0", "_block1"]:
                x = self.block(at + name, np.concatenate([x, skips.pop()], 1), emb)
            own = self.conv(at + "_aux_conv", silu(self.norm(at + "_aux_norm", x)))
            image = own if image is None else own + self.up(image, at + "_aux_up")
        return image


def main():
    default = pathlib.Path(__file__).parent.parent / "tests/golden/net_skip.safetensors"
    config, file = read(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    print(config)
    net = Net({name[6:]: value for name, value in file.items() if name.startswith("model.")})

    def off(got, name, tolerance):
        error, scale = np.abs(got - file[name]).max(), np.abs(file[name]).max()
        if not error <= tolerance * scale:
            sys.exit(f"{name} is off by {error:.2e} of {scale:.2e}")
        return error / scale

    x, noise = file["in.raw_x"].copy(), file["in.raw_noise"]
    print(f"out.raw: off by {off(net.forward(x, noise), 'out.raw', 1e-6):.1e} of its largest magnitude")
    sigma, sd = file["in.sigma"][:, None, None, None], 0.5
    total = sigma**2 + sd**2
    f = net.forward(file["in.x"] / np.sqrt(total), np.log(file["in.sigma"]) / 4)
    denoised = sd**2 / total * file["in.x"] + sigma * sd / np.sqrt(total) * f
    print(f"out.denoised: off by {off(denoised, 'out.denoised', 1e-5):.1e}")

    worst, count = 0.0, 0
    for name in [name for name in file if name.startswith("grad.")]:
        values = x if name == "grad.raw_x" else net.p[name[len("grad.model.") :]]
        gradient = np.zeros(values.size)
        flat = values.reshape(-1)
        for i in range(values.size):
            ends, middle = [], flat[i]
            for h in [1e-5, -1e-5]:
                flat[i] = middle + h
                ends.append((file["in.cotangent"] * net.forward(x, noise)).sum())
            flat[i] = middle
            gradient[i] = (ends[0] - ends[1]) / 2e-5
        worst = max(worst, off(gradient.reshape(values.shape), name, 1e-5))
        count += values.size
    print(f"{count} gradients: each tensor off by at most {worst:.1e} of its largest magnitude")


if __name__ == "__main__":
    main()
