"""Our finetuning step beside timm's model with PyTorch's fastest AdamW, on the same threads: seconds and their ratio.

    ./bazelw run //benchmarks/peers:finetune                               # ViT-S/16, float32
    ./bazelw run //benchmarks/peers:finetune -- --precision=bfloat16
    ./bazelw run //benchmarks/peers:finetune -- --model=vit_base
    ./bazelw run --config=cuda //benchmarks/peers:finetune -- --model=vit_base --precision=bfloat16 --device=cuda

8 images (on a GPU 128) of 224 x 224, 1000 classes, mean of the patches, stochastic depth 0.1, labels smoothed by 0.1,
layer-wise decay 0.65: forward, backward, update. Both are eager. timm's attention is PyTorch's fused one, and of AdamW
the faster of fused and foreach is taken, measured at the start. Ours also computes the norm of the gradient, as the
reference does, and erases and mixes the images; timm's step here does neither, which is in its favour. The two take
turns; the table has the medians over the rounds and the median of the ratios within a round.
"""

import argparse
import contextlib
import os
import sys

import timm
import torch
from timm.optim import param_groups_layer_decay

import turns

CLASSES = 1000
# Of a step; steps of a round, after one that is not counted. As finetune_step.cc has them.
BATCH, STEPS = {"cpu": 8, "cuda": 128}, {"cpu": 3, "cuda": 20}


def make_step(name, precision, device, optimizer_options):
    model = timm.create_model(name + "_patch16_224", num_classes=CLASSES, drop_path_rate=0.1, global_pool="avg")
    model.train().to(device)
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.65)
    for group in groups:
        group["lr"] = 1e-4 * group["lr_scale"]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, **optimizer_options)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    batch = BATCH[device]
    images = (torch.arange(batch * 3 * 224 * 224) * 0.37).sin().view(batch, 3, 224, 224).to(device)
    labels = torch.arange(batch).to(device)

    def step():
        low = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with low:
            loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def case_of(model, precision, device):
    return "^FinetuneStep/%s%s/%s/" % ("cuda/" if device == "cuda" else "", model, precision)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/eval:finetune_step")
    parser.add_argument("--model", default="vit_small", choices=("vit_small", "vit_base"))
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda: vit_base alone")
    parser.add_argument("--rounds", type=int, default=5)
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
    step = steps[fastest]
    case = case_of(arguments.model, arguments.precision, device)
    seconds = turns.take_turns(arguments.rounds, lambda: turns.ours(arguments.ours, case, BATCH[device]),
                               lambda: turns.timed(step, STEPS[device]))
    where = torch.cuda.get_device_name() if device == "cuda" else "%d threads" % threads
    sizes = (arguments.rounds, arguments.model, arguments.precision, BATCH[device], where, fastest)
    print("%d rounds, %s at 224 pixels, %s, %d images, %s; their AdamW: %s" % sizes)
    print("| timm %s, PyTorch %s, s | ours, s | ours is faster by |\n|---|---|---|" %
          (timm.__version__, torch.__version__))
    print("| %.3f | %.3f | %.2f |" % seconds)


if __name__ == "__main__":
    main()
