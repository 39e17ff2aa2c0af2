"""Files that were once understood wrongly, or refused without reason, through the programs that users have: each gives
the features of the original's own code, or the message that says what is the matter. (The same kinds, in many more
forms and by one program: weight_kinds_test.py.)
"""

import glob
import gzip
import json
import os
import subprocess
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import timm
import torch
import transformers
from PIL import Image
from vit_sweep import TOLERANCE, shake, timm_features

CONVERT = 'tools/convert/convert'
EXPORT = 'tools/export/export'
FINETUNE = 'eval/finetune/finetune'
INSPECT = 'tools/weights/inspect'
KNN = 'eval/knn/knn'
LINEAR = 'eval/linear/linear'
LOGISTIC = 'eval/logistic/logistic'
PRETRAIN = 'tec/pretrain'

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTH, DEPTH, HEADS, PATCH, SIZE = 64, 2, 4, 16, 64
VIT = f'image_size: {SIZE} patch_size: {PATCH} width: {WIDTH} depth: {DEPTH} heads: {HEADS}'
EXPERIMENT = (f'method: TEC model {{ name: "custom" encoder {{ {VIT} }} decoder {{ width: 32 depth: 1 heads: 2 }} }} '
              f'base_model {{ name: "custom" encoder {{ {VIT} }} last_layers: 1 topkatt: 5 }}')


def plain(name='vit_base_patch16_224', **options):
    return shake(timm.create_model(name, **(dict(img_size=SIZE, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
                                                num_classes=0) | options)))


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def clip_state():
    """OpenAI's names, with "visual." before them."""
    def random(*shape):
        return 0.1 * torch.randn(shape, generator=generator)
    generator = torch.Generator().manual_seed(0)
    state = {'class_embedding': random(WIDTH), 'positional_embedding': random(17, WIDTH),
             'conv1.weight': random(WIDTH, 3, PATCH, PATCH), 'proj': random(WIDTH, 32)}
    for name in ('ln_pre', 'ln_post'):
        state[name + '.weight'], state[name + '.bias'] = 1 + random(WIDTH), random(WIDTH)
    for block in range(DEPTH):
        start = f'transformer.resblocks.{block}.'
        for name in ('ln_1', 'ln_2'):
            state[start + name + '.weight'], state[start + name + '.bias'] = 1 + random(WIDTH), random(WIDTH)
        for name, rows, columns in (('attn.in_proj_', 3 * WIDTH, WIDTH), ('attn.out_proj.', WIDTH, WIDTH),
                                    ('mlp.c_fc.', 4 * WIDTH, WIDTH), ('mlp.c_proj.', WIDTH, 4 * WIDTH)):
            state[start + name + 'weight'], state[start + name + 'bias'] = random(rows, columns), random(rows)
    return under('visual.', state)


class WeightCasesTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, name, root):
        torch.save(root, self.path(name))
        return self.path(name)

    def pictures(self, size=SIZE):
        """Two classes of two pictures to train with and one held out, of exactly the model's size. The training ones as
        evaluators see them."""
        random, seen = np.random.default_rng(0), []
        for split, count in (('train', 2), ('val', 1)):
            for label in 'ab':
                os.makedirs(self.path(f'pictures/{split}/{label}'), exist_ok=True)
                for i in range(count):
                    pixels = random.integers(0, 256, (size, size, 3)).astype(np.uint8)
                    Image.fromarray(pixels).save(self.path(f'pictures/{split}/{label}/{i}.png'))
                    seen += [torch.from_numpy(pixels).permute(2, 0, 1).float() / 255] if split == 'train' else []
        images = torch.stack(seen)
        return (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)

    def run_program(self, *command):
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, f'{command}\n{result.stdout}{result.stderr}')
        return result.stdout + result.stderr

    def refused(self, message, *command):
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(result.returncode, 1, f'{command}\n{result.stdout}{result.stderr}')
        self.assertRegex(result.stdout + result.stderr, message)

    def knn(self, path, *flags):
        return (KNN, '--checkpoint', path, f'--data_path={self.path("pictures")}', '--device=cpu', '--k=1', *flags)

    def features(self, path, *flags):
        """[CLS] and the mean of the patches of the training pictures, as kNN stores them."""
        output = self.path('out')
        subprocess.run(['rm', '-rf', output], check=True)
        self.run_program(*self.knn(path, '--features=cls+pool', f'--output_dir={output}', *flags))
        stored = [value for file in glob.glob(output + '/features/*/*.safetensors')
                  for value in safetensors.torch.load_file(file).values() if value.dim() == 2 and value.shape[0] == 4]
        self.assertEqual(len(stored), 1)
        width = stored[0].shape[1] // 2
        return stored[0][:, :width], stored[0][:, width:]

    def equal(self, path, model, images, *flags):
        for ours, theirs in zip(self.features(path, *flags), timm_features(model)(images), strict=True):
            self.assertLessEqual((ours - theirs).abs().max().item(), TOLERANCE)
            self.assertGreater(theirs.abs().max().item(), 0.1)

    def test_01_heads_of_moco_v3(self):
        images = self.pictures()
        model = plain(embed_dim=384, num_heads=12)
        state = {**under('module.base_encoder.', model.state_dict()),
                 **under('module.momentum_encoder.', model.state_dict()),
                 'module.base_encoder.head.0.weight': torch.zeros(4, 384),
                 'module.predictor.0.weight': torch.zeros(4, 4)}
        path = self.save('moco.pth', {'epoch': 300, 'arch': 'vit_small', 'state_dict': state, 'optimizer': {}})
        self.equal(path, model, images)
        self.run_program(CONVERT, '--checkpoint', path, '--to=hf', '--output_dir', self.path('hf'))
        with open(self.path('hf/config.json')) as file:
            self.assertEqual(json.load(file)['num_attention_heads'], 12)
        self.run_program(EXPORT, '--checkpoint', path, f'--output={self.path("moco.onnx")}')
        session = onnxruntime.InferenceSession(self.path('moco.onnx'), providers=['CPUExecutionProvider'])
        cls = torch.from_numpy(session.run(['cls'], {'images': images.numpy()})[0])
        self.assertLessEqual((cls - timm_features(model)(images)[0]).abs().max().item(), TOLERANCE)

    def test_02_a_table_for_14_x_16(self):
        self.pictures(240)
        path = self.save('wide.pth', plain(img_size=(224, 256)).state_dict())
        with open(self.path('tec.textproto'), 'w') as file:
            file.write(EXPERIMENT)
        pretrain = (PRETRAIN, '--config', self.path('tec.textproto'), '--base_model', path,
                    f'--data_path={self.path("pictures")}', '--device=cpu', '--batch_size=4', '--noreport',
                    f'--output_dir={self.path("run")}')
        asks = '225 rows, which may be 15x15 .*14x16.*--(base_model_)?grid=15x15'
        self.assertIn('no base model', self.run_program(INSPECT, path))
        self.refused(asks, EXPORT, '--checkpoint', path, '--heads=4')
        self.refused(asks, *self.knn(path, '--heads=4'))
        self.refused(asks, *pretrain)
        self.refused('14 x 16 patches .*only square', EXPORT, '--checkpoint', path, '--heads=4', '--grid=14x16')
        self.refused('14 x 16 patches .*only square', *pretrain, '--base_model_grid=14x16')

    def test_03_rotary_positions(self):
        images = self.pictures(224)
        model = plain('eva02_small_patch14_224', img_size=224)
        path = self.save('eva02.pth', model.state_dict())
        self.refused('say --family=eva .*--family=eva02', *self.knn(path, '--heads=4'))
        self.refused('say --family=eva .*--family=eva02', EXPORT, '--checkpoint', path, '--heads=4')
        self.equal(path, model, images, '--heads=4', '--family=eva02')

    def test_04_quick_gelu(self):
        images = self.pictures()
        model = plain('vit_base_patch16_clip_quickgelu_224')
        os.makedirs(self.path('hub'))
        safetensors.torch.save_file(model.state_dict(), self.path('hub/model.safetensors'), metadata={'format': 'pt'})
        self.refused('--family=timm_clip', *self.knn(self.path('hub'), '--heads=4'))
        with open(self.path('hub/config.json'), 'w') as file:
            json.dump({'architecture': 'vit_base_patch16_clip_quickgelu_224', 'num_features': WIDTH,
                       'model_args': {'embed_dim': WIDTH, 'depth': DEPTH, 'num_heads': HEADS, 'img_size': SIZE},
                       'pretrained_cfg': {'mean': [0.481, 0.458, 0.408], 'std': [0.269, 0.261, 0.276]}}, file)
        # The evaluators' default is ImageNet's mean whatever the file has; where the file goes, so does its own.
        self.equal(self.path('hub'), model, images)
        said = self.run_program(EXPORT, '--checkpoint', self.path('hub'), f'--output={self.path("clip.onnx")}')
        self.assertIn('normalisation: mean 0.481,0.458,0.408, deviation 0.269,0.261,0.276', said)
        how = {entry.key: entry.value for entry in onnx.load(self.path('clip.onnx')).metadata_props}
        self.assertEqual((how['mean'], how['std']), ('0.481,0.458,0.408', '0.269,0.261,0.276'))

    def test_05_every_program_takes_the_family(self):
        self.pictures()
        path = self.save('clip.pth', clip_state())
        data, out = f'--data_path={self.path("pictures")}', f'--output_dir={self.path("run")}'
        programs = (self.knn(path, '--heads=4'),
                    (LINEAR, '--checkpoint', path, '--heads=4', data, '--device=cpu', '--epochs=1', '--batch_size=2',
                     '--noreport', out),
                    (LOGISTIC, '--checkpoint', path, '--heads=4', data, '--device=cpu'),
                    (FINETUNE, '--finetune', path, '--heads=4', data, '--device=cpu', '--epochs=1', '--batch_size=4',
                     f'--input_size={SIZE}', '--noreport', '--output_dir=' + self.path('finetuned')),
                    (EXPORT, '--checkpoint', path, '--heads=4', f'--output={self.path("clip.onnx")}'))
        for program in programs:
            self.refused('say --family=clip .*--family=open_clip', *program)
            self.assertNotIn('--family', self.run_program(*program, '--family=clip'), program[0])

    def test_06_to_09_names_and_entries(self):
        tower = clip_state()
        text = {'text.positional_embedding': torch.zeros(8, 16), 'text.text_projection': torch.zeros(16, 32),
                'text.transformer.resblocks.0.ln_1.weight': torch.ones(16), 'logit_scale': torch.tensor(1.0)}
        model = plain()
        state = model.state_dict()
        decoder = {'mask_token': torch.zeros(1, 1, 32), 'decoder_embed.weight': torch.zeros(32, WIDTH),
                   'decoder_pred.bias': torch.zeros(768)}
        config = transformers.BeitConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                                         intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH, vocab_size=32,
                                         use_shared_relative_position_bias=True, use_mask_token=True,
                                         layer_scale_init_value=0.1)
        shake(transformers.BeitForMaskedImageModeling(config)).save_pretrained(self.path('beit'))
        told = ('--family=open_clip', '--heads=4')
        for path, flags, family in (
                (self.save('custom_text.pth', tower | text), told, 'open_clip'),
                (self.save('bias.pt', {'epoch': 1, 'name': 'x', 'state_dict': under('module.', tower | {
                    'logit_bias': torch.tensor(-10.0), **text})}), told, 'open_clip'),
                (self.path('beit'), (), 'hf_beit'),
                (self.save('mae_ddp.pth', {'model': under('module.', state | decoder)}), ('--heads=4',), 'mae'),
                (self.save('mae_compiled.pth', {'model': under('_orig_mod.', state | decoder)}), ('--heads=4',), 'mae'),
                (self.save('both.pth', {'state_dict': under('_orig_mod.module.', state)}), ('--heads=4',), 'timm'),
                (self.save('lightning.pth', {'state_dict': under('model.', state)}), ('--heads=4',), 'timm'),
                (self.save('training.pth', {'model': under('student.backbone.', state) |
                                            under('teacher.backbone.', state) |
                                            {'student.dino_head.mlp.0.weight': torch.zeros(4, 4)}}),
                 ('--heads=4', '--entry=teacher'), 'timm'),
                (self.save('msn.pth', {'target_encoder': under('module.', state) |
                                       {'module.fc.fc1.weight': torch.zeros(4, WIDTH)},
                                       'prototypes': torch.zeros(4, 4)}), ('--heads=4',), 'timm'),
                (self.save('name.pth', {'model': 'vit_base_patch16', 'state_dict': state}), ('--heads=4',), 'timm'),
                (self.save('model_state_dict.pth', {'model_state_dict': state, 'epoch': 3}), ('--heads=4',), 'timm')):
            with self.subTest(path):
                said = self.run_program(EXPORT, '--checkpoint', path, f'--output={self.path("out.onnx")}', *flags)
                self.assertIn(f'family {family}: ', said)
                self.assertRegex(self.run_program(INSPECT, path, *flags),
                                 f'base model: (entry \\w+, )?family {family}: ')
        self.refused('say --entry=student or --entry=teacher', EXPORT, '--checkpoint', self.path('training.pth'))
        self.refused('known family .* common prefix "visual.trunk."', EXPORT, '--checkpoint',
                     self.save('trunk.pth', {'visual.trunk.cls_token': torch.zeros(1, 1, WIDTH)}))

    def test_10_11_other_widths_and_registers(self):
        images = self.pictures()
        for name, options in (('narrow', dict(mlp_ratio=2.0)), ('registers', dict(reg_tokens=4))):
            model = plain(**options)
            self.equal(self.save(name + '.pth', model.state_dict()), model, images, '--heads=4')

    def test_12_distilled(self):
        config = transformers.DeiTConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                                         intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH, num_labels=3)
        shake(transformers.DeiTForImageClassificationWithTeacher(config)).save_pretrained(self.path('deit'))
        self.assertIn('base model: family hf_deit', self.run_program(INSPECT, self.path('deit')))

    def test_13_the_config_of_another_model(self):
        self.pictures()
        config = transformers.ViTConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                                        intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH)
        model = shake(transformers.ViTModel(config, add_pooling_layer=False))
        path = self.path('weights.pth.safetensors')
        safetensors.torch.save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
        with open(self.path('config.json'), 'w') as file:
            json.dump({'model_type': 'clip_vision_model', 'hidden_size': 1024, 'num_hidden_layers': 24,
                       'num_attention_heads': 16, 'patch_size': 14, 'image_size': 224, 'hidden_act': 'quick_gelu'},
                      file)
        message = r'config\.json is of model_type "clip_vision_model"\. Move it away'
        self.assertRegex(self.run_program(INSPECT, path), message)
        self.refused(message, *self.knn(path, '--heads=4'))
        self.refused(message, EXPORT, '--checkpoint', path, '--heads=4')

    def test_14_what_is_no_weights(self):
        pointer = b'version https://git-lfs.github.com/spec/v1\noid sha256:' + b'4d' * 32 + b'\nsize 343279349\n'
        contents = {'a git-lfs pointer, not the file itself: fetch it with git lfs pull': pointer,
                    'perhaps a web page': b'<!DOCTYPE html><html><head><title>Sign in</title></head></html>',
                    'a gzip file': gzip.compress(b'x' * 5000), 'is empty|0 bytes': b'',
                    'a NumPy array': b'\x93NUMPY\x01\x00' + b' ' * 100,
                    'an HDF5 file': b'\x89HDF\r\n\x1a\n' + b'\0' * 64,
                    'a GGUF file': b'GGUF\x03' + b'\0' * 64, 'a JSON text': b'{"error": "not found"}'}
        for message, content in contents.items():
            for name in ('weights.safetensors', 'weights.pth', 'weights.bin', 'hub/model.safetensors',
                         'openclip/open_clip_model.safetensors', 'bin/pytorch_model.bin'):
                with self.subTest(f'{name}: {message}'):
                    os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
                    with open(self.path(name), 'wb') as file:
                        file.write(content)
                    self.refused(message, INSPECT, self.path(name))
                    if '/' in name:
                        self.refused(message, INSPECT, os.path.dirname(self.path(name)))
        os.makedirs(self.path('unzipped/archive/data'))
        with open(self.path('unzipped/archive/data.pkl'), 'wb') as file:
            file.write(b'\x80\x02}q\x00.')
        self.refused('an unpacked .pth: .*zip', INSPECT, self.path('unzipped'))
        os.makedirs(self.path('empty'))
        self.refused('model.safetensors.*it has nothing', INSPECT, self.path('empty'))
        self.refused('curl -L -o FILE "https://example.org/vit.pth"', INSPECT, 'https://example.org/vit.pth')
        self.refused('hf download facebook/dinov3-vits16', INSPECT, 'facebook/dinov3-vits16')

    def test_15_values_that_are_not_finite(self):
        self.pictures()
        with open(self.path('tec.textproto'), 'w') as file:
            file.write(EXPERIMENT)
        data, out = f'--data_path={self.path("pictures")}', f'--output_dir={self.path("run")}'
        for name, value in (('blocks.1.mlp.fc2.weight', float('inf')), ('pos_embed', float('nan')),
                            ('norm.bias', float('-inf')), ('patch_embed.proj.weight', float('nan'))):
            for dtype in (torch.float16, torch.bfloat16, torch.float32):
                state = {key: tensor.to(dtype) for key, tensor in plain().state_dict().items()}
                state[name].view(-1)[5] = value
                path = self.save('broken.pth', {'model': state})
                message = rf'{name} has 1 of \d+ values that are not finite, the first -?(inf|nan)'
                self.refused(message, EXPORT, '--checkpoint', path, '--heads=4')
        for command in ((PRETRAIN, '--config', self.path('tec.textproto'), '--base_model', path, data, '--device=cpu',
                         '--batch_size=4', out),
                        (FINETUNE, '--finetune', path, '--heads=4', data, '--device=cpu', out),
                        self.knn(path, '--heads=4'), (CONVERT, '--checkpoint', path, '--output_dir', self.path('run')),
                        (CONVERT, '--checkpoint', path, '--everything', '--output_dir', self.path('run'))):
            self.refused(message, *command)
            self.assertFalse(os.path.exists(self.path('run/tec_checkpoint.pth')))
        # What half precision cannot hold, and what LayerScale makes too large.
        large = plain().state_dict()
        large['blocks.0.attn.qkv.weight'][0, 0] = 7e4
        path = self.save('large.pth', large)
        for command in ((CONVERT, '--output_dir', self.path('run')),
                        (CONVERT, '--everything', '--output_dir', self.path('run')),
                        (EXPORT, '--heads=4', f'--output={self.path("run/half.onnx")}')):
            self.refused('(as F16|float16).*has 1 of .* not finite', *command, '--checkpoint', path,
                         '--dtype=float16')
        scaled = plain(init_values=0.1).state_dict()
        scaled['blocks.0.mlp.fc2.weight'][3, 1], scaled['blocks.0.ls2.gamma'][3] = 3e38, 100
        self.refused('blocks.0.mlp.fc2.weight with blocks.0.ls2.gamma has 1 of', EXPORT, '--heads=4', '--checkpoint',
                     self.save('scaled.pth', scaled))

    def test_16_onnx_above_two_gigabytes(self):
        # MAE's largest: 632 million weights.
        width, blocks = 1280, 32
        model = timm.create_model('vit_huge_patch14_224', num_classes=0)
        self.assertEqual((model.embed_dim, len(model.blocks)), (width, blocks))
        path = self.save('huge.pth', {'model': model.state_dict()})
        images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            cls = model.eval().forward_features(images)[:, 0]
        del model
        for flags, tolerance, parts in (((), TOLERANCE, 2), (('--dtype=float16',), 2e-2, 1)):
            said = self.run_program(EXPORT, '--checkpoint', path, f'--output={self.path("huge.onnx")}', *flags)
            self.assertEqual(said.count('wrote '), parts, said)
            session = onnxruntime.InferenceSession(self.path('huge.onnx'), providers=['CPUExecutionProvider'])
            ours = torch.from_numpy(session.run(['cls'], {'images': images.numpy()})[0])
            self.assertLessEqual((ours - cls).abs().max().item(), tolerance)
            del session
            for file in glob.glob(self.path('huge.onnx*')):
                os.remove(file)

    def test_17_a_warm_up_longer_than_the_run(self):
        self.pictures()
        with open(self.path('tec.textproto'), 'w') as file:
            file.write(EXPERIMENT)
        path = self.save('base.pth', plain().state_dict())
        said = self.run_program(PRETRAIN, '--config', self.path('tec.textproto'), '--base_model', path,
                                '--batch_size=4', f'--data_path={self.path("pictures")}', '--device=cpu', '--epochs=8',
                                '--noreport', f'--output_dir={self.path("run")}')
        self.assertRegex(said, r'the warm-up of 40 epochs \(--warmup_epochs\) is as long as the run of 8')


if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    unittest.main()
