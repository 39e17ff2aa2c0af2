"""Writes tec/checkpoint/families/goldens: small random encoders as timm and transformers save them, and what those make
of two images (see the README there).

    python tools/consumers/family_goldens.py tec/checkpoint/families/goldens [NAME ...]

with the packages of requirements.txt. Where a project's code is in no package, timm's model of it is written under the
names of its own files. The cases radio_* are made by the project's own code: with a checkout of NVlabs/RADIO and the
package einops on PYTHONPATH.
"""

import argparse
import json
import os
import sys

import safetensors.torch
import timm
import torch
import transformers

WIDTH, DEPTH, HEADS, PATCH, SIZE = 16, 2, 2, 4, 16
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def shake(model, seed=0):
    """Every parameter different from what initialisation leaves: scales near 1, everything else random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() <= 1:
                scale = name.endswith('weight') or 'gamma' in name or 'lambda' in name
                parameter.copy_((1.0 if scale else 0.0) + 0.3 * noise)
            elif parameter.dim() == 3 or 'token' in name or 'position' in name or 'probe' in name:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter[0].numel() ** 0.5)
    return model.eval()


def images(size=SIZE):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def last_logits(run):
    """run(), and the logits of the last attention in it, of all tokens with each other."""
    seen = []
    original = torch.nn.functional.scaled_dot_product_attention

    def attention(query, key, value, *arguments, **options):
        if query.shape == key.shape:
            seen.append((query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).detach())
        return original(query, key, value, *arguments, **options)

    torch.nn.functional.scaled_dot_product_attention = attention
    try:
        with torch.no_grad():
            return run(), seen[-1]
    finally:
        torch.nn.functional.scaled_dot_product_attention = original


def write(folder, state, config, family, package, blocks, run, prefix, heads=0, size=SIZE, first=0):
    """run(images): all tokens after the final norm, and the pooled one or None for the first token. first: the token
    that is [CLS], which comes first of all here."""
    os.makedirs(folder, exist_ok=True)
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()},
                                f'{folder}/model.safetensors', metadata={'format': 'pt'})
    if config is not None:
        with open(f'{folder}/config.json', 'w') as file:
            json.dump(config, file, indent=2)
            file.write('\n')
    outputs = []
    hook = blocks[-1].register_forward_hook(
        lambda module, inputs, output: outputs.append(output[0] if isinstance(output, tuple) else output))
    pictures = images(size)
    (tokens, pooled), logits = last_logits(lambda: run(pictures))
    hook.remove()
    order = torch.tensor([first] + [i for i in range(tokens.shape[1]) if i != first])
    tokens, outputs[-1] = tokens[:, order], outputs[-1][:, order]
    logits = logits[:, :, order][:, :, :, order]
    expected = {'images': pictures, 'last': outputs[-1], 'patch_mean': tokens[:, prefix[1]:].mean(1), 'logits': logits}
    if pooled is not None:
        expected['cls'] = pooled
    elif prefix[0]:
        expected['cls'] = tokens[:, 0]
    safetensors.torch.save_file({name: value.detach().contiguous() for name, value in expected.items()},
                                f'{folder}/expected.safetensors',
                                metadata={'family': family, 'package': package, 'prefix': str(prefix[1]),
                                          'class_token': str(int(prefix[0])), 'heads': str(heads)})
    for name in os.listdir(folder):
        os.chmod(f'{folder}/{name}', 0o644)


def timm_case(folder, name, family, rename=None, config=True, pool=None, size=SIZE, **options):
    """rename: {ours: value} of the state dict, for a project's own names; then the file has no config.json."""
    arguments = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2, patch_size=PATCH,
                     img_size=size) | options
    model = shake(timm.create_model(name, num_classes=0, **arguments))
    state = model.state_dict()
    written = None
    if rename is not None:
        state = rename(state)
    elif config:
        written = {'architecture': name, 'num_classes': 0, 'num_features': arguments['embed_dim'],
                   'model_args': arguments, 'pretrained_cfg': {'input_size': [3, size, size]}}
    classes = getattr(model, 'cls_token', None) is not None

    def run(pictures):
        tokens = model.forward_features(pictures)
        if 'fc_norm.weight' in model.state_dict() and 'norm.weight' not in model.state_dict():
            # Of a model that is pooled before its norm we normalise the tokens plainly.
            tokens = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=model.blocks[0].norm1.eps)
        return tokens, (model.pool(tokens) if pool else None)

    write(folder, state, written, family, f'timm {timm.__version__}', model.blocks, run,
          (classes, model.num_prefix_tokens), 0 if written else HEADS, size)


def transformers_case(folder, kind, family, layers, prefix, pool=False, **options):
    arguments = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=2 * WIDTH,
                     image_size=SIZE, patch_size=PATCH) | options
    model = shake(kind(kind.config_class(**arguments)))

    def run(pictures):
        result = model(pixel_values=pictures)
        return result.last_hidden_state, (result.pooler_output if pool else None)

    config = {key: value for key, value in model.config.to_diff_dict().items() if key != 'transformers_version'}
    write(folder, model.state_dict(), config, family, f'transformers {transformers.__version__}', layers(model), run,
          prefix)


def radio_case(folder, arch, summaries, layout, config=None, size=SIZE, **options):
    """NVlabs/RADIO's own model with three teachers. summaries: which of them the summary is made of. layout: (model,
    conditioner, indices) -> the file's tensors."""
    from radio import dinov2_arch, extra_models, extra_timm_models  # noqa: F401, which register models
    from radio.enable_cpe_support import enable_cpe
    from radio.input_conditioner import InputConditioner
    from radio.radio_model import RADIOModel, Resolution, create_model_from_args
    conditioner = InputConditioner(1.0, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
    if arch == 'dinov2':
        inner = dinov2_arch.DinoVisionTransformer(
            img_size=size, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2,
            ffn_layer='swiglufused', init_values=1.0, num_register_tokens=4, block_chunks=0,
            block_fn=lambda **kw: dinov2_arch.Block(attn_class=dinov2_arch.Attention, **kw))
        model = extra_models.DinoWrapper(inner)
        enable_cpe(model, 2 * SIZE, num_cls_tokens=1, num_registers=4)
    else:
        arguments = argparse.Namespace(
            model=arch, in_chans=None, input_size=None, pretrained=False, num_classes=0, drop=0, drop_path=0,
            drop_block=None, gp=None, bn_momentum=None, bn_eps=None, torchscript=False, initial_checkpoint='',
            model_kwargs=dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2, patch_size=PATCH,
                              img_size=size) | options,
            cpe_max_size=2 * SIZE, teachers=[{'name': name} for name in 'abc'], cls_token_per_teacher=True,
            register_multiple=8)
        model = create_model_from_args(arguments)
    shake(model, seed=3)
    radio = RADIOModel(model, conditioner, PATCH, 2 * SIZE, Resolution(size, size),
                       summary_idxs=torch.tensor(summaries)).eval()
    radio.make_preprocessor_external()
    core = getattr(model, 'inner', model)
    rows = core.patch_generator.num_skip
    seen = []
    core.norm.register_forward_hook(lambda module, inputs, output: seen.append(output))

    def run(pictures):
        summary, features = radio(pictures)
        tokens = seen[-1]
        assert torch.equal(features, tokens[:, rows:])
        # All of the summary that there is one token for; DINOv2's is always the first.
        wanted = tokens[:, summaries[0]] if arch != 'dinov2' else tokens[:, 0]
        assert torch.equal(summary[:, :WIDTH], wanted)
        return tokens, wanted

    written = layout(model.state_dict(), conditioner.state_dict(), torch.tensor(summaries))
    write(folder, written, config, 'radio', 'NVlabs/RADIO c0f3701', core.blocks, run, (True, rows),
          HEADS, size, first=summaries[0])


def hub_names(model, conditioner, summaries):
    return ({'radio_model.summary_idxs': summaries} | {f'radio_model.model.{k}': v for k, v in model.items()} |
            {f'radio_model.input_conditioner.{k}': v for k, v in conditioner.items()})


def training_names(model, conditioner, summaries):
    return ({f'base_model.{k}': v for k, v in model.items()} |
            {f'input_conditioner.{k}': v for k, v in conditioner.items()} |
            {'_heads.a.fc1.weight': torch.ones(2, WIDTH), '_feature_projections.a.fc1.weight': torch.ones(2, WIDTH)})


@case
def radio_nvidia(folder):
    # Images of a size that the table has to be resampled for; the first teacher has no part in the summary.
    config = {'architectures': ['RADIOModel'], 'patch_size': PATCH, 'max_resolution': 2 * SIZE,
              'preferred_resolution': [20, 20], 'vitdet_window_size': None,
              'args': {'model': 'vit_base_patch16_224', 'cpe_max_size': 2 * SIZE, 'model_kwargs': {}}}
    radio_case(folder, 'vit_base_patch16_224', [1, 2], hub_names, config, size=20)


@case
def radio_nvidia_training(folder):
    radio_case(folder, 'vit_base_patch16_v2_224', [0, 2], training_names, size=32)


@case
def radio_nvidia_dinov2(folder):
    radio_case(folder, 'dinov2', [0], hub_names, size=32)


@case
def radio_hf(folder):
    options = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, mlp_ratio=2.0,
                   patch_size=PATCH, image_size=12, max_img_size=2 * SIZE, num_cls_tokens=2, num_registers=3,
                   summary_idxs=[0, 1])
    model = shake(transformers.RadioModel(transformers.RadioConfig(**options)))
    model.make_preprocessor_external()
    state = model.state_dict() | {'input_conditioner.norm_mean': torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1),
                                  'input_conditioner.norm_std': torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)}
    write(folder, state, model.config.to_dict(), 'hf_radio', f'transformers {transformers.__version__}',
          model.encoder.layer, lambda pictures: (model(pixel_values=pictures).last_hidden_state, None), (True, 5),
          size=12)


def dinov3_names(state):
    """Of timm's, Meta's: the mask and a bias of the keys that it takes away, periods, what only training has."""
    result = {}
    for name, value in state.items():
        if name.endswith('attn.q_bias'):
            keys = torch.full_like(value, 0.75)
            result[name.replace('q_bias', 'qkv.bias')] = torch.cat([value, keys, state[name.replace('q_', 'v_')]])
            result[name.replace('q_bias', 'qkv.bias_mask')] = torch.cat(
                [torch.ones_like(value), torch.zeros_like(value), torch.ones_like(value)])
        elif not name.endswith('v_bias'):
            own = name.replace('reg_token', 'storage_tokens')
            own = own.replace('mlp.fc1_g', 'mlp.w1').replace('mlp.fc1_x', 'mlp.w2')
            own = own.replace('mlp.fc2', 'mlp.w3') if name.split('.mlp')[0] + '.mlp.fc1_g.weight' in state else own
            for number in '12':
                own = own.replace(f'gamma_{number}', f'ls{number}.gamma')
            result[own] = value
    result['mask_token'] = torch.zeros(1, WIDTH)
    quarter = WIDTH // HEADS // 4
    result['rope_embed.periods'] = 100.0 ** (torch.arange(quarter) / quarter)
    result['local_cls_norm.weight'] = torch.ones(WIDTH)
    result['local_cls_norm.bias'] = torch.zeros(WIDTH)
    return result


@case
def dinov3_meta(folder):
    timm_case(folder, 'vit_small_patch16_dinov3_qkvb', 'dinov3', dinov3_names)


@case
def dinov3_meta_swiglu(folder):
    timm_case(folder, 'vit_small_plus_patch16_dinov3', 'dinov3', dinov3_names)


@case
def dinov3_timm(folder):
    timm_case(folder, 'vit_base_patch16_dinov3', 'timm_dinov3')


@case
def dinov3_timm_swiglu(folder):
    timm_case(folder, 'vit_small_plus_patch16_dinov3_qkvb', 'timm_dinov3')


@case
def eupe_timm_without_config(folder):
    timm_case(folder, 'vit_tiny_patch16_dinov3_qkvb', 'timm_dinov3', config=False)


@case
def dinov3_hf(folder):
    transformers_case(folder, transformers.DINOv3ViTModel, 'hf_dinov3', lambda m: m.model.layer, (True, 5),
                      num_register_tokens=4)


@case
def dinov3_hf_swiglu(folder):
    transformers_case(folder, transformers.DINOv3ViTModel, 'hf_dinov3', lambda m: m.model.layer, (True, 3),
                      num_register_tokens=2, use_gated_mlp=True, hidden_act='silu', rope_theta=50.0)


@case
def siglip_timm(folder):
    timm_case(folder, 'vit_base_patch16_siglip_224', 'timm_no_class', pool=True)


@case
def siglip2_timm(folder):
    timm_case(folder, 'vit_so400m_patch16_siglip_256', 'timm_siglip', pool=True)


@case
def siglip2_timm_of_the_mean_without_config(folder):
    timm_case(folder, 'vit_giantopt_patch16_siglip_gap_256', 'timm_siglip', config=False)


@case
def siglip_hf(folder):
    transformers_case(folder, transformers.SiglipVisionModel, 'hf_siglip', lambda m: m.encoder.layers, (False, 0),
                      pool=True)


@case
def siglip_hf_without_head(folder):
    transformers_case(folder, transformers.SiglipVisionModel, 'hf_siglip', lambda m: m.encoder.layers, (False, 0),
                      vision_use_head=False)


@case
def registers_without_class_timm(folder):
    # With positions, and an attention pool.
    timm_case(folder, 'vit_so150m_patch16_reg4_map_256', 'timm_no_class', pool=True)


@case
def ijepa_meta(folder):
    timm_case(folder, 'vit_huge_patch14_gap_224', 'ijepa',
              lambda state: {'module.' + name: value for name, value in state.items()})


@case
def ijepa_hf(folder):
    transformers_case(folder, transformers.IJepaModel, 'hf_ijepa', lambda m: m.layers, (False, 0))


@case
def aimv2_timm(folder):
    timm_case(folder, 'aimv2_large_patch14_224', 'timm_aimv2')


@case
def aimv2_hf(folder):
    transformers_case(folder, transformers.Aimv2VisionModel, 'hf_aimv2', lambda m: m.encoder.layers, (False, 0))


@case
def eva02_timm(folder):
    # Twice the grid of its pretraining, as its models for 448 pixels have: the rotary positions are counted in halves.
    timm_case(folder, 'eva02_base_patch14_448', 'eva02')


@case
def eva02_small_timm(folder):
    timm_case(folder, 'eva02_small_patch14_224', 'eva02')


@case
def eva02_clip_timm(folder):
    timm_case(folder, 'eva02_base_patch16_clip_224', 'eva02')


@case
def eva02_enormous_timm(folder):
    timm_case(folder, 'eva02_enormous_patch14_clip_224', 'eva02_enormous')


@case
def beit3_timm(folder):
    timm_case(folder, 'beit3_base_patch16_224', 'beit3')


@case
def perception_encoder_timm(folder):
    timm_case(folder, 'vit_pe_core_base_patch16_224', 'timm_pe', ref_feat_shape=(SIZE // PATCH, SIZE // PATCH))


@case
def perception_encoder_gigantic_timm(folder):
    timm_case(folder, 'vit_pe_spatial_gigantic_patch14_448', 'timm_pe_gigantic',
              ref_feat_shape=(SIZE // PATCH, SIZE // PATCH))


@case
def rope_timm(folder):
    timm_case(folder, 'vit_small_patch16_rope_ape_224', 'timm_rope')


@case
def rope_without_class_timm(folder):
    timm_case(folder, 'vit_medium_patch16_rope_reg1_gap_256', 'timm_rope_no_class')


@case
def clip_with_registers_timm(folder):
    timm_case(folder, 'vit_base_patch16_clip_quickgelu_224', 'timm_clip', reg_tokens=3)


if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    for chosen in sys.argv[2:] or CASES:
        CASES[chosen](os.path.join(sys.argv[1], chosen))
        print(chosen)
