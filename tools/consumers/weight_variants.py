"""Further files of the kinds of weight_kinds.py, many of each: heads, grids of patches, values.

A file is read as its own code does, within the test's tolerance, or refused with what is the matter; where nothing
tells, what is assumed is said.
"""

import torch
import transformers
from vit_sweep import timm_features
from weight_kinds import PATCH, WIDTH, File, hugging_face, last_state, plain, timm_config


def more_heads(folder):
    # Widths whose models have one usual number, and others.
    for width, usual, others in ((192, 3, (2, 4, 6, 12)), (256, 4, (8, 16)), (320, 5, (10,)), (384, 6, (4, 8, 12)),
                                 (512, 8, (4, 16)), (640, 10, (8,)), (768, 12, (8, 16, 24)), (832, 13, (16,)),
                                 (896, 14, (7,)), (1024, 16, (8, 32)), (1152, 16, (18,)), (1280, 16, (20,))):
        for count in (usual, *others):
            model = plain(embed_dim=width, depth=1, num_heads=count, mlp_ratio=1)
            name, features = f'{width}_{count}', timm_features(model)
            bare = folder.save(name, model.state_dict())
            # Other heads than the usual leave no trace: that the usual ones are taken has to be said.
            yield File(f'width {width}, {count} heads', bare, features, heads=0,
                       assumed=None if count == usual else f'{usual} heads')
            yield File(f'width {width}, {count} heads, told', bare, features, heads=count)
            if count == usual:
                continue
            hub = folder.hub(name, model.state_dict(),
                             timm_config(model, 'vit_base_patch16_224', embed_dim=width, depth=1, num_heads=count))
            yield File(f'width {width}, {count} heads by config.json', hub, features, heads=0)
            yield File(f'width {width}, {usual} heads against config.json', hub, heads=usual,
                       refused=f'--heads={usual}, but .*config.json says {count}')
    for width, count in ((192, 5), (384, 7), (768, 10), (1024, 12)):
        path = folder.save(f'{width}_none', plain(embed_dim=width, depth=1, num_heads=1, mlp_ratio=1).state_dict())
        yield File(f'{count} heads of width {width}', path, refused='--heads must', heads=count)
    for width in (48, 72, 96, 128, 160, 224, 448, 576, 720, 960):
        model = plain(embed_dim=width, depth=1, num_heads=2, mlp_ratio=1)
        path = folder.save(f'{width}_unknown', model.state_dict())
        yield File(f'width {width}', path, refused='--heads', heads=0)
        yield File(f'width {width}, told', path, timm_features(model), heads=2)
    # Tensors that tell it: relative positions, rotary periods.
    model = plain('beit_base_patch16_224', embed_dim=96, num_heads=6)
    path = folder.save('beit', model.state_dict())
    yield File('BEiT of six heads', path, timm_features(model), heads=0)
    yield File('BEiT of six heads, twelve told', path, refused='--heads=12, but the relative position table', heads=12)
    # Hugging Face's config.
    for count in (2, 4, 8, 12):
        model = hugging_face(transformers.ViTModel, hidden_size=96, num_attention_heads=count, intermediate_size=96)
        path = f'{folder.path}/vit{count}'
        model.save_pretrained(path)
        yield File(f'Hugging Face, {count} heads', path, last_state(model), heads=0)
        yield File(f'Hugging Face, {count} heads, three told', path, refused=f'config.json says {count}', heads=3)


def more_grids(folder):
    # Rows for [CLS] and these patches are those of a square, or of none.
    for rows, columns in ((2, 4), (6, 8), (9, 11), (11, 13), (3, 5), (4, 6), (3, 16), (5, 16), (8, 15), (6, 20), (2, 3),
                          (3, 4), (6, 7), (14, 10)):
        model = plain(img_size=(rows * PATCH, columns * PATCH))
        path = folder.save(f'{rows}x{columns}', model.state_dict())
        yield File(f'{rows} x {columns} and [CLS]', path, refused='say --grid|no square|not rows for a square')
        yield File(f'{rows} x {columns}, told', path, grid=f'{rows}x{columns}', refused='only square grids')
        yield File(f'{columns} x {rows}, told', path, grid=f'{columns}x{rows}', refused='only square grids')
        config = timm_config(model, 'vit_base_patch16_224', (rows * PATCH, columns * PATCH))
        yield File(f'{rows} x {columns} by config.json',
                   folder.hub(f'hub{rows}x{columns}', model.state_dict(), config), refused='only square')
    for side in (1, 2, 3, 5, 6, 7, 9):
        for registers in (0, 1, 3, 4):
            for rows_for in ('all', 'none'):
                options = dict(no_embed_class=True) if rows_for == 'none' else {}
                model = plain(img_size=side * PATCH, reg_tokens=registers, **options)
                path = folder.save(f'{side}_{registers}_{rows_for}', model.state_dict())
                name = f'{side} x {side}, {registers} registers, rows for {rows_for}'
                yield File(name + ', told', path, timm_features(model), grid=str(side), size=side * PATCH)
                config = timm_config(model, 'vit_base_patch16_224', side * PATCH, reg_tokens=registers, **options)
                hub = folder.hub(f'hub{side}_{registers}_{rows_for}', model.state_dict(), config)
                yield File(name + ' by config.json', hub, timm_features(model), heads=0, size=side * PATCH)
        model = plain(img_size=side * PATCH)
        path = folder.save(f'wrong{side}', model.state_dict())
        yield File(f'{side} x {side}, another told', path, grid=str(side + 2), refused='rows')
        yield File(f'{side} x {side}, another config.json', folder.hub(
            f'wrong{side}', model.state_dict(), timm_config(model, 'vit_base_patch16_224', (side + 2) * PATCH)),
                   refused='rows|is not of')
    for side in (2, 3, 6):
        model = plain('deit_base_distilled_patch16_224', img_size=side * PATCH)
        yield File(f'{side} x {side}, distilled', folder.save(f'distilled{side}', model.state_dict()),
                   timm_features(model), size=side * PATCH)
    # Hugging Face's, of an image_size that is not the table's.
    for size, said in ((64, 80), (80, 64), (48, 112)):
        model = hugging_face(transformers.ViTModel, image_size=size)
        model.config.image_size = said
        path = f'{folder.path}/hf{size}_{said}'
        model.save_pretrained(path)
        yield File(f'Hugging Face, {size} pixels, config of {said}', path, refused='rows|is not of', heads=0)


# What no weight can be, and what it can.


def values(folder):
    model = plain(init_values=0.1, reg_tokens=1)
    whole, features = model.state_dict(), timm_features(model)
    wrong = {'nan': float('nan'), 'inf': float('inf'), '-inf': float('-inf')}
    names = ('cls_token', 'reg_token', 'pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias',
             'blocks.0.norm1.weight', 'blocks.1.attn.qkv.weight', 'blocks.0.attn.qkv.bias', 'blocks.1.attn.proj.weight',
             'blocks.0.ls1.gamma', 'blocks.1.norm2.bias', 'blocks.0.mlp.fc1.weight', 'blocks.1.mlp.fc2.bias',
             'norm.weight')

    def with_value(name, value, place, kind=torch.float32):
        state = {key: tensor.clone().to(kind) for key, tensor in whole.items()}
        state[name].view(-1)[place] = value
        return state

    for name in names:
        for word, value in wrong.items():
            # The first number, one in the middle, the last.
            place = {'nan': 0, 'inf': whole[name].numel() // 2, '-inf': -1}[word]
            yield File(f'{word} in {name}', folder.save(f'{name}_{word}', with_value(name, value, place)),
                       refused=f'{name}.*(not finite|nan|inf)', grid='4')
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        for word, value in wrong.items():
            state = with_value('blocks.1.mlp.fc1.weight', value, 5, kind)
            yield File(f'{word} in {kind}', folder.save(f'{kind}_{word}', state), refused='blocks.1.mlp.fc1.weight',
                       grid='4')
    # float64 that float32, which all are computed in, does not hold.
    for value in (1e39, -1e300):
        state = with_value('blocks.0.attn.qkv.weight', value, 7, torch.float64)
        yield File(f'{value} in float64', folder.save(f'double{value}', state), refused='blocks.0.attn.qkv.weight',
                   grid='4')
    # Finite each, and not their product, which is what is taken.
    state = with_value('blocks.0.ls2.gamma', 1e30, 3)
    state['blocks.0.mlp.fc2.weight'][3] = 1e30
    yield File('a product beyond float32', folder.save('product', state), refused='blocks.0.mlp.fc2.weight', grid='4')
    # What is no part of the encoder may be anything.
    for name in ('head.weight', 'decoder_blocks.0.norm1.weight', 'projector.0.weight', 'queue'):
        state = dict(whole) | {name: torch.full((WIDTH,), float('nan'))}
        yield File(f'nan in {name}', folder.save(f'outside_{name}', state), features, grid='4')
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        rounded = plain(init_values=0.1, reg_tokens=1)
        rounded.load_state_dict({key: tensor.to(kind).float() for key, tensor in whole.items()})
        state = {key: tensor.to(kind) for key, tensor in whole.items()}
        yield File(f'all in {kind}', folder.save(f'all_{kind}', state), timm_features(rounded.eval()), grid='4')
    # Zero of either sign, the least numbers, large ones.
    for word, value in (('-0', -0.0), ('least', 1e-45), ('small', 1e-38), ('large', 3e3)):
        changed = plain(init_values=0.1, reg_tokens=1)
        state = with_value('blocks.0.mlp.fc1.bias', value, 11)
        changed.load_state_dict(state)
        yield File(f'{word} is a number', folder.save(f'finite_{word}', state), timm_features(changed.eval()), grid='4')
    for kind in (torch.int32, torch.bool, torch.int8):
        state = dict(whole) | {'norm.bias': torch.zeros(WIDTH, dtype=kind)}
        yield File(f'{kind} for a weight', folder.save(f'type_{kind}', state), refused='norm.bias', grid='4')
    for name, shape in (('norm.weight', (0,)), ('cls_token', (1, 1, 0)), ('patch_embed.proj.weight', (0, 3, 16, 16)),
                        ('pos_embed', (1, 0, WIDTH))):
        state = dict(whole) | {name: torch.zeros(shape)}
        yield File(f'{name} without elements', folder.save(f'empty_{name}', state), refused=name, grid='4')
