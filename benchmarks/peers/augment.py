"""Our finetuning augmentation beside timm 0.3.2 with Pillow, on one core: microseconds a picture and ratios.

    ./bazelw run //benchmarks/peers:augment

Pictures of 224 x 224, bicubic, magnitude 9. The two take turns, pinned to one core; the table has the medians over the
rounds and, as the ratio, the median of the ratios within a round. Time is processor time. "RandAugment" is the
reference's whole policy, rand-m9-mstd0.5-inc1, draws included.
"""

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import time

import numpy as np
from PIL import Image

POLICY = "rand-m9-mstd0.5-inc1"
FILL = (124, 116, 104)
SIZE = 224
SECONDS = 0.1  # Of each measurement.


def load_timm():
    """timm's auto_augment alone: the package as a whole does not import under a current PyTorch."""
    package = importlib.util.find_spec("timm")
    if package is None:
        sys.exit("timm is not installed")
    path = os.path.join(list(package.submodule_search_locations)[0], "data", "auto_augment.py")
    spec = importlib.util.spec_from_file_location("auto_augment", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_picture():
    noise = np.random.default_rng(0).normal(0, 8, (SIZE, SIZE, 3))
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    waves = np.stack([128 + 90 * np.sin(x / 17 + y / 23 + c) for c in range(3)], -1)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def timm_runs(timm, image):
    """Name of our benchmark -> what timm does for one picture."""
    hparams = dict(translate_const=100, img_mean=FILL, interpolation=Image.BICUBIC)

    def operation(name):
        level = timm.LEVEL_TO_ARG[name]
        arguments = level(9, hparams) if level else ()
        return lambda: timm.NAME_TO_OP[name](image, *arguments, fillcolor=FILL, resample=Image.BICUBIC)

    runs = {"Op/" + name.replace("Increasing", ""): operation(name) for name in timm._RAND_INCREASING_TRANSFORMS}
    policy = timm.rand_augment_transform(POLICY, dict(hparams))

    def whole_policy():
        try:
            policy(image)
        except ValueError:
            pass  # Zero bits of Posterize, which a current Pillow refuses: less work for timm.

    runs["RandAugment"] = whole_policy
    return runs


def timed(run):
    """Microseconds of processor time for one call."""
    count, begin = 0, time.process_time()
    while time.process_time() - begin < SECONDS or count < 3:
        run()
        count += 1
    return (time.process_time() - begin) / count * 1e6


def ours(program):
    command = [program, "--benchmark_format=json", "--benchmark_min_time=%g" % SECONDS]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {one["name"]: one["cpu_time"] for one in json.loads(output.stdout)["benchmarks"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/data:augment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if arguments.rounds < 5:
        sys.exit("at least 5 rounds: a median of fewer says little")
    os.sched_setaffinity(0, {arguments.core})  # The child inherits it.
    random.seed(0)
    np.random.seed(0)

    runs = timm_runs(load_timm(), make_picture())
    theirs_us = {name: [] for name in runs}
    ours_us = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        measured = ours(arguments.ours)
        for name, run in runs.items():
            theirs_us[name].append(timed(run))
            ours_us[name].append(measured[name])

    print("%d rounds, pictures of %d x %d, one core, processor time" % (arguments.rounds, SIZE, SIZE))
    print("| | timm, us | ours, us | ours is faster by |\n|---|---|---|---|")
    for name in runs:
        ratio = statistics.median(theirs / mine for theirs, mine in zip(theirs_us[name], ours_us[name]))
        print("| %s | %.0f | %.0f | %.1f |" %
              (name, statistics.median(theirs_us[name]), statistics.median(ours_us[name]), ratio))


if __name__ == "__main__":
    main()
