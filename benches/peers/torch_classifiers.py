#!/usr/bin/env python3
"""PyTorch's time for a training step of the players' classifiers, as `examples/classifier_cost.rs` has them: one JSON line each."""
import argparse
import json
import time

import torch
from torch import nn


def student():
    layers = [nn.Flatten()]
    for inputs, outputs in ((784, 800), (800, 800)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.12)]
    return nn.Sequential(*layers, nn.Linear(800, 10))


def teacher():
    layers = []
    for inputs, outputs in ((1, 20), (20, 20)):
        layers += [nn.Conv2d(inputs, outputs, 5), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(320, 500), nn.ReLU(), nn.Dropout(0.5), nn.Linear(500, 10))


def classifier():
    layers, inputs = [], 1
    pool = (None, 0, 0)
    for outputs, kernel, padding in ((32, 5, 0), pool, (64, 3, 1), (64, 3, 0), pool, (128, 3, 1), (128, 3, 1)):
        if outputs is None:
            layers += [nn.MaxPool2d(2), nn.Dropout(0.5)]
        else:
            layers += [nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


NETWORKS = {"kdgan-student": student, "kdgan-teacher": teacher, "triple-gan-classifier": classifier}


def milliseconds(network, batch, channels_last, budget=2.0):
    """The median of a step's."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    network = network.train().to(memory_format=form)
    images, labels = torch.rand(batch, 1, 28, 28).to(memory_format=form), torch.randint(0, 10, (batch,))
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step():
        start = time.perf_counter()
        nn.functional.cross_entropy(network(images), labels).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return 1e3 * (time.perf_counter() - start)

    for _ in range(3):
        step()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < budget:
        times.append(step())
    return sorted(times)[len(times) // 2]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--batch", type=int, default=100)
    p.add_argument("--threads", type=int)
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    for name, build in NETWORKS.items():
        times = {way: milliseconds(build(), a.batch, way == "channels-last") for way in ("eager", "channels-last")}
        print(json.dumps({"network": name, "batch": a.batch, "ms": times}), flush=True)


if __name__ == "__main__":
    main()
