"""Files of every kind in which one model can be taken for another: how each is made, what is told of it, and what must
come of it, which is the features of the original's own code or a refusal that says what is the matter.

Each function is one kind and yields Files; weight_kinds_test.py compares. Nothing here is one project's own file: each
kind is made in several forms, of shapes that are all small. Longer than a file should be: one list, whose kinds have
their makers in common.
"""

import copy
import json
import os

import open_clip
import safetensors.torch
import timm
import torch
import transformers
from vit_sweep import shake, timm_features

WIDTH, DEPTH, HEADS, PATCH, SIZE = 64, 2, 4, 16, 64


class File:
    """name; path of the file or folder; family, entry, grid and heads as --flags; and what has to come of it.

    features: a function of images of `size` pixels that gives [CLS] or None and the mean of the patches; refused: a
    pattern of the message; assumed: what nothing tells of it, which has to be said. Features and assumed: if there is a
    difference, that has to be said.
    """

    def __init__(self, name, path, features=None, refused=None, assumed=None, family='', entry='', grid='', heads=HEADS,
                 size=SIZE):
        assert features is not None or refused is not None or assumed is not None, name
        self.name, self.path, self.features, self.refused, self.assumed = name, path, features, refused, assumed
        self.family, self.entry, self.grid, self.heads, self.size = family, entry, grid, heads, size


def plain(name='vit_base_patch16_224', **options):
    return shake(timm.create_model(name, **(dict(img_size=SIZE, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
                                                num_classes=0) | options)))


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


class Folder:
    """Where the files of one kind go."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path)

    def save(self, name, root):
        path = os.path.join(self.path, name + '.pth')
        torch.save(root, path)
        return path

    def hub(self, name, state, config=None, **beside):
        """A folder with model.safetensors, config.json and further files, each by its name without .json."""
        path = os.path.join(self.path, name)
        os.makedirs(path)
        safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()},
                                    os.path.join(path, 'model.safetensors'), metadata={'format': 'pt'})
        for key, value in (beside | ({'config': config} if config is not None else {})).items():
            with open(os.path.join(path, key + '.json'), 'w') as file:
                json.dump(value, file)
        return path


def timm_config(model, architecture, size=SIZE, **arguments):
    """timm's, as the hub's folders have it: what is not the architecture's own stands in model_args."""
    own = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
    return {'architecture': architecture, 'num_classes': 0, 'num_features': model.num_features,
            'model_args': own | arguments,
            'pretrained_cfg': {'input_size': [3, *((size, size) if isinstance(size, int) else size)]}}


# Heads that the width does not tell.


def heads(folder):
    def of(name, family, width, count, prefix='', features=True, flags='', **options):
        model = plain(name, embed_dim=width, depth=1, num_heads=count, **options)
        path = folder.save(f'{name}_{family or "any"}', under(prefix, model.state_dict()))
        return File(f'{name} of width {width}', path, timm_features(model), family=flags, heads=0)

    yield of('vit_small_patch16_224', 'moco_v3', 384, 12, 'module.base_encoder.')
    yield of('vit_base_patch16_224', 'moco_v3', 768, 12, 'base_encoder.')
    yield of('aimv2_large_patch14_224', 'timm_aimv2', 1024, 8, patch_size=PATCH)
    yield of('aimv2_huge_patch14_224', 'timm_aimv2', 1536, 12, patch_size=PATCH)
    yield of('vit_giantopt_patch16_siglip_gap_256', 'timm_siglip', 1536, 16, flags='timm_siglip')
    yield of('vit_so400m_patch16_siglip_gap_256', 'timm_siglip', 1152, 16, flags='timm_siglip', mlp_ratio=2)
    yield of('vit_huge_plus_patch16_dinov3', 'timm_dinov3', 1280, 20)
    yield of('vit_pe_core_small_patch16_384', 'timm_pe', 384, 6, flags='timm_pe', ref_feat_shape=(4, 4))
    yield of('vit_pe_lang_gigantic_patch14_448', 'timm_pe_gigantic', 1536, 16, flags='timm_pe_gigantic',
             ref_feat_shape=(4, 4), patch_size=PATCH)
    yield of('eva02_enormous_patch14_clip_224', 'eva02_enormous', 1792, 16, flags='eva02_enormous', patch_size=PATCH)
    # Published with twelve heads (SigLIP) and with sixteen.
    model = plain('vit_base_patch16_gap_224', embed_dim=768, depth=1, num_heads=16)
    bare = folder.save('gap', model.state_dict())
    yield File('a width of which there are models of 12 and of 16 heads', bare, refused='--heads',
               family='timm_no_class', heads=0)
    # As the hub has it: num_heads is the architecture's, and not in model_args.
    for name, width, count in (('vit_base_patch16_gap_224', 768, 16), ('vit_giantopt_patch16_siglip_gap_256', 1536, 16),
                               ('vit_huge_plus_patch16_dinov3', 1280, 20), ('aimv2_large_patch14_224', 1024, 8)):
        model = plain(name, embed_dim=width, depth=1, num_heads=count, patch_size=PATCH)
        config = timm_config(model, name)
        config['model_args'] = {'img_size': SIZE}
        yield File(f'{name} as the hub has it', folder.hub('hub_' + name, model.state_dict(), config),
                   timm_features(model), heads=0)
    # No published model is that wide.
    model = plain(embed_dim=96, num_heads=3)
    yield File('a width that no model has', folder.save('none', model.state_dict()), refused='--heads', heads=0)
    yield File('heads that do not divide the width', folder.save('five', model.state_dict()), refused='--heads must',
               heads=5)


# Position tables with two readings.


def grids(folder):
    for rows, columns in ((12, 14), (7, 9), (3, 8), (4, 12), (5, 7), (8, 10)):
        model = plain(img_size=(rows * PATCH, columns * PATCH))
        path = folder.save(f'{rows}x{columns}', model.state_dict())
        yield File(f'{rows} x {columns} and [CLS]', path,
                   refused=f'say --grid|{rows}x{columns}|{rows} x {columns}|no square|not rows for a square')
        yield File(f'{rows} x {columns}, told', path, grid=f'{rows}x{columns}', refused='only square grids')
        config = timm_config(model, 'vit_base_patch16_224', (rows * PATCH, columns * PATCH))
        yield File(f'{rows} x {columns} by timm\'s config.json', folder.hub(f'hub{rows}x{columns}', model.state_dict(),
                                                                            config), refused='only square')
    # 5 x 4 patches and five tokens are 25 rows, as 5 x 5 patches are.
    model = plain(img_size=(5 * PATCH, 4 * PATCH), reg_tokens=4)
    yield File('5 x 4, [CLS] and four registers', folder.save('registers', model.state_dict()),
               refused='say --grid', size=80)
    # 14 x 18 patches and four registers are 16 x 16, for which models with LayerScale are published.
    model = plain('vit_medium_patch16_gap_256', img_size=(14 * PATCH, 18 * PATCH), reg_tokens=4)
    yield File('14 x 18 and four registers, no [CLS]', folder.save('no_class', model.state_dict()),
               assumed='a square grid of 16 x 16', family='timm_no_class', size=256)
    model = plain('vit_huge_patch14_gap_224', patch_size=PATCH, img_size=(14 * PATCH, 18 * PATCH), reg_tokens=4)
    yield File('14 x 18 and four registers, no LayerScale', folder.save('no_scale', model.state_dict()),
               refused='say --grid', family='timm_no_class', size=256)
    model = plain('deit_base_distilled_patch16_224', img_size=(2 * PATCH, 7 * PATCH))
    yield File('2 x 7, distilled', folder.save('distilled', model.state_dict()), refused='square')
    for side in (14, 15, 16):
        model = plain(img_size=side * PATCH, no_embed_class=True)
        yield File(f'{side} x {side} without a row for [CLS]', folder.save(f'no_row{side}', model.state_dict()),
                   timm_features(model), grid=str(side), size=side * PATCH)
        model = plain(img_size=side * PATCH)
        yield File(f'{side} x {side}, told', folder.save(f'told{side}', model.state_dict()), timm_features(model),
                   grid=f'{side}x{side}', size=side * PATCH)
    # (2 * 5 - 1)(2 * 13 - 1) distances are 15 * 15.
    model = plain('beit_base_patch16_224', img_size=(5 * PATCH, 13 * PATCH))
    path = folder.save('relative', model.state_dict())
    yield File('relative positions of 5 x 13', path, assumed='a square grid of 8 x 8 patches', size=128)
    yield File('relative positions of 5 x 13, told', path, grid='5x13', refused='only square grids', size=128)
    yield File('relative positions of 5 x 13 by timm\'s config.json', folder.hub(
        'relative_hub', model.state_dict(), timm_config(model, 'beit_base_patch16_224', (5 * PATCH, 13 * PATCH))),
               refused='images of 80 x 208', size=128, heads=0)
    config = transformers.ViTConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                                    intermediate_size=4 * WIDTH, image_size=[224, 256], patch_size=PATCH)
    model = shake(transformers.ViTModel(config, add_pooling_layer=False))
    model.save_pretrained(folder.path + '/hf')
    yield File('Hugging Face, 224 x 256', folder.path + '/hf', refused='only square')
    yield File('Hugging Face, 224 x 256, without config.json', folder.save('hf_bare', model.state_dict()),
               refused='say --grid|no square')


# What leaves no tensor.


def structure(folder):
    # timm's arguments, which a config.json beside the file has.
    for architecture, arguments in (
            ('vit_base_patch16_224', dict(act_layer='quick_gelu')),
            ('vit_base_patch16_224', dict(act_layer='gelu_tanh')),
            ('vit_base_patch16_224', dict(act_layer='relu')), ('vit_base_patch16_224', dict(act_layer='silu')),
            ('vit_base_patch16_224', dict(act_layer='hard_swish')),
            ('vit_base_patch16_224', dict(norm_layer='rmsnorm')),
            ('vit_base_patch16_224', dict(qk_norm=True)), ('vit_base_patch16_224', dict(scale_attn_norm=True)),
            ('vit_base_patch16_224', dict(init_values=0.1)), ('vit_base_patch16_224', dict(qkv_bias=False)),
            ('vit_base_patch16_224', dict(pos_embed='none')), ('vit_base_patch16_224', dict(mlp_ratio=2.5)),
            ('vit_base_patch16_224', dict(class_token=False, global_pool='avg')),
            ('vit_base_patch16_224', dict(final_norm=False)), ('vit_base_patch16_224', dict(pre_norm=True)),
            ('vit_base_patch16_224', dict(proj_bias=False)), ('vit_base_patch16_224', dict(reg_tokens=2)),
            ('vit_base_patch16_224', dict(reg_tokens=2, no_embed_class=True)),
            ('vit_base_patch16_clip_224', dict(act_layer='quick_gelu')), ('vit_base_patch16_clip_224', dict()),
            ('vit_base_patch16_clip_quickgelu_224', dict(act_layer='gelu')),
            ('vit_base_patch16_siglip_224', dict(act_layer='gelu_tanh')),
            ('eva02_base_patch16_clip_224', dict(use_rot_pos_emb=False)),
            ('eva02_base_patch16_clip_224', dict(rope_grid_offset=0.5)),
            ('eva02_base_patch16_clip_224', dict(rope_temperature=100.0)),
            ('eva02_base_patch16_clip_224', dict(rope_grid_indexing='xy')),
            ('eva02_base_patch16_clip_224', dict(rope_rotate_half=True)),
            ('eva02_base_patch16_clip_224', dict(rope_type='dinov3')),
            ('eva02_base_patch16_clip_224', dict(use_post_norm=True)),
            ('eva02_base_patch16_clip_224', dict(ref_feat_shape=(7, 7))),
            ('eva02_base_patch16_clip_224', dict(qkv_fused=True)),
            ('eva02_base_patch16_clip_224', dict(swiglu_mlp=False)),
            ('eva02_base_patch16_clip_224', dict(scale_mlp=False, scale_attn_inner=True)),
            ('vit_small_patch16_dinov3', dict(rope_temperature=50.0)),
            ('vit_small_patch16_dinov3', dict(use_rot_pos_emb=False)),
            ('vit_small_patch16_dinov3', dict(num_reg_tokens=2)),
            ('vit_small_patch16_dinov3', dict(rope_rotate_half=False)),
            ('vit_pe_core_base_patch16_224', dict(rope_temperature=100.0, ref_feat_shape=(4, 4))),
            ('vit_small_patch16_rope_224', dict(rope_temperature=10.0)),
            ('vit_small_patch16_rope_224', dict(rope_type='mixed')),
            ('beit_base_patch16_224', dict(use_rel_pos_bias=False, use_abs_pos_emb=True)),
            ('beit_base_patch16_224', dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True)),
            ('beit_base_patch16_224', dict(init_values=None)),
            ('beit_base_patch16_224', dict(swiglu_mlp=True))):
        name = f'{architecture}({", ".join(f"{key}={value}" for key, value in arguments.items())})'
        model = plain(architecture, **arguments)
        yield EitherFile(name, folder.hub(name.replace('/', '_'), model.state_dict(),
                                          timm_config(model, architecture, **arguments)), timm_features(model), heads=0)
        # Without its config.json nothing tells: what is then assumed is said, or asked for.
        assumed = {'act_layer': 'GELU', 'final_norm': 'a plain norm after the last block',
                   'rope_temperature': r'theta \d+', 'use_rot_pos_emb': 'rotary positions as',
                   'rope_rotate_half': 'rotary positions as'}.get(next(iter(arguments), ''))
        yield EitherFile(name + ', bare', folder.save(name, model.state_dict()), timm_features(model), assumed=assumed)


class EitherFile(File):
    """Read as its own code does, or refused."""


# A config.json of another model.


def hugging_face(kind, **options):
    settings = kind.config_class(**(dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                                         intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH) | options))
    return shake(kind(settings))


def last_state(model, tokens=1, cls=True):
    """The features of a model of transformers."""
    def features(images):
        with torch.no_grad():
            output = model(pixel_values=images).last_hidden_state
        return (output[:, 0] if cls else None), output[:, tokens:].mean(1)
    return features


def configs(folder):
    model = hugging_face(transformers.ViTModel)
    state, config, features = model.state_dict(), model.config.to_dict(), last_state(model)
    state = {name: value for name, value in state.items() if not name.startswith('pooler')}
    ordinary = plain()
    yield File('its own', folder.hub('own', state, config), features, heads=0)
    yield File('its own and a flag', folder.hub('flag', state, config), refused='--heads=8, but .*config.json says 4',
               heads=8)
    for number, (other, message) in enumerate((
            ({'hidden_size': 1024}, 'width 1024'), ({'num_hidden_layers': 24}, 'depth 24'),
            ({'patch_size': 14}, 'patch size 14'), ({'image_size': 224}, 'says 14 x 14 patches'),
            ({'intermediate_size': 128}, 'MLP width 128'), ({'num_channels': 1}, 'channels 1'),
            ({'num_attention_heads': 5}, '5 heads'), ({'num_register_tokens': 4}, '4 registers'),
            ({'model_type': 'clip_vision_model'}, 'model_type "clip_vision_model"'),
            ({'model_type': 'swin'}, 'model_type "swin"'), ({'model_type': 'dinov2'}, 'model_type "dinov2"'),
            ({'hidden_act': 'relu'}, 'relu'), ({'hidden_size': 'wide'}, 'hidden_size'),
            ({'patch_size': [16, 8]}, 'only squares'), ({'image_size': [64, 128]}, 'says 4 x 8 patches'))):
        yield File(f'Hugging Face, {other}', folder.hub(f'hf{number}', state, config | other), refused=message, heads=0)
    for name, other in (('no heads', 'num_attention_heads'), ('no width', 'hidden_size'), ('no kind', 'model_type'),
                        ('no images', 'image_size')):
        yield File(f'{name} in it', folder.hub(name, state, {k: v for k, v in config.items() if k != other}), features)
    # timm's beside Hugging Face's names, and the other way round.
    yield File('timm\'s beside Hugging Face\'s', folder.hub('timm_beside', state,
                                                           timm_config(ordinary, 'vit_base_patch16_224')), features)
    yield File('Hugging Face\'s beside timm\'s', folder.hub('hf_beside', ordinary.state_dict(), config),
               timm_features(ordinary))
    for number, (name, arguments, message) in enumerate((
            ('vit_base_patch16_224', dict(embed_dim=768), 'width 768'),
            ('vit_base_patch16_224', dict(depth=12), 'depth 12'),
            ('vit_base_patch16_224', dict(num_heads=5), '5 heads'),
            ('vit_base_patch16_224', dict(patch_size=8), 'patch size 8'),
            ('vit_base_patch16_224', dict(reg_tokens=4), '4 registers'),
            ('vit_base_patch16_224', dict(in_chans=4), 'channels 4'),
            ('vit_base_patch16_224', dict(img_size=224), '14 x 14|224'),
            # Of other structure, all sizes alike.
            ('vit_base_patch16_clip_quickgelu_224', {}, 'architecture "vit_base_patch16_clip_quickgelu'),
            ('vit_base_patch16_siglip_224', {}, 'architecture "vit_base_patch16_siglip'),
            ('vit_small_patch16_dinov3', {}, 'architecture "vit_small_patch16_dinov3'),
            ('vit_pe_core_base_patch16_224', {}, 'architecture "vit_pe_core'),
            ('vit_small_patch16_rope_224', {}, 'architecture "vit_small_patch16_rope'),
            ('vit_relpos_base_patch16_224', {}, 'architecture "vit_relpos'),
            ('beit_base_patch16_224', {}, 'architecture "beit'), ('resnet50', {}, 'architecture "resnet50'),
            ('swin_tiny_patch4_window7_224', {}, 'architecture "swin'))):
        yield File(f'timm, {name} {arguments}', folder.hub(f'timm{number}', ordinary.state_dict(),
                                                          timm_config(ordinary, name, **arguments)),
                   refused=message, heads=0)
    yield File('a flag against timm\'s', folder.hub('timm_flag', ordinary.state_dict(),
                                                   timm_config(ordinary, 'vit_base_patch16_224')),
               refused='--heads=2, but', heads=2)
    # The user says one activation, the config another.
    tower = plain('vit_base_patch16_clip_224')
    path = folder.hub('clip', tower.state_dict(), timm_config(tower, 'vit_base_patch16_clip_224'))
    yield File('CLIP, as timm says', path, timm_features(tower), heads=0)
    yield File('CLIP, a family against timm\'s', path, refused='--family=timm_clip', family='timm_clip', heads=0)
    tower = hugging_face(transformers.CLIPVisionModel, hidden_act='gelu')
    tower.save_pretrained(folder.path + '/hf_clip')
    yield File('CLIP, a family against Hugging Face\'s', folder.path + '/hf_clip', refused='--family=hf_clip',
               family='hf_clip', heads=0)
    ended = plain('vit_base_patch16_siglip_gap_224', act_layer='gelu_tanh')
    path = folder.hub('siglip', ended.state_dict(), timm_config(ended, 'vit_base_patch16_siglip_gap_224',
                                                               act_layer='gelu_tanh'))
    yield File('SigLIP, a family against timm\'s', path, refused='--family=timm_no_class',
               family='timm_no_class', heads=0)
    # Files of other projects' own names, beside which timm's config.json is another's.
    base = plain()
    moco = folder.hub('moco', under('module.base_encoder.', base.state_dict()),
                      timm_config(base, 'vit_base_patch16_clip_quickgelu_224'))
    yield File('MoCo v3 beside CLIP\'s', moco, refused='architecture', heads=0)
    mae = folder.hub('mae', base.state_dict() | {'decoder_embed.weight': torch.zeros(32, WIDTH)},
                     timm_config(base, 'vit_base_patch16_clip_quickgelu_224'))
    yield File('MAE beside CLIP\'s', mae, refused='architecture', heads=0)
    # Not JSON, of which none can be believed.
    broken = folder.hub('broken', state)
    with open(broken + '/config.json', 'w') as file:
        file.write('{"hidden_size": 64,')
    yield File('broken', broken, refused='config.json', heads=0)


# What stands before the names.


def prefixes(folder):
    model = plain()
    state, features = model.state_dict(), timm_features(model)
    for prefix in ('module.', '_orig_mod.', 'model.', 'encoder.', 'backbone.', 'net.', 'vit.', 'trunk.',
                   'visual.trunk.',
                   'image_encoder.', 'vision_tower.', 'vision_model.model.', '_forward_module.', 'student.backbone.',
                   'teacher.backbone.', 'module.model.backbone.', '_orig_mod.module.encoder.backbone.',
                   'base_model.model.', 'model._orig_mod.', 'online_network.backbone.', 'backbone.vit.', '0.',
                   'encoder.0.', 'module.encoder.module.', 'target_encoder.module.', 'ema.module.',
                   'img_encoder.model.',
                   'module.visual.', 'student_backbone.vit.', 'feature_extractor.'):
        name = prefix.strip('.').replace('.', '-')
        beside = {'projector.0.weight': torch.zeros(4, WIDTH), 'classifier.bias': torch.zeros(4)}
        yield File(prefix, folder.save(name, {'state_dict': under(prefix, state)}), features)
        yield File(prefix + ' and heads', folder.save(name + '_heads', under(prefix, state) | beside), features)
        yield File(prefix + ' around heads too', folder.save(
            name + '_wrapped', {'model': under('module.', under(prefix, state) | beside)}), features)
    # What stands inside of the names: checkpointed, compiled or sharded blocks.
    for part in ('_checkpoint_wrapped_module', '_orig_mod', '_fsdp_wrapped_module'):
        inner = {name.replace('blocks.0.', f'blocks.0.{part}.').replace('blocks.1.', f'blocks.1.{part}.'): value
                 for name, value in state.items()}
        yield File(f'{part} inside', folder.save('inside' + part, inner), features)
        both = under(part + '.', {name.replace(f'.{part}.', f'.{part}._checkpoint_wrapped_module.'): value
                                  for name, value in inner.items()})
        yield File(f'{part} inside and before', folder.save('both' + part, both), features)
    others = plain(), plain()
    for other in others:
        shake(other, seed=3)
    two = under('backbone.', state) | under('momentum_backbone.', others[0].state_dict())
    path = folder.save('two', {'state_dict': two})
    yield File('two encoders', path, refused='say --entry=backbone or --entry=momentum_backbone')
    yield File('two encoders, the one', path, features, entry='backbone')
    yield File('two encoders, the other', path, timm_features(others[0]), entry='momentum_backbone')
    yield File('two encoders, neither', path, refused='no entry "teacher"', entry='teacher')
    # mmpretrain's names of the same model.
    theirs = {}
    for name, value in plain(init_values=0.1).state_dict().items():
        for own, their in (('patch_embed.proj', 'patch_embed.projection'), ('blocks.', 'layers.'), ('norm1', 'ln1'),
                           ('norm2', 'ln2'), ('mlp.fc1', 'ffn.layers.0.0'), ('mlp.fc2', 'ffn.layers.1'),
                           ('ls1.gamma', 'attn.gamma1.weight'), ('ls2.gamma', 'ffn.gamma2.weight')):
            name = name.replace(own, their)
        theirs[('ln1' + name[4:]) if name.startswith('norm') else name] = value
    yield File('mmpretrain', folder.save('mmpretrain', {'meta': {}, 'state_dict': under('backbone.', theirs) | {
        'head.layers.head.weight': torch.zeros(3, WIDTH), 'neck.mask_token': torch.zeros(1, 1, 8)}}),
               timm_features(plain(init_values=0.1)))
    doubled = under('encoder.', state) | {'pos_embed': state['pos_embed'] + 1}
    yield File('a table outside too', folder.save('doubled', doubled), refused='unexpected|pos_embed')
    adapted = state | {'blocks.0.attn.qkv.lora_A.weight': torch.zeros(4, WIDTH),
                       'blocks.0.attn.qkv.lora_B.weight': torch.zeros(3 * WIDTH, 4)}
    yield File('adapters', folder.save('lora', adapted), refused='lora')
    outside = under('encoder.', state) | {'lora.blocks.0.attn.qkv.A.weight': torch.zeros(4, WIDTH)}
    yield EitherFile('adapters beside it', folder.save('lora_beside', outside), features)
    for name in ('blocks.0.attn.q_norm.weight', 'norm_pre.weight', 'pos_embed_temporal', 'blocks.0.drop_path.scale',
                 'patch_embed.norm.weight', 'blocks.2.norm1.weight', 'prompt_embeddings',
                 'blocks.0.adapter.down.weight',
                 'rel_pos_bias.table', 'temperature_embed.weight', 'cls_token_2'):
        yield File('with ' + name, folder.save('with' + name, state | {name: torch.zeros(WIDTH)}),
                   refused=name.replace('.', r'\.') + '|--family')


# The entry of a file.


def entries(folder):
    model, average = plain(), shake(plain(), seed=5)
    state, other = model.state_dict(), average.state_dict()
    of, of_average = timm_features(model), timm_features(average)
    for key in ('model', 'state_dict', 'model_state_dict', 'net', 'encoder', 'backbone', 'teacher', 'target_encoder',
                'ema', 'model_state', 'network', 'weights', 'params', 'module', 'ema_state_dict'):
        yield File(key, folder.save(key, {'epoch': 3, key: state, 'args': {'lr': 1e-3}}), of)
    for first, second in (('model', 'model_ema'), ('state_dict', 'state_dict_ema'), ('model', 'ema')):
        path = folder.save(f'{first}_{second}', {first: state, second: under('module.', other)})
        yield File(f'{first} of {first} and {second}', path, of)
        yield File(f'{second} of {first} and {second}', path, of_average, entry=second)
        yield File(f'no entry of {first} and {second}', path, refused='no entry "teacher"', entry='teacher')
    path = folder.save('net_ema', {'net': state, 'net_ema': other})
    yield File('net and net_ema', path, refused='say --entry=net or --entry=net_ema')
    yield File('net of net and net_ema', path, of, entry='net')
    path = folder.save('list', {'model': state, 'optimizer': {'state': {0: {'exp_avg': torch.zeros(3)}},
                                                            'param_groups': [{'lr': 0.1, 'params': [0]}]},
                                'scaler': {'scale': 65536.0}, 'epoch': 1})
    yield File('a whole training state', path, of)
    yield File('a name under "model"', folder.save('name', {'model': 'vit_base', 'net': state}), of)
    yield File('None under "model"', folder.save('none', {'model': None, 'state_dict': state}), of)
    yield File('an empty "model"', folder.save('empty', {'model': {}, 'state_dict': state}), of)
    yield File('prototypes beside', folder.save('prototypes', {
        'target_encoder': under('module.', state), 'prototypes': torch.zeros(4, 4)}), of)
    for depth, root in enumerate(({'checkpoint': {'model': state}}, {'state': {'model': {'encoder': state}}},
                                  {'checkpoint': {'model': state, 'model_ema': other}})):
        yield EitherFile(f'deeper: {list(root)[0]} {depth}', folder.save(f'deep{depth}', root), of)
    yield EitherFile('a list', folder.save('a list', [state]), of)
    yield EitherFile('a pair', folder.save('pair', (state, {'epoch': 1})), of)
    yield File('numbers alone', folder.save('numbers', {'epoch': 1}), refused='no tensors|entries are no tensors')
    yield File('averages by number', folder.save('averages', {'model': {'n_averaged': torch.tensor(3),
                                                                      **under('module.', state)}}), of)
    student = {'student': under('module.backbone.', state) | {'module.head.last_layer.weight': torch.zeros(4, 4)},
               'teacher': under('backbone.', other) | {'head.last_layer.weight': torch.zeros(4, 4)}}
    path = folder.save('dino', student)
    yield File('DINO, the student', path, of)
    yield File('DINO, the teacher', path, of_average, family='dino_teacher')
    yield EitherFile('DINO, the teacher by its entry', path, of_average, entry='teacher')
    moco = {'state_dict': under('module.base_encoder.', state) | under('module.momentum_encoder.', other)}
    path = folder.save('moco', moco)
    yield File('MoCo v3', path, of)
    yield File('MoCo v3, the other', path, of_average, entry='momentum_encoder')


# What is left out.


def left_out(folder):
    t = transformers

    def saved(name, model, inner, tokens=1, cls=True, **how):
        path = os.path.join(folder.path, name)
        model.save_pretrained(path)
        return File(name, path, last_state(inner(model), tokens, cls), heads=0, **how)

    def made(kind, **options):
        return hugging_face(kind, **options)

    yield saved('ViTForImageClassification', made(t.ViTForImageClassification), lambda m: m.vit)
    yield saved('ViTForMaskedImageModeling', made(t.ViTForMaskedImageModeling, encoder_stride=PATCH), lambda m: m.vit)
    yield saved('ViTMSNForImageClassification', made(t.ViTMSNForImageClassification), lambda m: m.vit)
    yield saved('DeiTForMaskedImageModeling', made(t.DeiTForMaskedImageModeling, encoder_stride=PATCH),
                lambda m: m.deit, tokens=2)
    yield saved('DeiTForImageClassification', made(t.DeiTForImageClassification), lambda m: m.deit, tokens=2)
    yield saved('BeitForImageClassification', made(t.BeitForImageClassification, use_relative_position_bias=True,
                                                   use_mean_pooling=False), lambda m: m.beit)
    yield saved('BeitForMaskedImageModeling', made(t.BeitForMaskedImageModeling, use_mask_token=True,
                                                   use_shared_relative_position_bias=True), lambda m: _normed(m))
    yield saved('Data2VecVisionForImageClassification',
                made(t.Data2VecVisionForImageClassification, use_relative_position_bias=True, use_mean_pooling=False),
                lambda m: m.data2vec_vision)
    yield saved('Dinov2ForImageClassification', made(t.Dinov2ForImageClassification), lambda m: m.dinov2)
    yield saved('Dinov2Backbone', made(t.Dinov2Backbone, out_indices=[1]), lambda m: _backbone(m, t.Dinov2Model))
    yield saved('Dinov2WithRegistersForImageClassification', made(t.Dinov2WithRegistersForImageClassification,
                                                                  num_register_tokens=4),
                lambda m: m.dinov2_with_registers, tokens=5)
    yield saved('IJepaForImageClassification', made(t.IJepaForImageClassification), lambda m: m.ijepa, tokens=0,
                cls=False)
    yield saved('DINOv3ViTBackbone', made(t.DINOv3ViTBackbone, num_register_tokens=4, out_indices=[2]),
                lambda m: _backbone(m, t.DINOv3ViTModel), tokens=5)
    text = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=16, projection_size=16, bos_token_id=0, eos_token_id=1, pad_token_id=1)
    vision = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=4 * WIDTH,
                  image_size=SIZE, patch_size=PATCH)
    for act in ('quick_gelu', 'gelu'):
        clip = shake(t.CLIPModel(t.CLIPConfig(text_config=text | {'hidden_act': act},
                                              vision_config=vision | {'hidden_act': act}, projection_dim=16)))
        path = os.path.join(folder.path, 'CLIPModel_' + act)
        clip.save_pretrained(path)
        yield File('CLIPModel ' + act, path, _clip_features(clip.vision_model), heads=0)
        bare = folder.save('clip_' + act, clip.state_dict())
        yield File('CLIPModel, bare ' + act, bare, refused='--family=hf_clip')
        yield File('CLIPModel, bare and told ' + act, bare, _clip_features(clip.vision_model),
                   family='hf_clip' if act == 'quick_gelu' else 'hf_open_clip')
    projected = made(t.CLIPVisionModelWithProjection, projection_dim=16)
    path = os.path.join(folder.path, 'projected')
    projected.save_pretrained(path)
    yield File('CLIPVisionModelWithProjection', path, _clip_features(projected.vision_model), heads=0)
    siglip = shake(t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision)))
    path = os.path.join(folder.path, 'SiglipModel')
    siglip.save_pretrained(path)
    yield File('SiglipModel', path, _siglip_features(siglip.vision_model), heads=0)
    classifier = shake(t.SiglipForImageClassification(t.SiglipConfig(text_config=text, vision_config=vision)))
    path = os.path.join(folder.path, 'SiglipForImageClassification')
    classifier.save_pretrained(path)
    yield File('SiglipForImageClassification', path, last_state_of_siglip(classifier), heads=0)
    decoder = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        t.ViTConfig(**vision), t.TrOCRConfig(vocab_size=64, d_model=32, decoder_layers=1, decoder_attention_heads=2,
                                             decoder_ffn_dim=64))
    model = shake(t.VisionEncoderDecoderModel(decoder))
    path = os.path.join(folder.path, 'VisionEncoderDecoder')
    model.save_pretrained(path)
    yield EitherFile('VisionEncoderDecoderModel', path, last_state(model.encoder), heads=0)
    # OpenCLIP's towers beside each other, and timm's in it.
    tower = plain('vit_base_patch16_clip_224')
    state, features = tower.state_dict(), timm_features(tower)
    texts = {'text.transformer.resblocks.0.ln_1.weight': torch.ones(16),
             'text.token_embedding.weight': torch.zeros(64, 16),
             'text.positional_embedding': torch.zeros(8, 16), 'logit_scale': torch.tensor(1.0)}
    for number, beside in enumerate((
            texts, texts | {'logit_bias': torch.tensor(-10.0)}, {'text_model.embeddings.weight': torch.zeros(4, 4)},
            {'text_decoder.resblocks.0.ln_1.weight': torch.ones(16)}, {'t_encoder.weight': torch.zeros(4)},
            {'visual.head.proj.weight': torch.zeros(16, WIDTH)}, {'visual.head.mlp.fc1.weight': torch.zeros(16, WIDTH)},
            {'caption_decoder.layers.0.weight': torch.zeros(4)})):
        path = folder.save(f'trunk{number}', {'state_dict': under('module.', under('visual.trunk.', state) | beside)})
        yield File(f'visual.trunk. beside {list(beside)[0]}', path, features, family='timm_open_clip')
    model = plain()
    for number, beside in enumerate((
            {'head.weight': torch.zeros(3, WIDTH), 'head.bias': torch.zeros(3)}, {'fc.weight': torch.zeros(3, WIDTH)},
            {'head_dist.weight': torch.zeros(3, WIDTH)}, {'predictor.0.weight': torch.zeros(4, 4)},
            {'mask_token': torch.zeros(1, 1, WIDTH)}, {'queue': torch.zeros(4, 4), 'queue_ptr': torch.zeros(1)},
            {'decoder_blocks.0.norm1.weight': torch.zeros(32), 'decoder_pos_embed': torch.zeros(1, 17, 32)},
            {'pre_logits.fc.weight': torch.zeros(4, WIDTH)}, {'lm_head.weight': torch.zeros(4, WIDTH)},
            {'prototypes.weight': torch.zeros(4, 4)}, {'projection_head.layers.0.weight': torch.zeros(4, WIDTH)},
            {'pooler.dense.weight': torch.zeros(WIDTH, WIDTH)}, {'loss.center': torch.zeros(1, 4)},
            {'classifier.weight': torch.zeros(3, WIDTH)}, {'aux_head.weight': torch.zeros(3, WIDTH)})):
        yield File(f'beside {list(beside)[0]}', folder.save(f'head{number}', model.state_dict() | beside),
                   timm_features(model))


class _Output:
    def __init__(self, tokens):
        self.last_hidden_state = tokens


def _normed(model):
    """BeitForMaskedImageModeling's tokens, which its own norm follows."""
    return lambda pixel_values: _Output(model.layernorm(model.beit(pixel_values=pixel_values).last_hidden_state))


def _backbone(model, kind):
    """The same weights in the class that gives all tokens."""
    whole = kind(kind.config_class(**model.config.to_dict())).eval()
    missing, unexpected = whole.load_state_dict(model.state_dict(), strict=False)
    if missing:  # Under "model.".
        whole.load_state_dict({name.removeprefix('model.'): value for name, value in model.state_dict().items()},
                              strict=False)
    return whole


def _clip_features(tower):
    def features(images):
        with torch.no_grad():
            tokens = tower.post_layernorm(tower(pixel_values=images).last_hidden_state)
        return tokens[:, 0], tokens[:, 1:].mean(1)
    return features


def _siglip_features(tower):
    def features(images):
        with torch.no_grad():
            output = tower(pixel_values=images)
        return output.pooler_output, output.last_hidden_state.mean(1)
    return features


def last_state_of_siglip(model):
    def features(images):
        with torch.no_grad():
            return None, model.vision_model(pixel_values=images).last_hidden_state.mean(1)
    return features


# OpenCLIP's folders.


def open_clip_folders(folder):
    def tower(**vision):
        settings = dict(layers=DEPTH, width=WIDTH, head_width=WIDTH // HEADS, patch_size=PATCH, image_size=SIZE)
        text = dict(context_length=8, vocab_size=64, width=16, heads=2, layers=1)
        quick = vision.pop('quick_gelu', False)
        model = open_clip.model.CLIP(embed_dim=16, quick_gelu=quick, vision_cfg=settings | vision, text_cfg=text)
        config = {'model_cfg': {'embed_dim': 16, 'quick_gelu': quick, 'vision_cfg': settings | vision,
                                'text_cfg': text},
                  'preprocess_cfg': {'mean': [0.5, 0.5, 0.5], 'std': [0.5, 0.5, 0.5]}}
        return shake(model), config

    def saved(name, state, config):
        path = folder.hub(name, state)
        os.rename(path + '/model.safetensors', path + '/open_clip_model.safetensors')
        with open(path + '/open_clip_config.json', 'w') as file:
            json.dump(config, file)
        return path

    for name, vision in (('gelu', {}), ('quick', {'quick_gelu': True}), ('scaled', {'ls_init_value': 0.5}),
                         ('ratio', {'mlp_ratio': 2.5}), ('tanh', {'act_kwargs': {'approximate': 'tanh'}}),
                         ('epsilon', {'norm_kwargs': {'eps': 1e-3}})):
        model, config = tower(**vision)
        path = saved(name, model.state_dict(), config)
        yield File(name, path, _open_clip_features(model), heads=0)
        yield File(name + ', its family told', path, _open_clip_features(model), heads=0,
                   family='clip' if name == 'quick' else 'open_clip')
        yield File(name + ', another told', path, refused='--family=', heads=0,
                   family='open_clip' if name == 'quick' else 'clip')
    model, config = tower()
    for key, value, message in (('width', 128, 'width 128'), ('layers', 12, 'depth 12'),
                                ('patch_size', 32, 'patch size 32'),
                                ('image_size', 224, '14 x 14'), ('head_width', 64, '1 heads'),
                                ('mlp_ratio', 2, 'MLP width'),
                                ('layers', [3, 4, 6, 3], 'say --family')):
        other = copy.deepcopy(config)
        other['model_cfg']['vision_cfg'][key] = value
        expected = dict(refused=message) if key != 'head_width' else dict(refused='--heads=4, but')
        yield File(f'another {key} {value}', saved(f'{key}{value}', model.state_dict(), other), **expected)
    # A tower of timm's in it.
    trunk = plain('vit_base_patch16_siglip_224', act_layer='gelu_tanh')
    for architecture, kind in (('vit_base_patch16_siglip_224', 'gelu'), ('vit_base_patch32_siglip_256', 'tanh')):
        trunk = plain('vit_base_patch16_siglip_224', act_layer=None if kind == 'gelu' else 'gelu_tanh')
        config = {'model_cfg': {'embed_dim': 16, 'vision_cfg': {'timm_model_name': architecture, 'image_size': SIZE},
                                'text_cfg': {}}}
        state = under('visual.trunk.', trunk.state_dict()) | {'text.positional_embedding': torch.zeros(8, 16),
                                                              'logit_bias': torch.zeros(1)}
        yield EitherFile('SigLIP ' + kind, saved('siglip_' + kind, state, config), timm_features(trunk))


def _open_clip_features(model):
    def features(images):
        tokens = []
        hook = model.visual.transformer.register_forward_hook(lambda module, given, output: tokens.append(output))
        with torch.no_grad():
            model.visual(images)
            output = model.visual.ln_post(tokens[0])
        hook.remove()
        return output[:, 0], output[:, 1:].mean(1)
    return features


# An input adaptor of any width: int(width * mlp_ratio).


def token_mlps(folder):
    for ratio, own in ((2, 2), (2.3, 2.3), (4, 2), (0.5, 4), (1 / 64, 1)):
        model = plain(mlp_ratio=own)
        hidden = int(WIDTH * ratio)
        mlp = shake(torch.nn.Sequential(torch.nn.Linear(WIDTH, hidden), torch.nn.GELU(),
                                        torch.nn.Linear(hidden, WIDTH)))
        # Exact where the position of [CLS] is zero, as in TEC.
        with torch.no_grad():
            model.pos_embed[:, 0] = 0
        state = {name: value.clone() for name, value in model.state_dict().items()}
        for own_name, layer in (('fc1', mlp[0]), ('fc2', mlp[2])):
            state[f'cls_token_mlp.{own_name}.weight'] = layer.weight.detach()
            state[f'cls_token_mlp.{own_name}.bias'] = layer.bias.detach()
        state['encoder_adaptor.adap_before.weight'] = torch.zeros(WIDTH)
        with torch.no_grad():
            model.cls_token.copy_(mlp(model.cls_token))
        yield File(f'ratio {ratio}', folder.save(f'ratio{ratio}', {'model': state}), timm_features(model))
        state['cls_token_mlp.fc2.weight'] = torch.zeros(WIDTH, hidden + 1)
        yield File(f'ratio {ratio}, half of it of another', folder.save(f'other{ratio}', {'model': state}),
                   refused='cls_token_mlp.fc2.weight has shape')
