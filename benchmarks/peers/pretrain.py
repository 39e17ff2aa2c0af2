"""Our pretraining step beside the paper's own Python, on the same device: seconds and their ratio.

    git clone https://github.com/sail-sg/TEC /tmp/TEC
    ./bazelw run //benchmarks/peers:pretrain -- --reference=/tmp/TEC                            # float32 on the CPU
    ./bazelw run //benchmarks/peers:pretrain -- --reference=/tmp/TEC --precision=bfloat16
    ./bazelw run --config=cuda //benchmarks/peers:pretrain -- --reference=/tmp/TEC --precision=bfloat16 --device=cuda

Row B's step (ViT-B/16, 224 pixels, the losses on features and relations): base model, forward, backward, AdamW, on 8
images, on a GPU 256. The reference's models and losses are imported from the clone and called as its
engine_pretrain.py does, with autocast to the precision asked for (it uses float16; bfloat16 is as fast and needs no
scaler) and torch.optim.AdamW's fused form. Its losses are read once a step, where it reads each of them and waits for
the device. The two take turns; the table has the medians over the rounds and the median of the ratios within a round.
"""

import argparse
import contextlib
import os
import sys
import warnings

import turns

# Of a step; steps of a round, after one that is not counted. As step.cc has them.
BATCH, STEPS = {"cpu": 8, "cuda": 256}, {"cpu": 3, "cuda": 20}


def make_step(reference, precision, device):
    sys.path.insert(0, reference)
    with contextlib.redirect_stdout(None), warnings.catch_warnings():  # It prints its settings.
        warnings.simplefilter("ignore")
        import numpy
        import torch
        numpy.float = float  # NumPy had it under this name when the reference was written.
        from models import basemodel_vit, models_tec_vit

        base_model = basemodel_vit.vit_base_patch16(
            mlp_token=False, num_tokens=1, pred_att=True, last_layers=2, topkatt=15)
        model = models_tec_vit.mae_vit_base_patch16(pred_att=True, mlp_token=True, att_tau=1.8)
    base_model.eval().requires_grad_(False).to(device)
    model.train().to(device)
    decay = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    rest = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0}],
                                  lr=1e-4, betas=(0.9, 0.95), fused=True)
    batch = BATCH[device]
    images = (torch.arange(batch * 3 * 224 * 224) * 0.37).sin().view(batch, 3, 224, 224).to(device)

    def step():
        low = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with low:
            with torch.no_grad():
                targets = base_model.forward_features(images)
            losses, _, _ = model(images, mask_ratio=0.75, targets=targets)
        loss = sum(value * weight for value, weight in losses.values())
        loss.backward()
        torch.norm(torch.stack([torch.norm(p.grad) for p in decay + rest]))  # For its log.
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def case_of(precision, device):
    return "/vit_b16_batch_%d%s%s/" % (BATCH[device], "" if precision == "float32" else "_" + precision,
                                       "_cuda" if device == "cuda" else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/train:step")
    parser.add_argument("--reference", required=True, help="folder of a clone of github.com/sail-sg/TEC")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not os.path.exists(os.path.join(arguments.reference, "models/models_tec_vit.py")):
        sys.exit("--reference=%s is no clone of github.com/sail-sg/TEC" % arguments.reference)
    import torch
    device = arguments.device
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)

    step = make_step(arguments.reference, arguments.precision, device)
    case = case_of(arguments.precision, device)
    seconds = turns.take_turns(arguments.rounds, lambda: turns.ours(arguments.ours, case, BATCH[device]),
                               lambda: turns.timed(step, STEPS[device]))
    where = torch.cuda.get_device_name() if device == "cuda" else "%d threads" % threads
    print("%d rounds, ViT-B/16 at 224 pixels, %s, %d images, %s" %
          (arguments.rounds, arguments.precision, BATCH[device], where))
    print("| reference, PyTorch %s, s | ours, s | ours is faster by |\n|---|---|---|" % torch.__version__)
    print("| %.3f | %.3f | %.2f |" % seconds)


if __name__ == "__main__":
    main()
