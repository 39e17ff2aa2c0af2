"""Writes the lists of published_keys/: the tensors in the files of projects whose code is in no package.

    python3 published_keys.py --repositories=DIR --output=published_keys

DIR holds clones of facebookresearch/mae, bytedance/ibot, facebookresearch/dino, facebookresearch/moco-v3,
facebookresearch/dinov2 and microsoft/unilm, each in a folder of the repository's name. Their classes are imported and
built as their training scripts and hubs do; nothing is downloaded, and no picture goes through. Tried with PyTorch 2.11
and timm 1.0.31, without a GPU.
"""

import argparse
import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
import types

import numpy
import timm.layers
import timm.models.vision_transformer
import torch


def stand_in_for_older_packages():
    """What the projects' code uses of NumPy 1 and timm 0, and what today's do not have."""
    numpy.float = float
    helpers = types.ModuleType('timm.models.layers.helpers')
    helpers.to_2tuple = timm.layers.to_2tuple
    sys.modules['timm.models.layers.helpers'] = helpers
    block = timm.models.vision_transformer.Block
    timm.models.vision_transformer.Block = lambda *args, qk_scale=None, **kwargs: block(*args, **kwargs)
    timm.models.vision_transformer.VisionTransformer.num_tokens = 1


@contextlib.contextmanager
def modules_of(folder):
    """The projects have modules of the same names (utils, models): one project's are importable at a time."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name, module in list(sys.modules.items()):
            if (getattr(module, '__file__', None) or '').startswith(folder + os.sep):
                del sys.modules[name]


def distributed(model):
    return torch.nn.parallel.DistributedDataParallel(model)


# A function for each list. It returns what the file holds: the tensors by the names of the file's entries, '' where the
# file is the state dict itself.


def mae_vit_base_full():
    """checkpoint-799.pth: models_mae.mae_vit_base_patch16(), as main_pretrain.py saves it"""
    return {'model': importlib.import_module('models_mae').mae_vit_base_patch16().state_dict()}


def mae_vit_base():
    """mae_pretrain_vit_base.pth: the encoder of models_mae.mae_vit_base_patch16()"""
    full = mae_vit_base_full()['model']
    return {'model': {name: value for name, value in full.items()
                      if not name.startswith('decoder_') and name != 'mask_token'}}


def ibot_vit_small():
    """checkpoint.pth: models.vit_small in utils.MultiCropWrapper with iBOTHead, as main_ibot.py saves them"""
    models, utils = importlib.import_module('models'), importlib.import_module('utils')
    head = importlib.import_module('models.head').iBOTHead
    student = utils.MultiCropWrapper(models.vit_small(patch_size=16, return_all_tokens=True, masked_im_modeling=True),
                                     head(384, 8192, patch_out_dim=8192, shared_head=False))
    teacher = utils.MultiCropWrapper(models.vit_small(patch_size=16, return_all_tokens=True),
                                     head(384, 8192, patch_out_dim=8192, shared_head=True))
    return {'student': distributed(student).state_dict(), 'teacher': teacher.state_dict()}


def ibot_vit_small_extracted(key, prefix):
    state = ibot_vit_small()[key]
    return {'state_dict': {name[len(prefix):]: value for name, value in state.items() if name.startswith(prefix)}}


def ibot_vit_small_student_backbone():
    """what extract_backbone_weights.py --checkpoint_key=student makes of ibot_vit_small"""
    return ibot_vit_small_extracted('student', 'module.backbone.')


def ibot_vit_small_teacher_backbone():
    """checkpoint_teacher.pth: what extract_backbone_weights.py --checkpoint_key=teacher makes of ibot_vit_small"""
    return ibot_vit_small_extracted('teacher', 'backbone.')


def dino_vit_small():
    """dino_deitsmall16_pretrain_full_checkpoint.pth: vision_transformer.vit_small in utils.MultiCropWrapper with
    DINOHead, as main_dino.py saves them"""
    vits, utils = importlib.import_module('vision_transformer'), importlib.import_module('utils')
    student, teacher = (utils.MultiCropWrapper(vits.vit_small(patch_size=16), vits.DINOHead(384, 65536))
                        for _ in range(2))
    return {'student': distributed(student).state_dict(), 'teacher': teacher.state_dict()}


def dino_vit_small_backbone():
    """dino_deitsmall16_pretrain.pth: vision_transformer.vit_small, as hubconf.dino_vits16 loads it"""
    vits = importlib.import_module('vision_transformer')
    return {'': vits.vit_small(patch_size=16, num_classes=0).state_dict()}


def moco_v3_vit_small():
    """vit-s-300ep.pth.tar: moco.builder.MoCo_ViT of vits.vit_small, as main_moco.py saves it"""
    # main_moco.py makes its batch norms synchronous, which needs a GPU; the names stay.
    vits, builder = importlib.import_module('vits'), importlib.import_module('moco.builder')
    return {'state_dict': distributed(builder.MoCo_ViT(vits.vit_small, 256, 4096, 0.2)).state_dict()}


def dinov2_hub(name):
    backbones = importlib.import_module('dinov2.hub.backbones')
    with torch.device('meta'):  # The largest has 1.1 billion parameters.
        return {'': getattr(backbones, name)(pretrained=False).state_dict()}


def dinov2_vits14():
    """dinov2_vits14_pretrain.pth: dinov2.hub.backbones.dinov2_vits14"""
    return dinov2_hub('dinov2_vits14')


def dinov2_vits14_reg4():
    """dinov2_vits14_reg4_pretrain.pth: dinov2.hub.backbones.dinov2_vits14_reg"""
    return dinov2_hub('dinov2_vits14_reg')


def dinov2_vitg14():
    """dinov2_vitg14_pretrain.pth: dinov2.hub.backbones.dinov2_vitg14"""
    return dinov2_hub('dinov2_vitg14')


def dinov2_vitl14_teacher():
    """eval/training_N/teacher_checkpoint.pth: the teacher of dinov2.train.ssl_meta_arch.SSLMetaArch with
    configs/train/vitl14.yaml"""
    # SSLMetaArch itself does not import without xFormers.
    student = types.SimpleNamespace(
        arch='vit_large', patch_size=14, layerscale=1e-5, ffn_layer='swiglufused', block_chunks=4, qkv_bias=True,
        proj_bias=True, ffn_bias=True, num_register_tokens=0, interpolate_offset=0.1, interpolate_antialias=False)
    with torch.device('meta'):
        backbone, width = importlib.import_module('dinov2.models').build_model(student, only_teacher=True, img_size=224)
        head = importlib.import_module('dinov2.layers').DINOHead
        teacher = torch.nn.ModuleDict({
            'backbone': backbone,
            'dino_head': head(width, 131072, hidden_dim=2048, bottleneck_dim=384, nlayers=3),
            'ibot_head': head(width, 131072, hidden_dim=2048, bottleneck_dim=256, nlayers=3)})
    return {'teacher': teacher.state_dict()}


def beit_vit_base():
    """beit_base_patch16_224_pt22k.pth: modeling_pretrain.beit_base_patch16_224_8k_vocab, as run_beit_pretraining.py
    builds it"""
    model = importlib.import_module('modeling_pretrain').beit_base_patch16_224_8k_vocab(
        use_shared_rel_pos_bias=True, use_abs_pos_emb=False, init_values=0.1)
    return {'model': model.state_dict()}


def beit_vit_base_finetuned():
    """beit_base_patch16_224_pt22k_ft22k.pth: modeling_finetune.beit_base_patch16_224, as run_class_finetuning.py
    builds it"""
    model = importlib.import_module('modeling_finetune').beit_base_patch16_224(
        num_classes=21841, use_rel_pos_bias=True, use_abs_pos_emb=False, init_values=0.1, use_mean_pooling=True)
    return {'model': model.state_dict()}


def beit2_vit_base():
    """beitv2_base_patch16_224_pt1k.pth: modeling_pretrain.beit_base_patch16_224_8k_vocab_cls_pt, as
    run_beitv2_pretraining.py builds it"""
    model = importlib.import_module('modeling_pretrain').beit_base_patch16_224_8k_vocab_cls_pt(
        use_shared_rel_pos_bias=True, use_abs_pos_emb=False, init_values=0.1, vocab_size=8192, early_layers=9,
        head_layers=2, shared_lm_head=True)
    return {'model': model.state_dict()}


# The lists by the repository, and the folder in it, that their classes are in.
LISTS = {
    'facebookresearch/mae': {'': [mae_vit_base, mae_vit_base_full]},
    'bytedance/ibot': {'': [ibot_vit_small, ibot_vit_small_student_backbone, ibot_vit_small_teacher_backbone]},
    'facebookresearch/dino': {'': [dino_vit_small, dino_vit_small_backbone]},
    'facebookresearch/moco-v3': {'': [moco_v3_vit_small]},
    'facebookresearch/dinov2': {'': [dinov2_vits14, dinov2_vits14_reg4, dinov2_vitg14, dinov2_vitl14_teacher]},
    'microsoft/unilm': {'beit': [beit_vit_base, beit_vit_base_finetuned], 'beit2': [beit2_vit_base]},
}


def write(path, source, function):
    with open(path, 'w') as file:
        file.write(f'# {" ".join(function.__doc__.split())}\n# {source}; written by published_keys.py\n')
        for entry, state in function().items():
            file.write(f'[{entry}]\n')
            for name, value in state.items():
                shape = ','.join(str(n) for n in value.shape)
                # float32 where nothing is said.
                dtype = '' if value.dtype == torch.float32 else ' ' + str(value.dtype).removeprefix('torch.')
                file.write(f'{name} [{shape}]{dtype}\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repositories', required=True, help='folder of the clones')
    parser.add_argument('--output', required=True, help='folder for the lists')
    args = parser.parse_args()
    stand_in_for_older_packages()
    # DistributedDataParallel, whose names the files have, wants a process group.
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/group', rank=0, world_size=1)
        for repository, folders in LISTS.items():
            clone = os.path.abspath(os.path.join(args.repositories, repository.split('/')[1]))
            commit = subprocess.run(['git', '-C', clone, 'rev-parse', 'HEAD'], check=True, capture_output=True,
                                    text=True).stdout.strip()
            for inner, functions in folders.items():
                with modules_of(os.path.join(clone, inner).rstrip(os.sep)):
                    for function in functions:
                        source = '/'.join(filter(None, [f'github.com/{repository}', inner]))
                        write(os.path.join(args.output, function.__name__ + '.txt'), f'{source} at {commit}', function)
        torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main()
