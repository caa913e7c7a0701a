#!/usr/bin/env python3
"""PyTorch's time for rows of `veridical bench`: reads JSON lines with op, case, dtype and direction, writes one line with `ms` for each that it knows.

The case says the shapes as this crate has them, images with the channels last; PyTorch gets the same numbers in the layout that is named, and makes the same result.
"""
import argparse
import functools
import json
import re
import sys
import time

import torch
import torch.nn.functional as F


def image(t):
    """[n, h, w, c] as PyTorch's [n, c, h, w], channels last in memory."""
    return t.permute(0, 3, 1, 2)


def settings(case):
    return {key: value for key, value in re.findall(r"(\w+)=(\S+)", case)}


def gumbel(case, x):
    tau = float(settings(case)["tau"])
    return F.gumbel_softmax(x, tau=tau, dim=-1)


@functools.cache
def of_pairs(n):
    """The places of n rows; of both views of n, each one's partner, and where each meets itself."""
    return torch.arange(n), torch.arange(2 * n).roll(n), torch.eye(2 * n, dtype=torch.bool)


def info_nce(case, q, k, scale):
    return F.cross_entropy((q @ k.T) * scale, of_pairs(len(q))[0])


def nt_xent(case, a, b, temperature):
    z = torch.cat([a, b])
    _, partners, own = of_pairs(len(a))
    return F.cross_entropy(((z @ z.T) / temperature).masked_fill(own, -torch.inf), partners)


def attention(case, q, k, v):
    heads = int(settings(case)["heads"])
    n, t, c = q.shape
    q, k, v = (x.view(n, t, heads, c // heads).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)


def matmul(case, a, b):
    left, right = case.split()[-1]
    return (a.transpose(-1, -2) if left == "t" else a) @ (b.transpose(-1, -2) if right == "t" else b)


def group_norm(case, x, gamma, beta):
    return F.group_norm(image(x), int(settings(case)["groups"]), gamma, beta)


def conv(case, x, w, bias):
    s = settings(case)
    return F.conv2d(image(x), image(w), bias, int(s["stride"]), int(s["padding"]))


def pool(case, x):
    s = settings(case)
    return F.max_pool2d(image(x), int(s["kernel"]), int(s["stride"]))


# The function of the inputs, and how many of these have gradients.
ROWS = {
    "add": (lambda case, a, b: a + b, 2),
    "add_scaled": (lambda case, a, b: torch.add(0.75 * a, b, alpha=-2.5), 2),
    "attention": (attention, 3),
    "conv2d": (conv, 3),
    "cross_entropy": (lambda case, x, labels: F.cross_entropy(x, labels), 1),
    "gelu": (lambda case, x: F.gelu(x), 1),
    "group_norm": (group_norm, 3),
    "group_norm_silu": (lambda case, *x: F.silu(group_norm(case, *x)), 3),
    "gumbel_softmax": (gumbel, 1),
    "info_nce": (info_nce, 3),
    "layer_norm": (lambda case, x, gamma, beta: F.layer_norm(x, x.shape[-1:], gamma, beta), 3),
    "linear": (lambda case, x, w, bias: F.linear(x, w, bias), 3),
    "log_softmax": (lambda case, x: x.log_softmax(-1), 1),
    "matmul": (matmul, 2),
    "max_pool2d": (pool, 1),
    "nt_xent": (nt_xent, 3),
    "sigmoid": (lambda case, x: x.sigmoid(), 1),
    "silu": (lambda case, x: F.silu(x), 1),
    "softmax": (lambda case, x: x.softmax(-1), 1),
    "softplus": (lambda case, x: F.softplus(x), 1),
    "tanh": (lambda case, x: x.tanh(), 1),
}


def inputs(op, case, dtype):
    shapes = [[int(size) for size in shape.split(",") if size.strip()] for shape in re.findall(r"\[([\d, ]*)\]", case)]
    tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
    if op == "nt_xent":
        tensors[2].fill_(5.0)
    if op == "cross_entropy":
        tensors[1] = torch.randint(0, shapes[0][1], shapes[1])
    return tensors


def work(row, contiguous):
    """What is to be timed, or None."""
    if row["op"] not in ROWS:
        return None
    function, leaves = ROWS[row["op"]]
    case, dtype = row["case"], {"f32": torch.float32, "bf16": torch.bfloat16}[row["dtype"]]
    tensors = inputs(row["op"], case, dtype)
    if contiguous:  # images with the channels first in memory; `image` turns them back
        tensors = [image(t).contiguous().permute(0, 2, 3, 1) if t.ndim == 4 and row["op"] not in ("add", "add_scaled") else t for t in tensors]
    if row["direction"] == "forward":

        def forward():
            with torch.no_grad():
                function(case, *tensors)

        return forward
    for tensor in tensors[:leaves]:
        tensor.requires_grad_(True)
    result = function(case, *tensors)
    slope = torch.randn_like(result)
    return lambda: torch.autograd.grad(result, tensors[:leaves], slope, retain_graph=True)


def milliseconds(work, budget):
    """The median of calls, in samples of two milliseconds at least."""
    work()
    start = time.perf_counter()
    work()
    calls = max(1, int(0.002 / (time.perf_counter() - start + 1e-9)))
    samples, begin = [], time.perf_counter()
    while not samples or (len(samples) < 51 and time.perf_counter() - begin < budget):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        samples.append(1e3 * (time.perf_counter() - start) / calls)
    return sorted(samples)[len(samples) // 2]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--threads", type=int)
    p.add_argument("--budget", type=float, default=1.0, help="seconds of a case")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    for line in sys.stdin:
        row = json.loads(line)
        times = []
        for contiguous in [False, True]:
            run = work(row, contiguous)
            if run is None:
                break
            times.append(milliseconds(run, a.budget))
            if not re.search(r"\[\d+, \d+, \d+, \d+\]", row["case"]):
                break
        if times:
            print(json.dumps({key: row[key] for key in ("op", "case", "dtype", "direction")} | {"ms": min(times)}), flush=True)


if __name__ == "__main__":
    main()
