"""Our input pipeline beside others', on one core: images a second and ratios.

    ./bazelw run //benchmarks/peers:input_pipeline           # photographs made on the spot, in ImageNet's mix
    ./bazelw run //benchmarks/peers:input_pipeline -- --folder=/imagenet/train

The ratios depend on the pictures, most on their bytes: the first line says what they are like.

All do the same: encoded JPEG to a uint8 image of 224 x 224 by a random crop (scale 0.2 to 1, ratio 3/4 to 4/3),
antialiased bicubic resize and random flip, batches of 32. They take turns, pinned to one core; the table has the median
of the rounds and, as the ratio, the median of the ratios within a round. Time is processor time, so that other programs
on the machine disturb it little; --wall takes wall-clock time.

"PIL + torchvision, float" adds ToTensor and Normalize, as the reference does; we leave them to the device.
"""

import argparse
import collections
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time

BATCH = 32
SIZE = 224
SCALE = (0.2, 1.0)


def read_folder(folder, count):
    paths = []
    for root, folders, files in os.walk(folder):
        folders.sort()
        paths += [os.path.join(root, name) for name in sorted(files) if name.lower().endswith((".jpg", ".jpeg"))]
    random.Random(0).shuffle(paths)
    return [open(path, "rb").read() for path in paths[:count]]


def description(images):
    """Number, mean bytes and size, and the parts of the chroma subsamplings."""
    from PIL import Image

    names = {(1, 1): "4:4:4", (2, 2): "4:2:0", (2, 1): "4:2:2"}
    width = height = 0
    parts = collections.Counter()
    for data in images:
        image = Image.open(io.BytesIO(data))
        width += image.width
        height += image.height
        luma = image.layer[0][1:3]
        parts["grey" if len(image.layer) == 1 else names.get(luma, "other")] += 1
    count = len(images)
    mix = ", ".join("%s %.0f %%" % (name, 100 * part / count) for name, part in parts.most_common())
    kilobytes = sum(map(len, images)) / count / 1000
    return "%d JPEG files, %.0f kB and %.0f x %.0f pixels on average; %s" % (count, kilobytes, width / count,
                                                                             height / count, mix)


def torchvision_pil(images, as_float):
    import torch
    from PIL import Image
    from torchvision import transforms

    steps = [
        transforms.RandomResizedCrop(SIZE, scale=SCALE, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(),
    ]
    if as_float:
        steps += [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    else:
        steps += [transforms.PILToTensor()]
    transform = transforms.Compose(steps)

    def run(start, count):
        for begin in range(start, start + count, BATCH):
            batch = [images[i % len(images)] for i in range(begin, begin + BATCH)]
            torch.stack([transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in batch])

    return run


def torchvision_v2(images):
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms import v2

    transform = v2.Compose([
        v2.RandomResizedCrop(SIZE, scale=SCALE, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
        v2.RandomHorizontalFlip(),
    ])
    tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in images]

    def run(start, count):
        for begin in range(start, start + count, BATCH):
            batch = [tensors[i % len(tensors)] for i in range(begin, begin + BATCH)]
            torch.stack([transform(decode_jpeg(data, mode=ImageReadMode.RGB)) for data in batch])

    return run


def dali(images):
    import numpy as np
    from nvidia.dali import fn, pipeline_def, types

    arrays = [np.frombuffer(data, dtype=np.uint8) for data in images]
    position = [0]

    def source():
        batch = [arrays[(position[0] + i) % len(arrays)] for i in range(BATCH)]
        position[0] += BATCH
        return batch

    @pipeline_def(batch_size=BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def make():
        encoded = fn.external_source(source=source, dtype=types.UINT8)
        decoded = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB, random_area=SCALE,
                                                random_aspect_ratio=(3 / 4, 4 / 3))
        resized = fn.resize(decoded, size=(SIZE, SIZE), interp_type=types.INTERP_CUBIC, antialias=True)
        return fn.flip(resized, horizontal=fn.random.coin_flip())

    pipeline = make()
    pipeline.build()

    def run(start, count):
        for _ in range(0, count, BATCH):
            pipeline.run()

    return run


def ours(program, flags, folder, count):
    """Images a second of processor time and of wall-clock time; on our core, which a child inherits."""
    command = [program, "--folder=" + folder, "--images=%d" % count, "--batch_size=%d" % BATCH, "--threads=1"] + flags
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result = json.loads(output.stdout)
    return result["images"] / result["cpu_seconds"], result["images"] / result["seconds"]


def timed(run, start, count):
    cpu, wall = time.process_time(), time.perf_counter()
    run(start, count)
    return count / (time.process_time() - cpu), count / (time.perf_counter() - wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/data:pipeline")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--pictures", help="what is in the folder, to be printed")
    parser.add_argument("--our_flags", default="", help="more flags of the program, such as --fast_jpeg=false")
    parser.add_argument("--images", type=int, default=480, help="measured in each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--wall", action="store_true")
    arguments = parser.parse_args()
    if arguments.rounds < 5:
        sys.exit("at least 5 rounds: a median of fewer says little")

    os.sched_setaffinity(0, {arguments.core})
    import torch
    torch.set_num_threads(1)
    random.seed(0)
    torch.manual_seed(0)

    count = max(BATCH, arguments.images // BATCH * BATCH)
    images = read_folder(arguments.folder, count)
    runs = {
        "PIL + torchvision, float": torchvision_pil(images, as_float=True),
        "PIL + torchvision": torchvision_pil(images, as_float=False),
        "torchvision v2": torchvision_v2(images),
    }
    try:
        runs["DALI, CPU"] = dali(images)
    except ImportError as error:
        print("without DALI:", error)
    for run in runs.values():
        run(0, BATCH)

    clock = 1 if arguments.wall else 0
    rates = {name: [] for name in list(runs) + ["ours"]}
    for round_number in range(arguments.rounds):
        for name, run in runs.items():
            rates[name].append(timed(run, round_number * count, count)[clock])
        rates["ours"].append(ours(arguments.ours, arguments.our_flags.split(), arguments.folder, count)[clock])

    print("%s: %s" % (arguments.pictures or arguments.folder, description(images)))
    print("%d rounds of %d images, one core, %s time" %
          (arguments.rounds, count, "wall-clock" if arguments.wall else "processor"))
    print("| pipeline | images/s | ours is faster by |\n|---|---|---|")
    for name, values in rates.items():
        ratio = statistics.median(mine / other for mine, other in zip(rates["ours"], values))
        print("| %s | %.0f | %.2f |" % (name, statistics.median(values), ratio))


if __name__ == "__main__":
    main()
