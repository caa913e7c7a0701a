#!/usr/bin/env python3
"""Write the 2048 features of the Inception network for `veridical evaluate --real-features` and `--generated-features`.

Reads pictures: a folder of PNG, JPEG, WebP or BMP files (those in folders of it come last) or an .npz file with
`images` or `arr_0`, bytes [n, height, width, channels], as `veridical sample --output drawn.npz` and the scripts of ADM write
it. Writes one .npy file, float32 [n, 2048], a row for each picture.

Which figures compare with published ones is a matter of the weights and of how pictures are enlarged to 299 x 299:

  --torchscript FILE   a TorchScript export of the network of the original FID code, such as inception-2015-12-05.pt of
                       StyleGAN2-ADA, whose weights EDM uses, too: it enlarges pictures itself, and the Frechet distance is the
                       standard FID. Compares with figures and reference statistics of EDM (.npz, or .pkl by
                       scripts/edm_statistics.py).
  --pytorch-fid        the port of the same weights that the package `pytorch-fid` loads, which enlarges pictures in another
                       way: a FID that compares with figures and statistics of pytorch-fid, and differs a little from the
                       former.
  --torchvision FILE   torchvision's own Inception v3 (the state dict inception_v3_google-*.pth). Other weights: its distances
                       are FIDs only among themselves, and compare with no published one. Say so beside them.

Needs PyTorch and NumPy, Pillow for folders, and the package that goes with the weights. Nothing is downloaded but what
`pytorch-fid` fetches by itself.

  python scripts/inception_features.py --torchscript inception-2015-12-05.pt drawn.npz drawn-features.npy
  python scripts/inception_features.py --torchscript inception-2015-12-05.pt pictures real-features.npy
  veridical evaluate --real-features real-features.npy --generated-features drawn-features.npy
"""

import argparse
import os
import sys

DIMS = 2048
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Problem(Exception):
    """What is wrong and what to do, for the user."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a folder of pictures, or an .npz file of bytes")
    parser.add_argument("output", help="the file to write, which ends in .npy")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--torchscript", metavar="FILE", help="a TorchScript export of the original network")
    weights.add_argument("--pytorch-fid", action="store_true", help="the weights of the package pytorch-fid")
    weights.add_argument("--torchvision", metavar="FILE", help="a state dict of torchvision's inception_v3")
    parser.add_argument("--batch", type=int, default=50, help="pictures at a time (default: %(default)s)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: cuda if there is one)")
    parser.add_argument("--most", type=int, metavar="N", help="the first N pictures only")
    args = parser.parse_args(argv)
    try:
        run(args)
    except (Problem, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


def run(args):
    for name in ("batch", "most"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise Problem(f"--{name} must be at least 1, got {value}")
    if not args.output.endswith(".npy"):
        raise Problem(f"{args.output}: what is written is .npy; end the name so")
    folder = os.path.dirname(os.path.abspath(args.output))
    if not os.path.isdir(folder):
        raise Problem(f"{args.output}: {folder} is no folder; make it first")
    try:
        import numpy
        import torch
    except ImportError as error:
        raise Problem(f"PyTorch and NumPy are needed: {error}") from error
    count, read = opened(args.pictures)
    count = min(count, args.most or count)
    try:
        device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Problem(f"--device {args.device}: {str(error).splitlines()[0]}") from error
    features = network(args, device)
    print(f"{args.pictures}: {count} pictures", file=sys.stderr)
    rows = numpy.empty((count, DIMS), dtype=numpy.float32)
    with torch.no_grad():
        for first in range(0, count, args.batch):
            end = min(first + args.batch, count)
            # [n, 3, height, width], bytes; pictures of one size go through the network together.
            for at, batch in by_size(read, first, end):
                found = features(torch.from_numpy(batch).to(device)).flatten(1).float().cpu().numpy()
                if found.shape != (len(batch), DIMS):
                    raise Problem(f"the network makes {list(found.shape)} of {len(batch)} pictures, expected [{len(batch)}, {DIMS}] features")
                if not numpy.isfinite(found).all():
                    raise Problem(f"the features of pictures {at} to {at + len(batch) - 1} are not all finite")
                rows[at : at + len(batch)] = found
            print(f"\r{end}/{count}", end="\n" if end == count else "", file=sys.stderr, flush=True)
    part = f"{args.output}.part"
    with open(part, "wb") as file:
        numpy.save(file, rows)
    os.replace(part, args.output)
    print(f"{args.output}: {count} rows of {DIMS} features")


def by_size(read, first, end):
    """Runs of consecutive pictures of one size, with the index of the first of each."""
    import numpy

    start, run = first, []
    for i in range(first, end):
        picture = read(i)
        if run and run[0].shape != picture.shape:
            yield start, numpy.stack(run)
            start, run = i, []
        run.append(picture)
    yield start, numpy.stack(run)


def opened(path):
    """The number of pictures at `path`, and a function that reads one as bytes [3, height, width]."""
    if os.path.isdir(path):
        return folder_of(path)
    if not os.path.exists(path):
        raise Problem(f"{path}: there is no such file or folder")
    if path.endswith(".npz"):
        return archive(path)
    raise Problem(f"{path}: give a folder of pictures, or an .npz file of bytes as `veridical sample --output drawn.npz` writes it")


def archive(path):
    import zipfile

    import numpy

    try:
        with numpy.load(path, allow_pickle=False) as arrays:
            name = next((name for name in ("images", "arr_0") if name in arrays), None)
            if name is None:
                raise Problem(f"{path} holds {', '.join(arrays) or 'nothing'}; expected images or arr_0")
            images = arrays[name]
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise Problem(f"{path}: not a sound .npz file: {error}") from error
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise Problem(f"{path}: {name} is {list(images.shape)}, expected [n, height, width, channels] with 1 or 3 channels")
    if images.dtype != numpy.uint8:
        raise Problem(f"{path}: {name} holds {images.dtype}, and the network is made for bytes; turn it into pictures of 8 bits first")
    # Grey is shown in all three colours.
    return len(images), lambda i: numpy.ascontiguousarray(numpy.broadcast_to(images[i], (*images.shape[1:3], 3)).transpose(2, 0, 1))


def folder_of(path):
    import numpy

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise Problem(f"Pillow is needed to read pictures: {error}") from error
    paths, others = [], 0
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(PICTURES):
                paths.append(os.path.join(folder, name))
            else:
                others += 1
    if not paths:
        raise Problem(f"{path} holds no pictures ({', '.join(PICTURES)})")
    if others:
        print(f"{path}: {others} files that are no pictures are left out", file=sys.stderr)

    def read(i):
        try:
            with Image.open(paths[i]) as picture:
                if picture.mode.startswith("I") or picture.mode == "F":
                    raise Problem(f"{paths[i]} has more than 8 bits a channel, and the network is made for bytes; convert it first")
                return numpy.ascontiguousarray(numpy.asarray(picture.convert("RGB")).transpose(2, 0, 1))
        except (UnidentifiedImageError, SyntaxError) as error:
            raise Problem(f"{paths[i]} cannot be read as a picture: {error}") from error

    return len(paths), read


def network(args, device):
    """A function from bytes [n, 3, height, width] to features [n, 2048]."""
    if args.torchscript:
        return torchscript(args.torchscript, device)
    if args.pytorch_fid:
        return pytorch_fid(device)
    return torchvision(args.torchvision, device)


def torchscript(path, device):
    import torch

    if not os.path.isfile(path):
        raise Problem(f"--torchscript {path}: there is no such file")
    try:
        net = torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise Problem(f"--torchscript {path}: not a TorchScript file: {str(error).splitlines()[0]}") from error
    names = [argument.name for argument in net.forward.schema.arguments]
    # The public export gives class probabilities unless it is asked for features.
    options = {"return_features": True} if "return_features" in names else {}
    if not options:
        print(f"{path} has no argument return_features; what it returns is taken for the features", file=sys.stderr)
    return lambda images: net(images, **options)


def pytorch_fid(device):
    try:
        from pytorch_fid.inception import InceptionV3
    except ImportError as error:
        raise Problem(f"--pytorch-fid needs the package pytorch-fid: {error}") from error
    net = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[DIMS]]).to(device).eval()
    return lambda images: net(images.float() / 255)[0]


def torchvision(path, device):
    import torch

    try:
        from torchvision.models import inception_v3
    except ImportError as error:
        raise Problem(f"--torchvision needs the package torchvision: {error}") from error
    if not os.path.isfile(path):
        raise Problem(f"--torchvision {path}: there is no such file")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        net = inception_v3(weights=None, init_weights=False, aux_logits=True, transform_input=False)
        net.load_state_dict(weights)
    except Exception as error:  # damaged files and other networks fail in many ways
        raise Problem(f"--torchvision {path}: not a state dict of inception_v3: {str(error).splitlines()[0]}") from error
    print("torchvision's weights: distances compare among themselves, and with no published FID", file=sys.stderr)
    net.fc = torch.nn.Identity()
    net = net.to(device).eval()
    mean = torch.tensor([0.485, 0.456, 0.406], device=device)[None, :, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225], device=device)[None, :, None, None]

    def features(images):
        images = torch.nn.functional.interpolate(
            images.float() / 255, size=(299, 299), mode="bilinear", align_corners=False, antialias=True
        )
        return net((images - mean) / deviation)

    return features


if __name__ == "__main__":
    sys.exit(main())
