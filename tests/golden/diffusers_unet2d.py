#!/usr/bin/env python3
"""Writes diffusers_unet2d.safetensors: results of diffusers' UNet2DModel, in f64, for weights that a formula gives.

Needs PyTorch, diffusers and safetensors. The metadata hold the configurations, and names and shapes of the weights in their order; the
weights themselves are made again by the test that reads the file.
"""

import json
import math

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import save_file


def uniform(tensor, count):
    """Numbers in [-1/2, 1/2) for the tensor of this index: a multiplicative hash of 32 bits, mixed twice."""
    word = (torch.arange(count, dtype=torch.int64) + tensor * 1_000_003 + 1) & 0xFFFFFFFF
    for _ in range(2):
        word = ((word ^ (word >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    word = word ^ (word >> 16)
    return (word >> 8).double() / 2**24 - 0.5


def main():
    net = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(128, 128), layers_per_block=1, num_class_embeds=3,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        downsample_type="resnet", upsample_type="resnet", resnet_time_scale_shift="scale_shift", attention_head_dim=64,
        attn_norm_num_groups=32, dropout=0.1,
    ).eval()
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
    shapes = []
    with torch.no_grad():
        for i, (name, weight) in enumerate(sorted(net.state_dict().items())):
            shapes.append([name, list(weight.shape)])
            values = uniform(i, weight.numel()).reshape(weight.shape)
            if weight.dim() > 1:
                values = values * math.sqrt(12 / weight[0].numel())  # variance 1 / fan-in
            else:
                values = 0.2 * values + ("norm" in name and name.endswith("weight"))
            weight.copy_(values)  # rounded to f32
        net = net.double()
        x = uniform(1000, 3 * 64).reshape(3, 1, 8, 8) * math.sqrt(12)
        timestep, labels = torch.tensor([0, 500, 999]), torch.tensor([2, 0, 1])
        output = net(x.float().double(), timestep, class_labels=labels).sample
    config = {key: value for key, value in net.config.items() if not key.startswith("_")}
    tensors = {"x": x.float(), "timestep": timestep.float(), "class_labels": labels.float(), "output": output.float(),
               "alphas_cumprod": scheduler.alphas_cumprod[timestep].double()}
    metadata = {"config": json.dumps({"_class_name": "UNet2DModel", **config}), "scheduler": scheduler.to_json_string(),
                "tensors": json.dumps(shapes)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, "tests/golden/diffusers_unet2d.safetensors", metadata)


if __name__ == "__main__":
    main()
