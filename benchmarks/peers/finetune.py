"""Our finetuning step beside timm's model with PyTorch's fastest AdamW, on the same threads: seconds and their ratio.

    ./bazelw run //benchmarks/peers:finetune                               # ViT-S/16, float32
    ./bazelw run //benchmarks/peers:finetune -- --precision=bfloat16
    ./bazelw run //benchmarks/peers:finetune -- --model=vit_base --no_compile
    ./bazelw run --config=cuda //benchmarks/peers:finetune -- --model=vit_base --precision=bfloat16 --device=cuda

--model=tiny is for trying this program. 8 images (on a GPU 128) of 224 x 224, 1000 classes, mean of the patches,
stochastic depth 0.1, labels smoothed by 0.1, layer-wise decay 0.65: normalisation of the bytes, erasing in a quarter of
the images, mixing of the batch, forward, backward, update. timm's side has timm's own RandomErasing, Mixup and drop
path, and its model once as it is and once through torch.compile (--no_compile leaves that out; it is compiled before
the first round). timm's attention is PyTorch's fused one, and of AdamW the faster of fused and foreach is taken,
measured at the start. Ours also computes the norm of the gradient, as the reference does. They take turns; the table
has the medians over the rounds and the medians of the ratios within a round.
"""

import argparse
import contextlib
import math
import os
import sys

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from timm.loss import SoftTargetCrossEntropy
from timm.optim import param_groups_layer_decay

import turns

CLASSES = 1000
# Of a step; steps of a round, after one that is not counted. As finetune_step.cc has them.
BATCH, STEPS = {"cpu": 8, "cuda": 128}, {"cpu": 3, "cuda": 20}
TINY_SIDE, TINY_BATCH = 32, 4
TINY = dict(img_size=TINY_SIDE, patch_size=8, embed_dim=64, depth=2, num_heads=2)


def sizes_of(model, device):
    """Images of a step and their side."""
    return (TINY_BATCH, TINY_SIDE) if model == "tiny" else (BATCH[device], 224)


def make_step(name, precision, device, optimizer_options, compiled=False):
    options = dict(num_classes=CLASSES, drop_path_rate=0.1, global_pool="avg")
    if name == "tiny":
        model = timm.models.vision_transformer.VisionTransformer(**TINY, **options)
    else:
        model = timm.create_model(name + "_patch16_224", **options)
    model.train().to(device)
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.65)
    for group in groups:
        group["lr"] = 1e-4 * group["lr_scale"]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, **optimizer_options)
    loss_of = SoftTargetCrossEntropy()
    forward = torch.compile(model) if compiled else model
    # Ours takes mixup each time, with a partner for every image.
    mix = Mixup(mixup_alpha=0.8, cutmix_alpha=0, prob=1, mode="batch", label_smoothing=0.1, num_classes=CLASSES)
    erase = RandomErasing(probability=0.25, mode="pixel", device=device)
    batch, side = sizes_of(name, device)
    pixels = (torch.arange(batch * 3 * side * side) * 37 % 251).to(torch.uint8).view(batch, 3, side, side)
    if device == "cuda":
        pixels = pixels.pin_memory()
    labels = torch.arange(batch)
    mean = torch.tensor(IMAGENET_DEFAULT_MEAN, device=device).mul(255).view(1, 3, 1, 1)
    deviation = torch.tensor(IMAGENET_DEFAULT_STD, device=device).mul(255).view(1, 3, 1, 1)

    def step():
        images = pixels.to(device, non_blocking=True).float().sub_(mean).div_(deviation)  # As timm's loader does.
        images, targets = mix(erase(images), labels.to(device))
        low = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with low:
            loss = loss_of(forward(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        assert math.isfinite(value), value
        return value

    return step


def case_of(model, precision, device):
    return "^FinetuneStep/%s%s/%s/" % ("cuda/" if device == "cuda" else "", model, precision)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/eval:finetune_step")
    parser.add_argument("--model", default="vit_small", choices=("vit_small", "vit_base", "tiny"))
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda: vit_base alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no_compile", action="store_true", help="without timm through torch.compile")
    arguments = parser.parse_args()
    device = arguments.device
    if device == "cuda" and arguments.model != "vit_base":
        sys.exit("on a GPU only --model=vit_base is measured")
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)

    options = {"fused": {"fused": True}, "foreach": {"foreach": True}}
    steps = {name: make_step(arguments.model, arguments.precision, device, one) for name, one in options.items()}
    fastest = min(steps, key=lambda name: turns.timed(steps[name], STEPS[device]))
    rivals = {"timm %s, eager" % timm.__version__: steps[fastest]}
    if not arguments.no_compile:
        compiled = make_step(arguments.model, arguments.precision, device, options[fastest], compiled=True)
        compiled()  # Here, not in a round.
        rivals["timm %s, torch.compile" % timm.__version__] = compiled
    case, (batch, side) = case_of(arguments.model, arguments.precision, device), sizes_of(arguments.model, device)
    result = turns.compare(
        arguments.rounds, lambda: turns.ours(arguments.ours, case, batch),
        {name: lambda step=step: turns.timed(step, STEPS[device]) for name, step in rivals.items()},
        least_rounds=1 if arguments.model == "tiny" else 5)
    where = torch.cuda.get_device_name() if device == "cuda" else "%d threads" % threads
    sizes = (arguments.rounds, arguments.model, side, arguments.precision, batch, where, torch.__version__, fastest)
    print("%d rounds, %s at %d pixels, %s, %d images, %s; PyTorch %s, their AdamW: %s" % sizes)
    print(turns.table(*result))


if __name__ == "__main__":
    main()
