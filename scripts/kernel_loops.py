#!/usr/bin/env python3
"""Counts the instructions of the kernels' inner loops and holds them against scripts/kernel_budgets.txt.

    scripts/kernel_loops.py FOLDER --tools BIN [--arch sm_90a] [--all]

FOLDER holds the fatbins that build.rs made (target/release/build/veridical-*/out/cuda), BIN cuobjdump and nvdisasm. A line of the budgets
names a kernel, an instruction, how many of it the loop has, and how many instructions it may have in all: of the loops with as many, the
shortest counts. Besides, no kernel may use local memory, which is where registers spill to and arrays go that are indexed by numbers that
the compiler does not know, unless a line `local NAME` allows it, and nothing but HGMMA may write registers that HGMMA has its sums in, from
the first of a loop's to its last. --all prints every loop of every kernel instead.
"""
import argparse
import collections
import fnmatch
import pathlib
import re
import subprocess
import sys

BUDGETS = pathlib.Path(__file__).with_name("kernel_budgets.txt")


def kernels(fatbin, tools, arch):
    """The instructions of each kernel in a fatbin, and where its labels stand."""
    command = [f"{tools}/cuobjdump", "-sass", "-arch", arch, str(fatbin)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for part in text.split("Function : ")[1:]:
        name, body = part.split("\n", 1)
        code = [(int(at, 16), what) for at, what in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;\n]+);", body)]
        yield name.strip(), code


def opcode(instruction):
    return re.sub(r"^@!?U?P\w+ ", "", instruction).split()[0].split(".")[0]


def loops(code):
    """Of each jump backwards, what lies between it and where it goes, counted by instruction."""
    index = {at: i for i, (at, _) in enumerate(code)}
    for i, (_, instruction) in enumerate(code):
        jump = re.search(r"\bBRA\b.*?(0x[0-9a-f]+)", instruction)
        start = index.get(int(jump[1], 16)) if jump else None
        if start is not None and start < i:
            yield collections.Counter(opcode(what) for _, what in code[start : i + 1])


def spoilt(code):
    """What writes the sums of products of a warpgroup between the first of a loop's and its last: there it would wait for them."""
    index = {at: i for i, (at, _) in enumerate(code)}
    for i, (_, instruction) in enumerate(code):
        jump = re.search(r"\bBRA\b.*?(0x[0-9a-f]+)", instruction)
        start = index.get(int(jump[1], 16)) if jump else None
        body = [what for _, what in code[start : i + 1]] if start is not None and start < i else []
        products = [(k, re.search(r"HGMMA\.64x(\d+)x\d+\S* R(\d+)", what)) for k, what in enumerate(body)]
        products = [(k, int(found[2]), int(found[1]) // 2) for k, found in products if found]
        if not products or len({sums[1:] for sums in products}) > 1:
            continue
        (first, base, count), last = products[0], products[-1][0]
        for what in body[first:last]:
            written = re.match(r"(?:@!?U?P\w+ )?([A-Z0-9_]+)\S* R(\d+)", what)
            if written and written[1] != "HGMMA" and base <= int(written[2]) < base + count:
                yield what


def budgets():
    """The lines of the budgets, and the names of kernels that may use local memory, with `*` for any part."""
    lines, local = [], []
    for line in BUDGETS.read_text().splitlines():
        match line.split("#")[0].split():
            case ["local", name]:
                local.append(name)
            case [kernel, instruction, count, most]:
                lines.append((kernel, instruction, int(count), int(most)))
            case []:
                pass
            case _:
                sys.exit(f"{BUDGETS}: cannot read `{line}`")
    return lines, local


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--tools", default="/usr/local/cuda/bin")
    p.add_argument("--arch", default="sm_90a")
    p.add_argument("--all", action="store_true")
    a = p.parse_args()
    fatbins = sorted(a.folder.glob("*.fatbin"))
    found = {name: code for fatbin in fatbins for name, code in kernels(fatbin, a.tools, a.arch)}
    if not found:
        sys.exit(f"no kernels for {a.arch} in {a.folder}")
    if a.all:
        for name, code in sorted(found.items()):
            print(f"{name}: {len(code)} instructions")
            for loop in loops(code):
                print(f"  loop of {loop.total()}: " + ", ".join(f"{count} {what}" for what, count in loop.most_common(8)))
        return
    wrong = []
    lines, allowed = budgets()
    for name, code in sorted(found.items()):
        local = sum(opcode(what) in ("LDL", "STL") for _, what in code)
        if local and not any(fnmatch.fnmatch(name, pattern) for pattern in allowed):
            wrong.append(f"{name} uses local memory ({local} instructions)")
        wrong += [f"{name}: `{what}` writes sums of products that are under way" for what in spoilt(code)]
    print(f"{'kernel':<36} {'of the loop':>14} {'instructions':>13} {'at most':>8}")
    for kernel, instruction, count, most in lines:
        sizes = [loop.total() for loop in loops(found.get(kernel, [])) if loop[instruction] >= count]
        size = min(sizes, default=None)
        print(f"{kernel:<36} {f'{count} {instruction}':>14} {size or '-':>13} {most:>8}")
        if size is None:
            wrong.append(f"{kernel} has no loop with {count} {instruction}")
        elif size > most:
            wrong.append(f"{kernel}: a loop of {size} instructions, where {most} are allowed")
    print(f"{len(found)} kernels for {a.arch}")
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
