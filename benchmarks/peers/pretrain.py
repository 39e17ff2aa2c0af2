"""Our pretraining step beside the paper's own Python, on the same device: seconds and their ratio.

    git clone https://github.com/sail-sg/TEC /tmp/TEC
    ./bazelw run //benchmarks/peers:pretrain -- --reference=/tmp/TEC                            # float32 on the CPU
    ./bazelw run //benchmarks/peers:pretrain -- --reference=/tmp/TEC --precision=bfloat16
    ./bazelw run //benchmarks/peers:pretrain -- --reference=/tmp/TEC --model=vit_ti8_64 --no_compile
    ./bazelw run --config=cuda //benchmarks/peers:pretrain -- --reference=/tmp/TEC --precision=bfloat16 --device=cuda

--model: vit_b16 is row B's step (ViT-B/16, 224 pixels, the losses on features and relations) on 8 images, on a GPU 256;
vit_ti8_64 the same of ViT-Ti/8 at 64 pixels, 64 images, on the CPU; tiny is for trying this program. Base model,
forward, backward, AdamW. The reference's models and losses are imported from the clone and called as its
engine_pretrain.py does, with autocast to the precision asked for (it uses float16; bfloat16 is as fast and needs no
scaler) and torch.optim.AdamW's fused form; once as they are, and once with both models through torch.compile
(--no_compile leaves that out; they are compiled before the first round). Its losses are read once a step, where it
reads each of them and waits for the device. They take turns; the table has the medians over the rounds and the medians
of the ratios within a round.
"""

import argparse
import contextlib
import functools
import math
import os
import sys
import warnings

import turns

# Images of a step; steps of a round, after one that is not counted. As step.cc has them.
BATCH = {("vit_b16", "cpu"): 8, ("vit_b16", "cuda"): 256, ("vit_ti8_64", "cpu"): 64, ("tiny", "cpu"): 128}
STEPS = {"cpu": 3, "cuda": 20}
SIDE = {"vit_b16": 224, "vit_ti8_64": 64, "tiny": 32}
ENCODER = {"vit_ti8_64": dict(patch_size=8, embed_dim=192, depth=12, num_heads=3),
           "tiny": dict(patch_size=4, embed_dim=128, depth=6, num_heads=4)}
DECODER = {"vit_ti8_64": dict(decoder_embed_dim=512, decoder_depth=2, decoder_num_heads=16),
           "tiny": dict(decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=4)}
SELECTED = {"vit_b16": 15, "vit_ti8_64": 15, "tiny": 9}


def make_models(reference, name):
    """The base model and the new one, of the clone."""
    sys.path.insert(0, reference)
    with contextlib.redirect_stdout(None), warnings.catch_warnings():  # It prints its settings.
        warnings.simplefilter("ignore")
        import numpy
        import torch
        numpy.float = float  # NumPy had it under this name when the reference was written.
        from models import basemodel_vit, models_tec_vit

        base_options = dict(mlp_token=False, num_tokens=1, pred_att=True, last_layers=2, topkatt=SELECTED[name])
        options = dict(pred_att=True, mlp_token=True, att_tau=1.8)
        if name == "vit_b16":
            return basemodel_vit.vit_base_patch16(**base_options), models_tec_vit.mae_vit_base_patch16(**options)
        norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
        side, encoder = SIDE[name], dict(ENCODER[name], mlp_ratio=4, norm_layer=norm)
        base_model = basemodel_vit.VisionTransformer(img_size=side, qkv_bias=True, **encoder, **base_options)
        # Its own is for 224 pixels, always.
        base_model.patch_embed = models_tec_vit.PatchEmbed(side, encoder["patch_size"], 3, encoder["embed_dim"])
        return base_model, models_tec_vit.TECViT(img_size=side, **DECODER[name], **encoder, **options)


def make_step(reference, name, precision, device, compiled=False):
    import torch
    base_model, model = make_models(reference, name)
    base_model.eval().requires_grad_(False).to(device)
    model.train().to(device)
    decay = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    rest = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0}],
                                  lr=1e-4, betas=(0.9, 0.95), fused=True)
    batch, side = BATCH[name, device], SIDE[name]
    images = (torch.arange(batch * 3 * side * side) * 0.37).sin().view(batch, 3, side, side).to(device)
    targets_of = torch.compile(base_model.forward_features) if compiled else base_model.forward_features
    forward = torch.compile(model) if compiled else model

    def step():
        low = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with low:
            with torch.no_grad():
                targets = targets_of(images)
            losses, _, _ = forward(images, mask_ratio=0.75, targets=targets)
        loss = sum(value * weight for value, weight in losses.values())
        loss.backward()
        torch.norm(torch.stack([torch.norm(p.grad) for p in decay + rest]))  # For its log.
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        assert math.isfinite(value), value
        return value

    return step


def case_of(name, precision, device):
    return "/%s_batch_%d%s%s/" % (name, BATCH[name, device], "" if precision == "float32" else "_" + precision,
                                  "_cuda" if device == "cuda" else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/train:step")
    parser.add_argument("--reference", required=True, help="folder of a clone of github.com/sail-sg/TEC")
    parser.add_argument("--model", default="vit_b16", choices=sorted(SIDE))
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no_compile", action="store_true", help="without the reference through torch.compile")
    arguments = parser.parse_args()
    if not os.path.exists(os.path.join(arguments.reference, "models/models_tec_vit.py")):
        sys.exit("--reference=%s is no clone of github.com/sail-sg/TEC" % arguments.reference)
    device, name = arguments.device, arguments.model
    if (name, device) not in BATCH:
        sys.exit("--model=%s is measured on the CPU alone" % name)
    import torch
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)

    rivals = {"reference, eager": make_step(arguments.reference, name, arguments.precision, device)}
    if not arguments.no_compile:
        compiled = make_step(arguments.reference, name, arguments.precision, device, compiled=True)
        compiled()  # Here, not in a round.
        rivals["reference, torch.compile"] = compiled
    case, batch = case_of(name, arguments.precision, device), BATCH[name, device]
    result = turns.compare(
        arguments.rounds, lambda: turns.ours(arguments.ours, case, batch),
        {rival: lambda step=step: turns.timed(step, STEPS[device]) for rival, step in rivals.items()},
        least_rounds=1 if name == "tiny" else 5)
    where = torch.cuda.get_device_name() if device == "cuda" else "%d threads" % threads
    print("%d rounds, %s at %d pixels, %s, %d images, %s; PyTorch %s" %
          (arguments.rounds, name, SIDE[name], arguments.precision, batch, where, torch.__version__))
    print(turns.table(*result))


if __name__ == "__main__":
    main()
