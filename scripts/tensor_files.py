"""Safetensors and JSON, in and out, for the converters beside this file. Needs Python alone."""

import array
import json
import math
import os
import struct


class Problem(Exception):
    """What is wrong and what to do, for the user."""


def read(path):
    """Shapes and float32 bytes by name, and the metadata, of a safetensors file."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        end = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:end])
        metadata = header.pop("__metadata__", {})
        tensors, narrow = {}, set()
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            kind, part = entry["dtype"], data[end + first : end + last]
            if kind != "F32":
                narrow.add(kind)
            tensors[name] = (entry["shape"], in_32_bits(kind, part, name))
            if len(tensors[name][1]) != 4 * math.prod(entry["shape"]):
                raise ValueError(f"{name} is cut short")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise Problem(f"{path} is no sound safetensors file: {error}") from error
    if narrow:
        print(f"converted: numbers of {', '.join(sorted(narrow))} to 32 bits")
    return tensors, metadata


def in_32_bits(kind, data, name):
    if kind == "F32":
        return data
    if kind == "BF16":  # the upper half of a float32
        wide = bytearray(2 * len(data))
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        return bytes(wide)
    if kind in ("F16", "F64"):
        code, size = ("e", 2) if kind == "F16" else ("d", 8)
        return array.array("f", struct.unpack(f"<{len(data) // size}{code}", data)).tobytes()
    raise ValueError(f"{name} is of {kind}, expected floating-point numbers")


def read_json(path):
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise Problem(f"{path} is no sound JSON: {error}") from error
    if not isinstance(content, dict):
        raise Problem(f"{path} holds no JSON object")
    return content


def write_json(path, content):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def write(path, tensors, metadata):
    """Writes a safetensors file: beside `path` first, then renamed."""
    header, offset = {"__metadata__": metadata}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            file.write(struct.pack("<Q", len(text)))
            file.write(text)
            for _, data in tensors.values():
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
