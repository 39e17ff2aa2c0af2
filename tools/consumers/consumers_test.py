"""Our models against the programs that weight files come from and go to: same weights, same pictures, same numbers.

Every model is small and random: no file is downloaded. Programs: vit_outputs, convert, export (runfiles of this test).
Of projects whose code is in no package, published_keys/ has the names in their files. What has needs of its own is a
module beside this one; the tests here have their models and comparisons in common, and are long together.
"""

import argparse
import glob
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile

# What PyTorch for CUDA wants of CUDA's libraries is looked for when it is called: never, without a GPU.
sys.setdlopenflags(os.RTLD_LAZY)

import numpy as np
import onnx
import onnxruntime
import open_clip
import safetensors.torch
import timm
import torch
import transformers
from PIL import Image
from dense_test import DenseTest
from encoders_test import EncodersTest
from family_programs_test import FamilyProgramsTest
from looking_test import LookingTest
from one_reader_test import OneReaderTest
from reader_test import ReaderTest
from true_sizes_test import TrueSizesTest
from vit_sweep import SweepTest
from weight_cases_test import WeightCasesTest
from weight_kinds_test import WeightKindsTest

# Of the issue: float32 through a few blocks leaves two digits to spare.
TOLERANCE = 1e-4
WIDTH, DEPTH, HEADS, PATCH, SIZE = 64, 3, 4, 8, 32
GRID = SIZE // PATCH
# Of tables without rows for the registers, which may be read in two ways at a size that nobody has published.
SAID_GRID = f'{GRID}x{GRID}'

VIT_OUTPUTS = 'tools/consumers/vit_outputs'
CONVERT = 'tools/convert/convert'
EXPORT = 'tools/export/export'
PRETRAIN = 'tec/pretrain'
FINETUNE = 'eval/finetune/finetune'
PREDICT = 'eval/predict/predict'
PUBLISHED_KEYS = 'tools/consumers/published_keys'


def randomise(model, seed=0):
    """Every parameter away from the value of its initialisation, which is often 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() >= 2 and 'token' not in name and 'pos' not in name and 'table' not in name:
                noise = noise / parameter[0].numel() ** 0.5
            else:
                noise = noise * 0.3
            parameter.copy_(parameter * 0.5 + noise)
    return model.eval()


def timm_model(name, **options):
    if 'giant' in name:
        options['mlp_ratio'] = 4  # Its own does not go with this width.
    options = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, patch_size=PATCH, img_size=SIZE,
                   num_classes=3) | options
    return randomise(timm.create_model(name, **options))


def config(kind, **options):
    return kind(**(dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                        intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH) | options))


def published_keys(name, depth):
    """{entry: {tensor: (shape, dtype)}} of a published file, of its first blocks alone."""
    entries = {}
    with open(f'{PUBLISHED_KEYS}/{name}.txt') as file:
        for line in file.read().splitlines():
            if line.startswith('['):
                tensors = entries[line[1:-1]] = {}
            elif not line.startswith('#'):
                tensor, shape, *dtype = line.split()
                # blocks.<block>. or, in chunks, blocks.<chunk>.<block>.
                block = re.search(r'blocks\.(?:\d+\.)?(\d+)\.', tensor)
                if block is None or int(block[1]) < depth:
                    tensors[tensor] = json.loads(shape), getattr(torch, (dtype or ['float32'])[0])
    return entries


def values_of(model):
    """What a timm model shares with published files: their heads are their own."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith('head.')}


def dinov2_values_of(model):
    """values_of, under dinov2's names."""
    values = values_of(model)
    if model.num_reg_tokens:
        values['register_tokens'] = values.pop('reg_token')
        # Its table has a row for [CLS], which timm keeps in the token.
        row = torch.full((1, 1, WIDTH), 0.25)
        values['pos_embed'] = torch.cat([row, values['pos_embed']], 1)
        values['cls_token'] = values['cls_token'] - row
    if isinstance(model.blocks[0].mlp, timm.layers.GluMlp):
        values = {k.replace('mlp.fc1', 'mlp.w12').replace('mlp.fc2', 'mlp.w3'): v for k, v in values.items()}
    return values


def open_clip_model(quick, size=SIZE):
    return randomise(open_clip.model.CLIP(
        embed_dim=16, quick_gelu=quick,
        vision_cfg=dict(layers=DEPTH, width=WIDTH, head_width=WIDTH // HEADS, patch_size=PATCH, image_size=size),
        text_cfg=dict(context_length=8, vocab_size=64, width=16, heads=2, layers=1)))


def block_outputs(blocks, run):
    outputs = []
    hooks = [block.register_forward_hook(
        lambda module, inputs, output: outputs.append(output[0] if isinstance(output, tuple) else output))
        for block in blocks]
    with torch.no_grad():
        result = run()
    for hook in hooks:
        hook.remove()
    return outputs, result


class ConsumersTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        # randomise() keeps a part of what a model was made with.
        torch.manual_seed(0)
        self.images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_program(self, *arguments):
        result = subprocess.run(arguments, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def ours(self, path, expected_family, forced='', size=SIZE, interpolate='0', grid=''):
        images, output = self.path('images.safetensors'), self.path('outputs.safetensors')
        safetensors.torch.save_file({'images': self.images}, images)
        report = self.run_program(VIT_OUTPUTS, path, forced, str(HEADS), str(size), interpolate, images, output,
                                  *([grid] if grid else []))
        self.assertIn(f'family {expected_family}:', report)
        return safetensors.torch.load_file(output)

    def near(self, ours, theirs, what):
        self.assertEqual(ours.shape, theirs.shape, what)
        difference = (ours - theirs).abs().max().item()
        self.assertLessEqual(difference, TOLERANCE, f'{what}: differs by {difference}')
        # A comparison of nothing but small numbers would show nothing.
        self.assertGreater(theirs.abs().max().item(), 0.1, what)

    def compare(self, path, expected_family, theirs, final=None, **how):
        """theirs: outputs of the blocks; final: all tokens after the final norm."""
        ours = self.ours(path, expected_family, **how)
        self.assertEqual(len(theirs), sum(name.startswith('blocks.') for name in ours))
        for i, output in enumerate(theirs):
            self.near(ours[f'blocks.{i}'], output, f'block {i}')
        patches = ours['features'].shape[1]
        self.near(ours['features'], theirs[-1][:, -patches:], 'features')
        if final is not None:
            self.near(ours['cls'], final[:, 0], 'cls')
            self.near(ours['patch_mean'], final[:, -patches:].mean(1), 'patch mean')
        return ours

    def compare_timm(self, model, state, expected_family, with_final=True, name='model.pth', **how):
        path = self.path(name)
        if name.endswith('.safetensors'):
            safetensors.torch.save_file(state, path)
        else:
            torch.save(state, path)
        theirs, final = block_outputs(model.blocks, lambda: model.forward_features(self.images))
        return self.compare(path, expected_family, theirs, final if with_final else None, **how)

    def published(self, name, *values, depth=DEPTH):
        """A file with exactly the names of a published one, values[i] in its entry i.

        values[i]: {tensor: value}, all of which has to be in the entry, as is or after a prefix. The rest of the entry,
        which is heads, decoders, mask tokens, is zeros.
        """
        entries = {}
        for (entry, tensors), unused in zip(published_keys(name, depth).items(), values, strict=True):
            unused = dict(unused)
            # The encoder's comes first, before a momentum encoder's.
            prefix = next(tensor for tensor in tensors if tensor.endswith('cls_token')).removesuffix('cls_token')
            state = entries[entry] = {}
            for tensor, (shape, dtype) in tensors.items():
                plain = re.sub(r'blocks\.\d+\.(\d+)\.', r'blocks.\1.', tensor)  # Without chunks.
                if plain.startswith(prefix) and plain.removeprefix(prefix) in unused:
                    state[tensor] = unused.pop(plain.removeprefix(prefix))
                    self.assertEqual(state[tensor].dim(), len(shape), f'{name}: {tensor}')
                    self.assertEqual(state[tensor].dtype, dtype, f'{name}: {tensor}')
                else:
                    state[tensor] = torch.zeros([min(n, WIDTH) for n in shape], dtype=dtype)
            self.assertEqual(list(unused), [], f'not in {name}')
        return entries.get('', entries)

    # Families.

    def test_timm(self):
        model = timm_model('vit_base_patch16_224')
        self.compare_timm(model, model.state_dict(), 'timm')
        self.compare_timm(model, {'state_dict': {'module.' + k: v for k, v in model.state_dict().items()}}, 'timm')

    def test_timm_dinov2_with_registers(self):
        model = timm_model('vit_small_patch14_reg4_dinov2')
        self.compare_timm(model, model.state_dict(), 'timm', name='model.safetensors', grid=SAID_GRID)

    def test_timm_swiglu(self):
        model = timm_model('vit_giant_patch14_reg4_dinov2')
        self.compare_timm(model, model.state_dict(), 'timm', grid=SAID_GRID)

    def test_timm_clip(self):
        model = timm_model('vit_base_patch16_clip_224')
        self.compare_timm(model, model.state_dict(), 'timm_open_clip', forced='timm_open_clip')

    def test_deit_distilled(self):
        model = timm_model('deit_base_distilled_patch16_224')
        self.compare_timm(model, {'model': model.state_dict()}, 'deit')

    def test_beit(self):
        # Pretraining has a table of all blocks and a final norm; finetuning has a table in each and a norm of the mean.
        pretrained = {'use_rel_pos_bias': False, 'use_shared_rel_pos_bias': True, 'global_pool': 'token'}
        for published, options in (('beit_vit_base', pretrained), ('beit_vit_base_finetuned', {}),
                                   ('beit2_vit_base', pretrained)):
            model = timm_model('beit_base_patch16_224', init_values=0.1, **options)
            ours = self.compare_timm(model, self.published(published, values_of(model)), 'beit',
                                     with_final=bool(options))
            # The relations are what the last block's softmax gets, its bias included.
            attention = model.blocks[-1].attn
            logits = []
            softmax = torch.Tensor.softmax
            attention.fused_attn = False
            try:
                torch.Tensor.softmax = lambda x, dim: (logits.append(x), softmax(x, dim))[1]
                with torch.no_grad():
                    model.forward_features(self.images)
            finally:
                torch.Tensor.softmax = softmax
            self.near(ours['relations'][:, 0, 0], logits[-1][:, :, 0, 1:], 'class row of the relations')
            rows = ours['idx'][:, 0] + 1
            for image in range(2):
                self.near(ours['relations'][image, 0, 1:], logits[-1][image][:, rows[image], 1:].transpose(0, 1),
                          'patch rows of the relations')

    def test_mae(self):
        model = timm_model('vit_base_patch16_224')
        self.compare_timm(model, self.published('mae_vit_base', values_of(model)), 'timm')
        full = self.published('mae_vit_base_full', values_of(model))
        self.compare_timm(model, full | {'epoch': 799, 'args': argparse.Namespace(lr=0.1)}, 'mae')

    def test_tec(self):
        model = timm_model('vit_base_patch16_224')
        state = {name: value.clone() for name, value in model.state_dict().items()}
        mlp = randomise(torch.nn.Sequential(torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.GELU(),
                                            torch.nn.Linear(4 * WIDTH, WIDTH)))
        for ours, theirs in (('fc1', mlp[0]), ('fc2', mlp[2])):
            state[f'cls_token_mlp.{ours}.weight'], state[f'cls_token_mlp.{ours}.bias'] = theirs.weight, theirs.bias
        state['encoder_adaptor.adap_before.weight'] = torch.zeros(WIDTH)
        # Exact where the position of [CLS] is zero, as in TEC.
        state['pos_embed'][:, 0] = 0
        with torch.no_grad():
            model.pos_embed.copy_(state['pos_embed'])
            model.cls_token.copy_(mlp(model.cls_token))
        self.compare_timm(model, {'model': {k: v.detach() for k, v in state.items()}}, 'tec')

    def test_student_and_teacher(self):
        student, teacher = timm_model('vit_small_patch16_224'), timm_model('vit_small_patch16_224')
        randomise(teacher, seed=9)
        for family in ('ibot', 'dino'):
            whole = self.published(family + '_vit_small', values_of(student), values_of(teacher))
            whole |= {'epoch': 3, 'args': argparse.Namespace(lr=np.float64(0.1))}
            self.compare_timm(student, whole, family)
            self.compare_timm(teacher, whole, family + '_teacher', forced=family + '_teacher')

    def test_backbones(self):
        # Without the student's masked_embed they are plain ViTs.
        model = timm_model('vit_small_patch16_224')
        for name, family in (('ibot_vit_small_student_backbone', 'ibot'), ('ibot_vit_small_teacher_backbone', 'timm'),
                             ('dino_vit_small_backbone', 'timm')):
            file = self.published(name, values_of(model))
            self.compare_timm(model, file, family)
            forced = name.split('_')[0]
            self.compare_timm(model, file, forced, forced=forced)

    def test_moco_v3(self):
        model = timm_model('vit_small_patch16_224')
        file = self.published('moco_v3_vit_small', values_of(model))
        self.compare_timm(model, {'epoch': 300, 'arch': 'vit_small'} | file, 'moco_v3')

    def test_dinov2(self):
        for name, published in (('vit_small_patch14_dinov2', 'dinov2_vits14'),
                                ('vit_small_patch14_reg4_dinov2', 'dinov2_vits14_reg4'),
                                ('vit_giant_patch14_dinov2', 'dinov2_vitg14')):
            model = timm_model(name)
            self.compare_timm(model, self.published(published, dinov2_values_of(model)), 'dinov2')
        # Six blocks a chunk.
        model = timm_model('vit_giant_patch14_dinov2', depth=8)
        self.compare_timm(model, self.published('dinov2_vitl14_teacher', dinov2_values_of(model), depth=8), 'dinov2')

    def hugging_face(self, model, inner, expected_family, layers, final=True, pixels=None, **how):
        randomise(model)
        for kind in ('one file', 'shards', 'pickle'):
            folder = tempfile.mkdtemp(dir=self.folder)
            model.save_pretrained(folder, max_shard_size='100KB' if kind == 'shards' else '5GB')
            if kind == 'pickle':
                # What transformers wrote before version 4.35, and version 5 writes no more.
                safe = os.path.join(folder, 'model.safetensors')
                torch.save(safetensors.torch.load_file(safe), os.path.join(folder, 'pytorch_model.bin'))
                os.remove(safe)
            theirs, result = block_outputs(layers(inner), lambda: inner(pixel_values=self.images, **(pixels or {})))
            self.compare(folder, expected_family, theirs, result.last_hidden_state if final else None, **how)

    def test_hugging_face_vit(self):
        model = transformers.ViTModel(config(transformers.ViTConfig))
        self.hugging_face(model, model, 'hf_vit', lambda m: m.layers)
        model = transformers.ViTForImageClassification(config(transformers.ViTConfig))
        self.hugging_face(model, model.vit, 'hf_vit', lambda m: m.layers)

    def test_hugging_face_dinov2(self):
        for kind, options in ((transformers.Dinov2Model, {}), (transformers.Dinov2Model, {'use_swiglu_ffn': True}),
                              (transformers.Dinov2WithRegistersModel, {})):
            model = kind(config(kind.config_class, **options))
            self.hugging_face(model, model, 'hf_dinov2', lambda m: m.encoder.layer)

    def pictures_of(self, size):
        self.images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))

    def test_interpolated_positions(self):
        for size in (48, 16):
            self.pictures_of(size)
            for kind in (transformers.Dinov2Model, transformers.Dinov2WithRegistersModel):
                model = kind(config(kind.config_class))
                self.hugging_face(model, model, 'hf_dinov2', lambda m: m.encoder.layer, size=size)
            model = transformers.ViTModel(config(transformers.ViTConfig))
            self.hugging_face(model, model, 'hf_vit', lambda m: m.layers, size=size, interpolate='1',
                              pixels={'interpolate_pos_encoding': True})

    def test_interpolated_positions_of_timm(self):
        for size in (48, 16):
            self.pictures_of(size)
            for name in ('vit_base_patch16_224', 'vit_small_patch14_reg4_dinov2'):
                model = timm_model(name, dynamic_img_size=True)
                self.compare_timm(model, model.state_dict(), 'timm', size=size, interpolate='1',
                                  grid=SAID_GRID if 'reg4' in name else '')

    def test_interpolated_positions_of_open_clip(self):
        for size in (48, 16):
            self.pictures_of(size)
            model = open_clip_model(quick=False)
            path = self.path('clip.pt')
            torch.save(model.state_dict(), path)
            larger = open_clip_model(quick=False, size=size)
            state = dict(model.state_dict())
            open_clip.model.resize_pos_embed(state, larger)
            larger.load_state_dict(state)
            theirs, _ = block_outputs(larger.visual.transformer.resblocks, lambda: larger.encode_image(self.images))
            self.compare(path, 'open_clip', theirs, forced='open_clip', size=size, interpolate='1')

    def test_interpolated_positions_of_published_files(self):
        for size in (48, 16):
            self.pictures_of(size)
            grid = size // PATCH
            plain = {'size': (grid, grid)}
            offset = {'scale_factor': ((grid + 0.1) / GRID,) * 2}
            # As the projects call interpolate: vision_transformer.py of iBOT and DINO, DINOv2's with the settings of
            # its hub, util/pos_embed.py of MAE. MoCo v3 does not, and gets the plain way.
            for published, family, name, ways in (
                    ('mae_vit_base_full', 'mae', 'vit_base_patch16_224', plain),
                    ('moco_v3_vit_small', 'moco_v3', 'vit_small_patch16_224', plain),
                    ('ibot_vit_small_student_backbone', 'ibot', 'vit_small_patch16_224', offset),
                    ('dino_vit_small_backbone', 'dino', 'vit_small_patch16_224', offset),
                    ('dinov2_vits14', 'dinov2', 'vit_small_patch14_dinov2', offset),
                    ('dinov2_vits14_reg4', 'dinov2', 'vit_small_patch14_reg4_dinov2', plain | {'antialias': True})):
                model = timm_model(name)
                values = model.state_dict()
                # Rows of patches; one of [CLS] may stand before them.
                cls, patches = values['pos_embed'].split([values['pos_embed'].shape[1] - GRID**2, GRID**2], dim=1)
                table = torch.nn.functional.interpolate(
                    patches.reshape(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2), mode='bicubic', **ways)
                table = table.permute(0, 2, 3, 1).reshape(1, grid * grid, WIDTH)
                larger = timm_model(name, img_size=size)
                larger.load_state_dict(values | {'pos_embed': torch.cat([cls, table], 1)})
                own = dinov2_values_of(model) if family == 'dinov2' else values_of(model)
                self.compare_timm(larger, self.published(published, own), family, forced=family, size=size,
                                  interpolate='0' if family == 'dinov2' else '1')

    def test_hugging_face_beit(self):
        for options in ({'use_relative_position_bias': True}, {'use_shared_relative_position_bias': True},
                        {'use_absolute_position_embeddings': True, 'use_mask_token': True}):
            model = transformers.BeitModel(config(transformers.BeitConfig, layer_scale_init_value=0.1, **options))
            self.hugging_face(model, model, 'hf_beit', lambda m: m.layers, final=False)

    def test_hugging_face_mae(self):
        model = randomise(transformers.ViTMAEForPreTraining(config(
            transformers.ViTMAEConfig, decoder_num_hidden_layers=1, decoder_hidden_size=32,
            decoder_num_attention_heads=2, decoder_intermediate_size=64, mask_ratio=0.0)))
        folder = tempfile.mkdtemp(dir=self.folder)
        model.save_pretrained(folder)
        # Without masking it still shuffles: undone by its ids.
        with torch.no_grad():
            result = model.vit(pixel_values=self.images, noise=torch.arange(GRID * GRID).float().repeat(2, 1))
        ours = self.ours(folder, 'hf_mae')
        self.near(ours['cls'], result.last_hidden_state[:, 0], 'cls')
        self.near(ours['patch_mean'], result.last_hidden_state[:, 1:].mean(1), 'patch mean')

    def test_hugging_face_clip(self):
        for activation, family in (('quick_gelu', 'hf_clip'), ('gelu', 'hf_open_clip')):
            clip = config(transformers.CLIPVisionConfig, hidden_act=activation)
            model = randomise(transformers.CLIPVisionModel(clip))
            folder = tempfile.mkdtemp(dir=self.folder)
            model.save_pretrained(folder)
            tower = getattr(model, 'vision_model', model)
            theirs, _ = block_outputs(tower.encoder.layers, lambda: model(pixel_values=self.images))
            self.compare(folder, family, theirs)

    def test_open_clip(self):
        for family, quick in (('clip', True), ('open_clip', False)):
            model = open_clip_model(quick)
            path = self.path('clip.pt')
            torch.save(model.state_dict(), path)
            theirs, _ = block_outputs(model.visual.transformer.resblocks, lambda: model.encode_image(self.images))
            self.compare(path, family, theirs, forced=family)
            result = subprocess.run([VIT_OUTPUTS, path, '', '4', '32', '0', path, self.path('no')], capture_output=True,
                                    text=True)
            self.assertEqual(result.returncode, 1)
            self.assertIn('--family=clip', result.stderr)

    # What we write.

    def test_training_state_loads_without_pickles_code(self):
        path = self.path('state.pth')
        self.run_program(VIT_OUTPUTS, 'training_state', path)
        state = torch.load(path, weights_only=True)
        self.assertEqual(list(state)[:5], ['model', 'optimizer', 'epoch', 'scaler', 'args'])
        weight = torch.nn.Parameter(torch.zeros(2, 3))
        optimizer = torch.optim.AdamW([weight])
        optimizer.load_state_dict(state['optimizer'])
        self.assertEqual(optimizer.param_groups[0]['lr'], 0.25)
        self.assertEqual(optimizer.state[weight]['step'].item(), 7)
        self.assertEqual(optimizer.state[weight]['exp_avg_sq'].sum().item(), 12)
        weight.grad = torch.ones(2, 3)
        optimizer.step()

    def small_run(self, program, output, config, *flags):
        """A run on pictures of noise; the file that it leaves, as the paper's scripts read it."""
        for split in ('train', 'val'):
            for label in ('a', 'b'):
                os.makedirs(self.path(f'pictures/{split}/{label}'), exist_ok=True)
                for i in range(4):
                    noise = np.random.default_rng([i, ord(label)]).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                    Image.fromarray(noise).save(self.path(f'pictures/{split}/{label}/{i}.png'))
        with open(self.path('config.textproto'), 'w') as file:
            file.write(config)
        self.run_program(program, '--config', self.path('config.textproto'), '--data_path', self.path('pictures'),
                         '--output_dir', self.path(output), '--device=cpu', '--threads=1', '--num_workers=1',
                         '--batch_size=4', '--accum_iter=1', '--epochs=1', '--warmup_epochs=0', '--blr=0.1',
                         '--noreport', *flags)
        return torch.load(self.path(output + '/checkpoint-0.pth'), weights_only=True)

    def goes_on(self, state, groups, updates, betas=(0.9, 0.999)):
        """What the paper's scripts do at a resume: load the optimiser and the scaler, always, and train on.

        groups: the scripts' parameter groups as lists of names.
        """
        self.assertEqual(list(state)[:5], ['model', 'optimizer', 'epoch', 'scaler', 'args'])
        self.assertEqual(state['epoch'], 0)
        self.assertIsInstance(state['args']['blr'], float)
        parameters = {name: torch.nn.Parameter(state['model'][name].clone()) for group in groups for name in group}
        optimizer = torch.optim.AdamW([{'params': [parameters[name] for name in group]} for group in groups], lr=1)
        optimizer.load_state_dict(state['optimizer'])
        for group in optimizer.param_groups:
            self.assertEqual(group['betas'], betas)
            self.assertLess(group['lr'], 1)
        for name, parameter in parameters.items():
            moments = optimizer.state[parameter]
            self.assertEqual(moments['exp_avg'].shape, parameter.shape, name)
            self.assertEqual(moments['exp_avg_sq'].shape, parameter.shape, name)
            self.assertEqual(moments['step'].item(), updates, name)
            parameter.grad = torch.ones_like(parameter)
        # On a GPU it is enabled, and then an empty state is an error.
        scaler = torch.amp.GradScaler('cpu', enabled=True)
        scaler.load_state_dict(state['scaler'])
        self.assertEqual(scaler.state_dict(), torch.amp.GradScaler('cpu', enabled=True).state_dict())
        scaler.scale(torch.ones(()))
        scaler.step(optimizer)
        scaler.update()
        for name, parameter in parameters.items():
            self.assertEqual(optimizer.state[parameter]['step'].item(), updates + 1, name)
            self.assertFalse(torch.equal(parameter, state['model'][name]), name)

    def test_the_papers_scripts_go_on_with_our_runs(self):
        vit = f'image_size: {SIZE} patch_size: {PATCH} width: {WIDTH} depth: {DEPTH} heads: {HEADS}'
        decoder = 'decoder { width: 32 depth: 1 heads: 4 }'
        base = randomise(timm.create_model('vit_base_patch16_224', embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
                                           patch_size=PATCH, img_size=SIZE, num_classes=0))
        torch.save(base.state_dict(), self.path('base.pth'))
        experiment = (f'method: TEC model {{ name: "custom" encoder {{ {vit} }} {decoder} mlp_token: true '
                      f'pred_att: true }} base_model {{ name: "custom" encoder {{ {vit} }} last_layers: 2 '
                      'topkatt: 5 }')
        for precision in ('float32', 'bfloat16'):
            state = self.small_run(PRETRAIN, precision, experiment, '--base_model', self.path('base.pth'),
                                   f'--precision={precision}')
            # timm's add_weight_decay over named_parameters(), which state_dict() has in the same order: without decay
            # what has one axis and the biases. The position tables are frozen.
            names = [name for name in state['model'] if name not in ('pos_embed', 'decoder_pos_embed')]
            plain = [name for name in names if state['model'][name].dim() == 1 or name.endswith('.bias')]
            self.goes_on(state, [plain, [name for name in names if name not in plain]], updates=2, betas=(0.9, 0.95))

        settings = f'model: "custom" encoder {{ {vit} }} mlp_token: true'
        state = self.small_run(FINETUNE, 'finetuned', settings, '--finetune', self.path('float32/checkpoint-0.pth'),
                               '--precision=float32', '--layer_decay=0.5', '--mixup=0', '--cutmix=0')
        # MAE's param_groups_lrd: a group for each layer, with and without decay, by their first parameters.
        groups = {}
        for name, value in state['model'].items():
            if name == 'pos_embed':
                continue
            layer = DEPTH + 1
            if name == 'cls_token':
                layer = -1
            elif name.startswith('patch_embed'):
                layer = 0
            elif name.startswith('blocks'):
                layer = int(name.split('.')[1]) + 1
            groups.setdefault((layer, value.dim() == 1 or name == 'cls_token'), []).append(name)
        self.goes_on(state, list(groups.values()), updates=2)
        for (layer, _), group in zip(groups, state['optimizer']['param_groups'], strict=True):
            self.assertEqual(group['lr_scale'], 1 if layer < 0 else 0.5 ** (DEPTH + 1 - layer))

    def pretrained(self):
        """A TEC checkpoint, and a timm model of the same function."""
        model = timm_model('vit_base_patch16_224', num_classes=0)
        with torch.no_grad():
            model.pos_embed[:, 0] = 0
        state = dict(model.state_dict()) | {'encoder_adaptor.adap_before.weight': torch.zeros(WIDTH),
                                            'mask_token': torch.zeros(1, 1, 8)}
        path = self.path('pretrained.pth')
        torch.save({'model': state, 'epoch': 1, 'args': argparse.Namespace(lr=0.1)}, path)
        return model, path

    def test_timm_loads_what_we_convert(self):
        model, path = self.pretrained()
        with torch.no_grad():
            expected = model.forward_features(self.images)
        for to, name in (('timm', 'a.safetensors'), ('timm', 'a.pth'), ('mae', 'b.pth')):
            self.run_program(CONVERT, f'--resume={path}', '--to', to, '--output_dir', self.folder, '--ckptname', name)
            if name.endswith('.safetensors'):
                state = safetensors.torch.load_file(self.path(name))
            else:
                state = torch.load(self.path(name), weights_only=True)
            fresh = timm_model('vit_base_patch16_224', num_classes=0)
            fresh.load_state_dict(state['model'] if to == 'mae' else state, strict=True)
            with torch.no_grad():
                self.near(fresh.forward_features(self.images), expected, name)
        self.near(self.ours(self.path('a.pth'), 'timm')['cls'], expected[:, 0], 'ours')

    def test_transformers_load_what_we_convert(self):
        model, path = self.pretrained()
        folder = self.path('hf')
        self.run_program(CONVERT, '--resume', path, '--to=hf', '--output_dir', folder, f'--heads={HEADS}')
        loaded, report = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False,
                                                               output_loading_info=True)
        for key in ('missing_keys', 'unexpected_keys', 'mismatched_keys'):
            self.assertEqual(list(report[key]), [], key)
        with torch.no_grad():
            theirs = loaded.eval()(pixel_values=self.images).last_hidden_state
            self.near(theirs, model.forward_features(self.images), 'hf')

    def finetuned(self, *flags):
        """A checkpoint of a small finetuned classifier, and what it says of pictures that are no squares."""
        vit = f'image_size: {SIZE} patch_size: {PATCH} width: {WIDTH} depth: {DEPTH} heads: {HEADS}'
        base = timm_model('vit_base_patch16_224', num_classes=0)
        torch.save(base.state_dict(), self.path('base.pth'))
        # Another mean than anybody's default.
        settings = (f'model: "custom" encoder {{ {vit} }} data {{ mean: [0.4, 0.5, 0.6] std: [0.2, 0.25, 0.3] }}')
        self.small_run(FINETUNE, 'finetuned', settings, '--finetune', self.path('base.pth'), '--precision=float32',
                       *flags)
        # Two updates leave the head near zero, where all pictures look alike.
        checkpoint, predictions = self.path('finetuned/best_checkpoint.pth'), self.path('predictions.jsonl')
        state = torch.load(checkpoint, weights_only=True)
        state['model']['head.weight'].normal_(std=0.2, generator=torch.Generator().manual_seed(3))
        state['model']['head.bias'].zero_()
        torch.save(state, checkpoint)
        pictures = {}
        os.makedirs(self.path('new'))
        # What is cut off is even: of an odd rest transformers leaves the larger half below, the others above.
        for i, shape in enumerate(((55, 41, 3), (33, 70, 3), (SIZE, SIZE, 3))):
            coarse = np.random.default_rng(i).integers(0, 256, (5, 7, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize(shape[1::-1], Image.Resampling.BILINEAR)
            picture.save(self.path(f'new/{i}.png'))
            pictures[f'{i}.png'] = picture
        self.run_program(PREDICT, '--checkpoint', checkpoint, '--data_path', self.path('new'), '--output', predictions,
                         '--top=2', '--device=cpu', '--threads=1', '--num_workers=1')
        said = {}
        with open(predictions) as file:
            for line in map(json.loads, file):
                said[line['image']] = {one['class']: one['probability'] for one in line['top']}
        self.assertEqual(list(said), list(pictures))
        for probabilities in said.values():
            self.assertEqual(set(probabilities), {'a', 'b'})
        # Of pictures that are all alike nothing could be told.
        odds = [p['a'] / p['b'] for p in said.values()]
        self.assertGreater(max(odds) / min(odds), 1.1)
        return checkpoint, pictures, said

    def says(self, logits, expected, names, what):
        probabilities = torch.softmax(logits.float().flatten(), 0)
        for i, name in enumerate(names):
            self.assertAlmostEqual(probabilities[i].item(), expected[name], delta=TOLERANCE, msg=f'{what}: {name}')

    def leaves(self, model_class, *flags):
        checkpoint, pictures, said = self.finetuned(*flags)

        folder = self.path('timm')
        self.run_program(CONVERT, '--resume', checkpoint, '--to=timm', '--output_dir', folder)
        model = timm.create_model('local-dir:' + folder, pretrained=True).eval()
        self.assertEqual(list(model.pretrained_cfg['label_names']), ['a', 'b'])
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        with torch.no_grad():
            for name, picture in pictures.items():
                self.says(model(transform(picture)[None]), said[name], 'ab', f'timm: {name}')
        with open(os.path.join(folder, 'README.md')) as file:
            card = file.read()
        for part in ('8 training images, 2 classes: a, b', 'Highest top-1', 'blr: 0.1', '0.4, 0.5, 0.6'):
            self.assertIn(part, card)
        # The encoder alone, for features.
        if '--cls_token' in flags:
            self.run_program(CONVERT, '--resume', checkpoint, '--to=timm', '--nohead', '--output_dir', folder)
            self.assertEqual(timm.create_model('local-dir:' + folder, pretrained=True).num_classes, 0)

        folder = self.path('hf')
        self.run_program(CONVERT, '--resume', checkpoint, '--to=hf', '--output_dir', folder)
        loaded, report = getattr(transformers, model_class).from_pretrained(folder, output_loading_info=True)
        for key in ('missing_keys', 'unexpected_keys', 'mismatched_keys'):
            self.assertEqual(list(report[key]), [], key)
        self.assertEqual(loaded.config.id2label, {0: 'a', 1: 'b'})
        # Pillow's resizing, as ours.
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend='pil')
        classify = transformers.pipeline('image-classification', model=folder, image_processor=processor)
        self.assertEqual(type(classify.model).__name__, model_class)
        for name, picture in pictures.items():
            answers = {one['label']: one['score'] for one in classify(picture)}
            for label, probability in said[name].items():
                self.assertAlmostEqual(answers[label], probability, delta=TOLERANCE, msg=f'hf: {name}: {label}')

        exported = self.path('finetuned.onnx')
        self.run_program(EXPORT, '--format=onnx', '--resume', checkpoint, f'--output={exported}')
        onnx.checker.check_model(onnx.load(exported), full_check=True)
        session = onnxruntime.InferenceSession(exported, providers=['CPUExecutionProvider'])
        how = session.get_modelmeta().custom_metadata_map
        size, short = int(how['image_size']), int(how['resize_short_side'])
        mean, std = (np.array(how[name].split(','), np.float32) for name in ('mean', 'std'))
        for name, picture in pictures.items():
            width, height = picture.size
            larger = (short, int(short * height / width)) if width < height else (int(short * width / height), short)
            resized = picture.resize(larger, Image.Resampling.BICUBIC)
            left, top = round((larger[0] - size) / 2), round((larger[1] - size) / 2)
            values = np.asarray(resized.crop((left, top, left + size, top + size)), np.float32) / 255
            images = ((values - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
            logits = session.run(['logits'], {'images': images})[0]
            self.says(torch.from_numpy(logits), said[name], json.loads(how['class_names']), f'onnx: {name}')

    def test_a_classifier_by_the_mean_leaves(self):
        self.leaves('BeitForImageClassification')

    def test_a_classifier_by_the_token_leaves(self):
        self.leaves('ViTForImageClassification', '--cls_token')

    def test_an_encoder_leaves(self):
        model, path = self.pretrained()
        folder = self.path('timm')
        report = self.run_program(CONVERT, '--resume', path, '--to=timm', '--output_dir', folder, f'--heads={HEADS}')
        self.assertIn('assumed', report)
        loaded = timm.create_model('local-dir:' + folder, pretrained=True).eval()
        with torch.no_grad():
            self.near(loaded.forward_features(self.images), model.forward_features(self.images), 'timm')
        self.assertEqual(loaded.num_classes, 0)
        folder = self.path('hf')
        self.run_program(CONVERT, '--resume', path, '--to=hf', '--output_dir', folder, f'--heads={HEADS}')
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
        pixels = processor(Image.new('RGB', (50, 41), (124, 116, 104)), return_tensors='pt').pixel_values
        self.assertEqual(list(pixels.shape), [1, 3, SIZE, SIZE])
        self.assertLess(pixels.abs().max().item(), 0.02)  # ImageNet's mean, to half a level.

    def test_tec_in_python(self):
        with zipfile.ZipFile(glob.glob('tec_pretrain-*.whl')[0]) as wheel:
            wheel.extractall(self.path('packages'))
        for program in glob.glob(self.path('packages/tec/bin/*/tec')):
            os.chmod(program, 0o755)  # As pip does, unlike zipfile.
        sys.path.insert(0, self.path('packages'))
        self.addCleanup(sys.path.remove, self.path('packages'))
        tec = importlib.import_module('tec')
        model, path = self.pretrained()
        self.assertEqual(tec.run(['inspect', path]), 0)
        self.assertEqual(tec.run(['no-such-program'], check=False), 1)
        with self.assertRaises(subprocess.CalledProcessError):
            tec.run(['inspect', self.path('no such file')])
        encoder = tec.load_encoder(path, heads=HEADS)
        with torch.no_grad():
            self.near(encoder.forward_features(self.images), model.forward_features(self.images), 'load_encoder')
        # What the run was trained with, not anybody's default.
        checkpoint, _, _ = self.finetuned('--cls_token')
        encoder = tec.load_encoder(checkpoint)
        self.assertEqual(encoder.num_classes, 0)
        self.assertFalse(encoder.training)
        self.assertEqual(list(encoder.pretrained_cfg['mean']), [0.4, 0.5, 0.6])
        self.assertEqual(list(encoder.pretrained_cfg['std']), [0.2, 0.25, 0.3])

    def test_half_precision(self):
        model, path = self.pretrained()
        for dtype in ('float16', 'bfloat16'):
            self.run_program(CONVERT, f'--resume={path}', '--to=timm', f'--dtype={dtype}', '--output_dir', self.folder,
                             '--ckptname=half.safetensors')
            half = safetensors.torch.load_file(self.path('half.safetensors'))
            for name, value in model.state_dict().items():
                self.assertTrue(torch.equal(half[name], value.to(getattr(torch, dtype))), name)

    def test_weight_convert_as_the_reference(self):
        goldens = 'tec/testing/goldens/weight_convert/'
        self.run_program(CONVERT, '--model', 'vit_base_patch16', '--help')
        self.run_program(CONVERT, '--mlp_token', '--resume', goldens + 'pretrain.pth', '--output_dir', self.folder)
        ours = torch.load(self.path('tec_checkpoint.pth'), weights_only=True)
        theirs = torch.load(goldens + 'converted.pth', weights_only=True)
        self.assertEqual(list(ours), list(theirs))
        for name in theirs:
            limit = 1e-6 if name == 'cls_token' else 0
            self.assertLessEqual((ours[name] - theirs[name]).abs().max().item(), limit, name)

    def test_onnx(self):
        # 'vit_converted': what weight_convert writes, without final norm, as BEiT's files are.
        for name, family in (('vit_base_patch16_224', ''), ('vit_converted', ''), ('vit_giant_patch14_reg4_dinov2', ''),
                             ('beit_base_patch16_224', ''), ('deit_base_distilled_patch16_224', ''), ('clip', 'clip')):
            if name == 'clip':
                model = open_clip_model(quick=True)
            else:
                model = timm_model(name.replace('converted', 'base_patch16_224'))
            path, exported = self.path(name + '.pth'), self.path(name + '.onnx')
            state = model.state_dict()
            if name == 'vit_converted':
                state = {k: v for k, v in state.items() if not k.startswith('norm.')}
            torch.save(state, path)
            self.run_program(EXPORT, '--format=onnx', '--resume', path, f'--output={exported}', f'--heads={HEADS}',
                             f'--base_model_family={family}', *([f'--grid={SAID_GRID}'] if 'reg4' in name else []))
            proto = onnx.load(exported)
            onnx.checker.check_model(proto, full_check=True)
            self.assertEqual(proto.opset_import[0].version, 17)
            session = onnxruntime.InferenceSession(exported, providers=['CPUExecutionProvider'])
            expected = {'vit': 'timm', 'beit': 'beit', 'deit': 'deit', 'clip': 'clip'}[name.split('_')[0]]
            ours = self.ours(path, expected, forced=family, grid=SAID_GRID if 'reg4' in name else '')
            for count in (2, 1):
                cls, patch_mean = session.run(['cls', 'patch_mean'], {'images': self.images[:count].numpy()})
                self.near(torch.from_numpy(cls), ours['cls'][:count], name)
                self.near(torch.from_numpy(patch_mean), ours['patch_mean'][:count], name)


if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    unittest.main(verbosity=2)
