#!/usr/bin/env python3
"""Convert between veridical model files of the network DhariwalUNet (ADM) and diffusers' UNet2DModel.

  python3 scripts/diffusers_unet2d.py to-diffusers model.safetensors adm            # adm/unet and adm/scheduler
  python3 scripts/diffusers_unet2d.py from-diffusers adm model.safetensors

Tensors are renamed, rows of queries, keys and values put in the other's order, and nothing is computed: both networks give the
same numbers. docs/guides/diffusers.md says which configurations have a counterpart; the others are refused with the reason.

Needs Python 3.8 alone, neither PyTorch nor diffusers.
"""

import argparse
import array
import json
import math
import os
import struct
import sys

from tensor_files import Problem, read, read_json, write, write_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
# Channels of a head of attention, groups of a normalisation and what is added to its variances: constants of DhariwalUNet.
HEAD, GROUPS, EPS = 64, 32, 1e-5
# What UNet2DModel takes where its configuration says nothing.
DEFAULTS = {
    "sample_size": None, "in_channels": 3, "out_channels": 3, "center_input_sample": False, "time_embedding_type": "positional",
    "time_embedding_dim": None, "freq_shift": 0, "flip_sin_to_cos": True, "mid_block_type": "UNetMidBlock2D",
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896], "layers_per_block": 2, "mid_block_scale_factor": 1, "downsample_padding": 1,
    "downsample_type": "conv", "upsample_type": "conv", "dropout": 0.0, "act_fn": "silu", "attention_head_dim": 8,
    "norm_num_groups": 32, "attn_norm_num_groups": None, "norm_eps": 1e-5, "resnet_time_scale_shift": "default",
    "add_attention": True, "class_embed_type": None, "num_class_embeds": None, "num_train_timesteps": None,
}
# What a UNet2DModel must have to be a DhariwalUNet.
FIXED = {
    "center_input_sample": False, "time_embedding_type": "positional", "freq_shift": 0, "flip_sin_to_cos": True,
    "mid_block_type": "UNetMidBlock2D", "mid_block_scale_factor": 1, "downsample_type": "resnet", "upsample_type": "resnet",
    "attention_head_dim": HEAD, "norm_num_groups": GROUPS, "attn_norm_num_groups": GROUPS, "norm_eps": EPS,
    "resnet_time_scale_shift": "scale_shift", "add_attention": True, "class_embed_type": None,
}
# Names of a block's parts, here and there.
RESNET = {"norm0": "norm1", "conv0": "conv1", "affine": "time_emb_proj", "norm1": "norm2", "conv1": "conv2"}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("to-diffusers", help="a model file to the folders unet and scheduler")
    command.add_argument("model", help="a model file of veridical")
    command.add_argument("folder", help="the folder to make; it must not be there yet, or be empty")
    command = commands.add_parser("from-diffusers", help="a saved UNet2DModel and its scheduler to a model file")
    command.add_argument("folder", help="a saved pipeline, or a folder with unet and scheduler")
    command.add_argument("model", help="the model file to write")
    args = parser.parse_args(argv)
    try:
        (to_diffusers if args.command == "to-diffusers" else from_diffusers)(args)
    except (Problem, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:  # a number where a list should be, and the like
        print(f"error: {args.folder}, {args.model}: a configuration is not sound: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def to_diffusers(args):
    tensors, metadata = read(args.model)
    if "veridical.model" not in metadata:
        raise Problem(f"{args.model} holds no architecture (metadata key veridical.model); is it a model file of veridical?")
    model = json.loads(metadata["veridical.model"])
    if model.get("model_type", "SongUNet") != "DhariwalUNet":
        raise Problem(f"{args.model} holds a {model.get('model_type', 'SongUNet')}, which UNet2DModel cannot express (docs/guides/diffusers.md "
                      "says why); DhariwalUNet can be converted: train with --set model.model_type=\"DhariwalUNet\"")
    model = {"label_dim": 0, "augment_dim": 0, "model_channels": 192, "channel_mult": [1, 2, 3, 4], "channel_mult_emb": 4,
             "num_blocks": 3, "attn_resolutions": [32, 16, 8], "dropout": 0.1, "precond": "edm", **model}
    size = [model.get(side) or model["img_resolution"] for side in ("img_height", "img_width")]
    widths = [model["model_channels"] * mult for mult in model["channel_mult"]]
    if model["channel_mult"][0] != 1:
        raise Problem(f"channel_mult is {model['channel_mult']}: UNet2DModel embeds noise levels in as many channels as its first block has, "
                      "which needs a 1 in front")
    if model["precond"] == "iddpm" and out_channels(tensors) != model["img_channels"]:
        print(f"left out: the last {out_channels(tensors) - model['img_channels']} channels of the network's output, which the preconditioning "
              "does not use")
        keep_outputs(tensors, model["img_channels"])
    if tensors.pop("model.map_augment.weight", None):
        print("left out: the embedding of augmentation labels, which are zero wherever a model is used")
    table = tensors.pop("model.u", None)

    levels = range(len(widths))
    attends = [(max(size) >> level) in model["attn_resolutions"] for level in levels]
    config = {
        "_class_name": "UNet2DModel", **DEFAULTS, **FIXED, "sample_size": size[0] if size[0] == size[1] else size,
        "in_channels": model["img_channels"], "out_channels": model["img_channels"], "block_out_channels": widths,
        "time_embedding_dim": model["model_channels"] * model["channel_mult_emb"], "layers_per_block": model["num_blocks"],
        "dropout": model["dropout"], "num_class_embeds": model["label_dim"] or None,
        "down_block_types": ["AttnDownBlock2D" if attends[i] else "ResnetDownsampleBlock2D" for i in levels],
        "up_block_types": ["AttnUpBlock2D" if attends[i] else "ResnetUpsampleBlock2D" for i in reversed(levels)],
    }
    check(config)
    out = rename(tensors, config, there=True)
    if os.path.isdir(args.folder) and os.listdir(args.folder):
        raise Problem(f"{args.folder} is not empty; name a new folder")
    scheduler = scheduler_of(model, table)
    os.makedirs(os.path.join(args.folder, "unet"))
    write(os.path.join(args.folder, "unet", WEIGHTS), out, {"format": "pt"})
    write_json(os.path.join(args.folder, "unet", "config.json"), config)
    if scheduler:
        os.makedirs(os.path.join(args.folder, "scheduler"))
        write_json(os.path.join(args.folder, "scheduler", "scheduler_config.json"), scheduler)
    else:
        print(f"no scheduler: none of diffusers has the preconditioning {model['precond']}; docs/guides/diffusers.md has its formulas")
    own = {key: metadata[key] for key in ("veridical.units", "veridical.classes") if key in metadata}
    if own:
        write_json(os.path.join(args.folder, "veridical.json"), own)
        print(f"{', '.join(own)}: kept in {os.path.join(args.folder, 'veridical.json')}; diffusers knows neither, and its samples are as the "
              "network has them")
    print(f"{args.folder}: UNet2DModel, {len(out)} tensors, {numbers(out):,} numbers")


def from_diffusers(args):
    part = lambda name: next((path for path in (os.path.join(args.folder, name), args.folder) if os.path.isdir(path)), args.folder)
    path = os.path.join(part("unet"), "config.json")
    if not os.path.isfile(path):
        raise Problem(f"{path} is not there; name a folder with what UNet2DModel.save_pretrained writes, or a pipeline's")
    config = read_json(path)
    if config.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise Problem(f"{path} is of a {config['_class_name']}; only a UNet2DModel has a counterpart")
    unknown = sorted(key for key in config if key not in DEFAULTS and not key.startswith("_"))
    if unknown:
        raise Problem(f"{path} has options that this script does not know: {', '.join(unknown)}")
    config = {**DEFAULTS, **config}
    check(config)
    weights = os.path.join(part("unet"), WEIGHTS)
    if not os.path.isfile(weights):
        raise Problem(f"{weights} is not there; save the model with save_pretrained(folder, safe_serialization=True), in one file")
    tensors, _ = read(weights)

    path = os.path.join(part("scheduler"), "scheduler_config.json")
    if not os.path.isfile(path):
        raise Problem(f"{path} is not there: what the network was trained to predict, and at which noise levels, is not known; save the "
                      "scheduler of the training there with save_pretrained")
    precond, table = precond_of(read_json(path), path)
    widths, size = config["block_out_channels"], config["sample_size"]
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    if not height:
        raise Problem("sample_size is not said in unet/config.json; write the height and width of the images there")
    halvings = len(widths) - 1
    if height % (1 << halvings) or width % (1 << halvings) or min(height, width) >> halvings < 1:
        raise Problem(f"images of {height}x{width} cannot be halved {halvings} times, which UNet2DModel does not do evenly either")
    model = {
        **precond, "model_type": "DhariwalUNet", "img_resolution": max(height, width), "img_channels": config["in_channels"],
        "label_dim": config["num_class_embeds"] or 0, "model_channels": widths[0], "channel_mult": [n // widths[0] for n in widths],
        "channel_mult_emb": (config["time_embedding_dim"] or 4 * widths[0]) // widths[0], "num_blocks": config["layers_per_block"],
        "attn_resolutions": [max(height, width) >> i for i, name in enumerate(config["down_block_types"]) if name == "AttnDownBlock2D"],
        "dropout": config["dropout"],
    }
    if height != width:
        model.update(img_height=height, img_width=width)
    out = rename(tensors, config, there=False)
    channels, given = config["in_channels"], out_channels(out)
    if given != config["out_channels"]:
        raise Problem(f"out_channels is {config['out_channels']}, and conv_out has {given}: weights and configuration are not of one network")
    if given == 2 * channels and model["precond"] != "iddpm":
        print(f"left out: the last {channels} channels of the network's output, which the preconditioning does not use")
        keep_outputs(out, channels)
    elif given == channels and model["precond"] == "iddpm":
        print(f"added: {channels} channels of zeros to the network's output, for the variance that the preconditioning has room for")
        for name in ("model.out_conv.weight", "model.out_conv.bias"):
            shape, data = out[name]
            out[name] = ([2 * channels, *shape[1:]], data + bytes(len(data)))
    elif given not in (channels, 2 * channels):
        raise Problem(f"out_channels is {given} for {channels} channels of images; expected as many, or twice as many with a variance")
    if table:
        out["model.u"] = ([len(table)], array.array("f", table).tobytes())
    metadata = {"veridical.model": json.dumps(model)}
    own = os.path.join(args.folder, "veridical.json")
    if os.path.isfile(own):
        kept = read_json(own)
        metadata.update({key: kept[key] for key in ("veridical.units", "veridical.classes") if isinstance(kept.get(key), str)})
    write(args.model, out, metadata)
    print(f"{args.model}: {model['precond']} DhariwalUNet, {len(out)} tensors, {numbers(out):,} numbers")


def check(config):
    """Refuses a UNet2DModel that is no DhariwalUNet."""
    widths, down, up = (config[key] for key in ("block_out_channels", "down_block_types", "up_block_types"))
    last = len(widths) - 1
    reasons = []
    for key, expected in FIXED.items():
        resampling = key in ("downsample_type", "upsample_type")
        if config[key] != expected and not (resampling and (last == 0 or not any("Attn" in name for name in [*down, *up]))):
            reasons.append(f"{key} is {config[key]!r}, expected {expected!r}")
    if config["act_fn"] not in ("silu", "swish"):
        reasons.append(f"act_fn is {config['act_fn']!r}, expected 'silu'")
    # Where nothing is resampled, the blocks with convolutions there are the same as those with residual blocks.
    plain = {"down": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"], "up": ["ResnetUpsampleBlock2D", "AttnUpBlock2D"]}
    for kind, names, end in (("down", down, "DownBlock2D"), ("up", up, "UpBlock2D")):
        for i, name in enumerate(names):
            if name not in plain[kind] + ([end] if i == last else []):
                reasons.append(f"{kind}_block_types[{i}] is {name!r}, expected one of {plain[kind]}")
    if ["Attn" in name for name in down] != ["Attn" in name for name in reversed(up)]:
        reasons.append("down_block_types and up_block_types have attention at different levels")
    if any(width % widths[0] for width in widths):
        reasons.append(f"block_out_channels is {widths}, expected multiples of the first")
    if any(width < 4 * GROUPS or width % GROUPS for width in widths):
        reasons.append(f"block_out_channels is {widths}: below {4 * GROUPS} channels DhariwalUNet has a group for every 4 of them, and no "
                       f"one number of groups; expected multiples of {GROUPS} from {4 * GROUPS} on")
    attending = [width for width, name in zip(widths, down) if "Attn" in name] + [widths[-1]]
    if any(width % HEAD for width in attending):
        reasons.append(f"attention at {attending} channels does not fall into heads of {HEAD}")
    if (config["time_embedding_dim"] or 0) % widths[0]:
        reasons.append(f"time_embedding_dim is {config['time_embedding_dim']}, expected a multiple of {widths[0]}")
    if reasons:
        raise Problem("this UNet2DModel has no counterpart, for\n  " + "\n  ".join(reasons))


def pairs(config):
    """Every layer's name here and there, and what it is: `layer`, `label`, `filter` or `attention`."""
    widths, down = config["block_out_channels"], config["down_block_types"]
    size = config["sample_size"]
    size, last, count = max(size) if isinstance(size, (list, tuple)) else size, len(widths) - 1, config["layers_per_block"]
    attends = ["Attn" in name for name in down]
    at = lambda level: f"{size >> level}x{size >> level}"

    def block(here, there, inputs, outputs, attention=None, resampled=False):
        for ours, theirs in RESNET.items():
            yield f"{here}.{ours}", f"{there}.{theirs}", "layer"
        if inputs != outputs:
            yield f"{here}.skip", f"{there}.conv_shortcut", "layer"
        if resampled:
            for part in ("conv0", "skip"):
                yield f"{here}.{part}.resample_filter", None, "filter"
        if attention:
            yield f"{here}.norm2", f"{attention}.group_norm", "layer"
            yield f"{here}.qkv", attention, "attention"
            yield f"{here}.proj", f"{attention}.to_out.0", "pointwise"

    yield "map_layer0", "time_embedding.linear_1", "layer"
    yield "map_layer1", "time_embedding.linear_2", "layer"
    if config["num_class_embeds"]:
        yield "map_label.weight", "class_embedding.weight", "label"
    yield f"enc.{at(0)}_conv", "conv_in", "layer"
    channels, skips = widths[0], [widths[0]]
    for level, width in enumerate(widths):
        there = f"down_blocks.{level}"
        for i in range(count):
            attention = f"{there}.attentions.{i}" if attends[level] else None
            yield from block(f"enc.{at(level)}_block{i}", f"{there}.resnets.{i}", channels, width, attention)
            channels = width
            skips.append(width)
        if level < last:
            yield from block(f"enc.{at(level + 1)}_down", f"{there}.downsamplers.0", width, width, resampled=True)
            skips.append(width)
    yield from block(f"dec.{at(last)}_in0", "mid_block.resnets.0", channels, channels, "mid_block.attentions.0")
    yield from block(f"dec.{at(last)}_in1", "mid_block.resnets.1", channels, channels)
    for level in reversed(range(last + 1)):
        there, width = f"up_blocks.{last - level}", widths[level]
        for i in range(count + 1):
            attention = f"{there}.attentions.{i}" if attends[level] else None
            yield from block(f"dec.{at(level)}_block{i}", f"{there}.resnets.{i}", channels + skips.pop(), width, attention)
            channels = width
        if level > 0:
            yield from block(f"dec.{at(level - 1)}_up", f"{there}.upsamplers.0", width, width, resampled=True)
    yield "out_norm", "conv_norm_out", "layer"
    yield "out_conv", "conv_out", "layer"


def rename(tensors, config, there):
    """The tensors of the other side. Refuses missing ones, and those that are left over."""
    left, out = dict(tensors), {}

    def take(name):
        if name not in left:
            raise Problem(f"the tensor {name} is missing: weights and configuration are not of one network")
        return left.pop(name)

    for here, theirs, kind in pairs(config):
        here = f"model.{here}"
        if kind == "filter":
            if there:
                take(here)
            else:
                out[here] = ([1, 1, 2, 2], struct.pack("<4f", *[0.25] * 4))
        elif kind == "label":
            shape, data = take(here if there else theirs)
            out[theirs if there else here] = (shape[::-1], transposed(data, *shape))
        elif kind == "attention":
            for part in ("weight", "bias"):
                names = [f"{theirs}.to_{name}.{part}" for name in "qkv"]
                if there:
                    shape, data = take(f"{here}.{part}")
                    rows = [[shape[0] // 3, *shape[1:2]], len(data) // shape[0]]
                    for i, name in enumerate(names):
                        out[name] = (list(rows[0]), every_third(data, rows[1], i))
                else:
                    given = [take(name) for name in names]
                    shape = given[0][0]
                    out[f"{here}.{part}"] = ([3 * shape[0], *shape[1:], *([1, 1] if part == "weight" else [])],
                                             interleaved([data for _, data in given], len(given[0][1]) // shape[0]))
        else:
            for part in ("weight", "bias"):
                shape, data = take(f"{here if there else theirs}.{part}")
                if kind == "pointwise" and part == "weight":
                    shape = shape[:2] if there else [*shape, 1, 1]
                out[f"{theirs if there else here}.{part}"] = (shape, data)
    if left:
        raise Problem(f"unexpected tensors: {', '.join(sorted(left)[:8])}: weights and configuration are not of one network")
    return out


def every_third(data, row, first):
    return b"".join(data[at : at + row] for at in range(first * row, len(data), 3 * row))


def interleaved(parts, row):
    return b"".join(part[at : at + row] for at in range(0, len(parts[0]), row) for part in parts)


def transposed(data, rows, columns):
    values = array.array("I", data)
    return b"".join(values[column::columns].tobytes() for column in range(columns))


def out_channels(tensors):
    name = next(name for name in ("model.out_conv.weight", "conv_out.weight") if name in tensors)
    return tensors[name][0][0]


def keep_outputs(tensors, channels):
    for name in ("model.out_conv.weight", "model.out_conv.bias"):
        shape, data = tensors[name]
        tensors[name] = ([channels, *shape[1:]], data[: len(data) // shape[0] * channels])


def scheduler_of(model, table):
    """diffusers' scheduler for a preconditioning, where it has one."""
    if model["precond"] == "edm":
        return {"_class_name": "EDMEulerScheduler", "sigma_min": model.get("sigma_min") or 0.002, "sigma_max": model.get("sigma_max") or 80.0,
                "sigma_data": model.get("sigma_data", 0.5), "sigma_schedule": "karras", "prediction_type": "epsilon", "rho": 7.0,
                "num_train_timesteps": 1000}
    if model["precond"] == "iddpm":
        scheduler = {"_class_name": "DDPMScheduler", "prediction_type": "epsilon", "num_train_timesteps": model.get("M", 1000)}
        if model.get("betas"):
            first, last = model["betas"]
            return {**scheduler, "beta_schedule": "linear", "beta_start": first, "beta_end": last}
        if model.get("C_1", 0.001) == 0.001 and model.get("C_2", 0.008) == 0.008:
            return {**scheduler, "beta_schedule": "squaredcos_cap_v2"}
        raise Problem(f"the noise levels of C_1 = {model['C_1']} and C_2 = {model['C_2']} are no schedule of diffusers; its squaredcos_cap_v2 "
                      "is that of 0.001 and 0.008")
    return None


def precond_of(scheduler, path):
    """The preconditioning, with its options and its table of noise levels, of diffusers' scheduler."""
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise Problem(f"{path}: the network predicts {prediction!r}; only 'epsilon' has a counterpart: with others the network is told another "
                      "time than a model file can say")
    name = scheduler.get("_class_name", "")
    if name.startswith("EDM"):
        return {"precond": "edm", "sigma_min": scheduler.get("sigma_min", 0.002), "sigma_max": scheduler.get("sigma_max", 80.0),
                "sigma_data": scheduler.get("sigma_data", 0.5)}, None
    if "beta_schedule" not in scheduler or scheduler.get("trained_betas") or scheduler.get("rescale_betas_zero_snr"):
        raise Problem(f"{path}: a {name or 'scheduler'} without a plain beta_schedule has no counterpart; one of DDPM's kind "
                      "(DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler, ...) or EDMEulerScheduler has")
    steps, schedule = scheduler.get("num_train_timesteps", 1000), scheduler["beta_schedule"]
    options = {"precond": "iddpm", "M": steps}
    if schedule == "linear":
        first, last = scheduler.get("beta_start", 0.0001), scheduler.get("beta_end", 0.02)
        options["betas"] = [first, last]
        betas = [first + (last - first) * n / max(steps - 1, 1) for n in range(steps)]
    elif schedule == "squaredcos_cap_v2":
        options.update(C_1=0.001, C_2=0.008)
        return options, cosine_table(steps)
    else:
        raise Problem(f"{path}: beta_schedule {schedule!r} has no counterpart; 'linear' and 'squaredcos_cap_v2' have")
    table, logarithm = [0.0], 0.0
    for beta in betas:
        logarithm -= math.log1p(-beta)
        table.append(math.sqrt(math.expm1(logarithm)))
    return options, table[::-1]


def cosine_table(steps):
    """squaredcos_cap_v2's noise levels as model files have them: EDM's, whose formula is the same, in float32 step by step."""
    single = lambda value: struct.unpack("f", struct.pack("f", value))[0]

    def alpha_bar(j):
        phase = single(single(single(math.pi / 2 * j) / steps) / single(1.008))
        return single(single(math.sin(phase)) ** 2)

    table = [0.0]
    for j in range(steps, 0, -1):
        ratio = max(single(alpha_bar(j - 1) / alpha_bar(j)), single(0.001))
        table.append(single(math.sqrt(max(single(single(single(single(table[-1] ** 2) + 1) / ratio) - 1), 0.0))))
    return table[::-1]


def numbers(tensors):
    return sum(math.prod(shape) for shape, _ in tensors.values())


if __name__ == "__main__":
    sys.exit(main())
