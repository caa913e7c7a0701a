#!/usr/bin/env python3
"""Convert a published EDM network pickle to a veridical model file.

Reads the averaged network (key `ema`) of a pickle as https://github.com/NVlabs/edm trains and publishes them, and writes its
weights under their own names, with the architecture in the metadata key `veridical.model`.

Needs PyTorch. The pickle carries the source of its networks, but not that of the two packages they import, `torch_utils` and
`dnnlib`: name a checkout of the EDM repository with --edm, or put it on PYTHONPATH.

A pickle runs code when it is opened. Convert only files from sources that you trust.

  python scripts/edm_pickle_to_safetensors.py --edm ~/edm edm-cifar10-32x32-uncond-vp.pkl cifar10.safetensors
  veridical info cifar10.safetensors
"""

import argparse
import inspect
import json
import math
import os
import pickle
import sys

from tensor_files import Problem, write

# By the name of the wrapper's class: the name in model files, and the options that the wrapper keeps as attributes.
PRECONDS = {
    "EDMPrecond": ("edm", ["sigma_min", "sigma_max", "sigma_data"]),
    "VPPrecond": ("vp", ["beta_d", "beta_min", "M", "epsilon_t"]),
    "VEPrecond": ("ve", ["sigma_min", "sigma_max"]),
    "iDDPMPrecond": ("iddpm", ["C_1", "C_2", "M"]),
}
SHARED = ["label_dim", "augment_dim", "model_channels", "channel_mult", "channel_mult_emb", "num_blocks", "attn_resolutions",
          "dropout", "label_dropout"]
SONG = ["embedding_type", "channel_mult_noise", "encoder_type", "decoder_type", "resample_filter"]
NETWORKS = {"SongUNet": SHARED + SONG, "DhariwalUNet": SHARED}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pickle", help="the network pickle, such as edm-cifar10-32x32-uncond-vp.pkl")
    parser.add_argument("output", help="the model file to write, such as cifar10.safetensors")
    parser.add_argument("--edm", metavar="DIR", help="a checkout of the EDM repository, for torch_utils and dnnlib")
    parser.add_argument("--key", default="ema", help="which network of the pickle (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        net = load(args.pickle, args.key, args.edm)
        config = architecture(net)
        tensors = weights(net)
        write(args.output, tensors, {"veridical.model": json.dumps(config)})
    except (Problem, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    numbers = sum(math.prod(shape) for shape, _ in tensors.values())
    print(f"{args.output}: {config['precond']} {config['model_type']}, {len(tensors)} tensors, {numbers:,} numbers")
    return 0


def load(path, key, edm):
    """The network called `key` of the pickle at `path`."""
    if edm is not None:
        if not os.path.isdir(os.path.join(edm, "torch_utils")):
            raise Problem(f"{edm} holds no torch_utils; --edm must name a checkout of the EDM repository")
        sys.path.insert(0, edm)
    try:
        import torch
    except ImportError as error:
        raise Problem(f"PyTorch is needed to read the pickle: {error}") from error
    with open(path, "rb") as file:
        try:
            with torch.no_grad():
                content = pickle.load(file)
        except ModuleNotFoundError as error:
            what = "name a checkout of the EDM repository with --edm, or put it on PYTHONPATH"
            raise Problem(f"{path} needs the module {error.name}; {what}") from error
        except Exception as error:  # whatever a damaged pickle, or the code in it, comes up with
            raise Problem(f"{path} cannot be unpickled: {type(error).__name__}: {error}") from error
    if isinstance(content, dict):
        if key not in content:
            raise Problem(f"{path} holds no {key!r}, but {sorted(map(str, content))}; choose with --key")
        content = content[key]
    if not hasattr(content, "state_dict") or not hasattr(content, "model"):
        raise Problem(f"{path} holds a {type(content).__name__}, expected one of EDM's preconditioned networks")
    return content


def architecture(net):
    """The options of preconditioning and network, under EDM's names."""
    wrapper, network = type(net).__name__, type(net.model).__name__
    if wrapper not in PRECONDS:
        raise Problem(f"the preconditioning is a {wrapper}, expected one of {sorted(PRECONDS)}")
    if network not in NETWORKS:
        raise Problem(f"the network is a {network}, expected one of {sorted(NETWORKS)}")
    precond, attributes = PRECONDS[wrapper]
    config = {"precond": precond, "model_type": network}
    for name in attributes:
        value = plain(getattr(net, name))
        if value != math.inf:  # JSON knows no infinity; without the option there is no limit
            config[name] = value

    given = {**arguments(net), **arguments(net.model)}
    for name in ("img_resolution", "img_channels"):
        config[name] = plain(getattr(net, name))
    for name in NETWORKS[network]:
        if name in given and given[name] is not None:
            config[name] = plain(given[name])
    known = {*config, *attributes, *NETWORKS[network], "use_fp16", "in_channels", "out_channels"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise Problem(f"the network has options that veridical does not know: {', '.join(unknown)}")
    if "attn_resolutions" in config:
        # EDM passes over resolutions that the network does not have; a model file names those it has.
        levels = range(len(config.get("channel_mult", [1, 2, 2, 2])))
        present = [config["img_resolution"] >> level for level in levels]
        config["attn_resolutions"] = [at for at in config["attn_resolutions"] if at in present]
    return config


def arguments(module):
    """What a persistent object was made with, by name, defaults included."""
    own = next((cls for cls in type(module).__mro__[1:] if cls.__name__ == type(module).__name__), type(module))
    args = getattr(module, "_init_args", None) or ()
    kwargs = getattr(module, "_init_kwargs", None)
    if kwargs is None:
        raise Problem(f"the {type(module).__name__} does not know what it was made with; is it a pickle of EDM's own classes?")
    signature = inspect.signature(own.__init__)
    bound = signature.bind(None, *args, **kwargs)
    bound.apply_defaults()
    given = {}
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(bound.arguments.get(name, {}))
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            given[name] = bound.arguments.get(name)
    given.pop("model_type", None)
    return given


def plain(value):
    """A JSON value for a number, string, list, tensor scalar or NumPy scalar."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise Problem(f"an option is a {type(value).__name__}: {value!r}")


def weights(net):
    """Shape and little-endian float32 bytes of every parameter and buffer, by its name in model files."""
    import torch

    tensors = {}
    for name, tensor in net.state_dict().items():
        if not name.startswith("model."):
            name = f"model.{name}"  # iDDPM's table, which the wrapper holds
        tensor = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()
        if not bool(torch.isfinite(tensor).all()):
            raise Problem(f"{name} is not finite: the pickle is damaged, or its training diverged")
        data = tensor.numpy()
        tensors[name] = (list(tensor.shape), data.astype("<f4").tobytes())
    return tensors


if __name__ == "__main__":
    sys.exit(main())
