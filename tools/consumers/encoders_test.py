"""Encoders of timm and transformers on their whole way: finetuned as they are, read back without a flag, exported.

At a rate that moves no weight a finetuned encoder gives the features of the original's own code; after real updates
ONNX gives the probabilities that we predict with.
"""

import json
import os
import re
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
from vit_sweep import TOLERANCE, VIT_OUTPUTS, shake, timm_features

SIZE, PATCH, WIDTH, DEPTH, HEADS = 64, 16, 64, 2, 4

CONVERT = 'tools/convert/convert'
EXPORT = 'tools/export/export'
FINETUNE = 'eval/finetune/finetune'
INSPECT = 'tools/weights/inspect'
KNN = 'eval/knn/knn'
PREDICT = 'eval/predict/predict'
PRETRAIN = 'tec/pretrain'

# Two epsilons of half precision, 2^-10 each, on values of about 1, with room for what a few blocks make of them.
HALF_TOLERANCE = 2e-2


class Encoder:
    """family; the file or folder; flags for what it does not tell; images -> [CLS] or None, mean of the patches."""

    def __init__(self, family, path, flags, features, resizes=True):
        self.family, self.path, self.flags, self.features, self.resizes = family, path, flags, features, resizes


def timm_encoder(folder, family, name, flags='', resizes=True, **options):
    model = shake(timm.create_model(name, **(dict(img_size=SIZE, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
                                                 num_classes=0) | options)))
    path = os.path.join(folder, name + '.pth')
    torch.save(model.state_dict(), path)
    return Encoder(family, path, flags.split() + [f'--heads={HEADS}'], timm_features(model), resizes)


def transformers_encoder(folder, family, kind, cls=True, tokens=1, resizes=True, **options):
    """tokens: before the patches."""
    settings = kind.config_class(**(dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                                         intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH) | options))
    model = shake(kind(settings))
    path = os.path.join(folder, family)
    model.save_pretrained(path)

    def features(images):
        with torch.no_grad():
            output = model(pixel_values=images).last_hidden_state
        # CLIP's final norm is for the [CLS] token alone there.
        norm = getattr(getattr(model, 'vision_model', model), 'post_layernorm', None) if 'clip' in family else None
        output = norm(output) if norm is not None else output
        if family == 'hf_beit':
            # Pooled before its norm, which is the classifier's: the tokens are normalised plainly here.
            output = torch.nn.functional.layer_norm(output, output.shape[-1:], eps=settings.layer_norm_eps)
        return (output[:, 0] if cls else None), output[:, tokens:].mean(1)

    return Encoder(family, path, [], features, resizes)


def encoders(folder):
    t = transformers
    yield timm_encoder(folder, 'timm_clip', 'vit_base_patch16_clip_quickgelu_224', '--family=timm_clip')
    yield timm_encoder(folder, 'timm', 'vit_giant_patch14_reg4_dinov2', '--grid=4', patch_size=PATCH, mlp_ratio=4)
    yield timm_encoder(folder, 'beit', 'beit_base_patch16_224', resizes=False)
    yield transformers_encoder(folder, 'hf_clip', t.CLIPVisionModel)
    yield transformers_encoder(folder, 'hf_beit', t.BeitModel, use_relative_position_bias=True, add_pooling_layer=None,
                               resizes=False)
    yield transformers_encoder(folder, 'hf_dinov2', t.Dinov2WithRegistersModel, tokens=5, num_register_tokens=4,
                               use_swiglu_ffn=True)
    yield timm_encoder(folder, 'timm_dinov3', 'vit_small_patch16_dinov3')
    yield timm_encoder(folder, 'timm_dinov3', 'vit_small_plus_patch16_dinov3_qkvb')
    yield transformers_encoder(folder, 'hf_dinov3', t.DINOv3ViTModel, tokens=5, num_register_tokens=4)


class EncodersTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for split, count in (('train', 4), ('val', 2)):
            for label in range(3):
                os.makedirs(self.path(f'pictures/{split}/{label}'))
                for i in range(count):
                    noise = np.random.default_rng([label, i, count]).normal(60 + 60 * label, 20, (SIZE, SIZE, 3))
                    Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(
                        self.path(f'pictures/{split}/{label}/{i}.png'))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_program(self, *arguments):
        result = subprocess.run(arguments, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, ' '.join(arguments) + '\n' + result.stdout + result.stderr)
        return result.stdout

    def images(self, size=SIZE):
        return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))

    def near(self, ours, theirs, what, tolerance=TOLERANCE):
        self.assertEqual(ours.shape, theirs.shape, what)
        difference = (ours - theirs).abs().max().item()
        self.assertLessEqual(difference, tolerance, f'{what}: differs by {difference}')
        self.assertGreater(theirs.abs().max().item(), 0.1, what)

    def ours(self, path, heads=0):
        """Our features of the file, of which nothing but the heads is told."""
        images, listed, output = self.path('images.safetensors'), self.path('list'), self.path('features')
        safetensors.torch.save_file({'images': self.images()}, images)
        with open(listed, 'w') as file:
            file.write('\t'.join([path, '', str(heads), images, output]) + '\n')
        report = self.run_program(VIT_OUTPUTS, 'sweep', listed)
        self.assertTrue(report.startswith('taken'), report)
        return safetensors.torch.load_file(output)

    def finetune(self, encoder, output, *flags):
        self.run_program(FINETUNE, '--finetune', encoder.path, *encoder.flags, f'--data_path={self.path("pictures")}',
                         f'--output_dir={self.path(output)}', '--device=cpu', '--precision=float32', '--threads=2',
                         '--num_workers=1', '--batch_size=4', '--warmup_epochs=0', '--aa=', '--reprob=0',
                         '--noreport', *flags)
        return self.path(output + '/best_checkpoint.pth')

    def predicted(self, checkpoint, *flags):
        """{image: {class: probability}} of the pictures held out."""
        output = self.path('predictions.jsonl')
        self.run_program(PREDICT, '--checkpoint', checkpoint, f'--data_path={self.path("pictures/val")}',
                         '--output', output, '--top=3', '--device=cpu', '--threads=2', '--num_workers=1', *flags)
        with open(output) as file:
            return {line['image']: {one['class']: one['probability'] for one in line['top']}
                    for line in map(json.loads, file)}

    def logits(self, session, image):
        how = session.get_modelmeta().custom_metadata_map
        size, short = int(how['image_size']), int(how['resize_short_side'])
        mean, std = (np.array(how[name].split(','), np.float32) for name in ('mean', 'std'))
        picture = Image.open(os.path.join(self.path('pictures/val'), image)).convert('RGB')
        picture = picture.resize((short, short), Image.Resampling.BICUBIC)
        left = round((short - size) / 2)
        values = np.asarray(picture.crop((left, left, left + size, left + size)), np.float32) / 255
        return session.run(['logits'], {'images': ((values - mean) / std).transpose(2, 0, 1)[None]})[0][0]

    def says_the_same(self, exported, said, tolerance):
        onnx.checker.check_model(exported, full_check=True)
        session = onnxruntime.InferenceSession(exported, providers=['CPUExecutionProvider'])
        names = json.loads(session.get_modelmeta().custom_metadata_map['class_names'])
        for image, probabilities in said.items():
            logits = torch.from_numpy(self.logits(session, image))
            for name, probability in zip(names, torch.softmax(logits, 0)):
                self.assertAlmostEqual(probability.item(), probabilities[name], delta=tolerance, msg=f'{image}: {name}')

    def whole_way(self, encoder):
        cls, patch_mean = encoder.features(self.images())
        still = self.finetune(encoder, 'still', '--epochs=1', '--lr=1e-30', '--min_lr=0',
                              '--global_pool' if cls is None else '--cls_token')
        ours = self.ours(still)
        if cls is not None:
            self.near(ours['cls'], cls, 'cls')
            self.near(ours['patch_mean'], patch_mean, 'patch mean')
        self.assertIn(f'family {encoder.family}', self.run_program(INSPECT, still))

        for pool in ('--global_pool', '--cls_token') if cls is not None else ('--global_pool',):
            checkpoint = self.finetune(encoder, 'moved' + pool, '--epochs=3', '--lr=1e-3', '--layer_decay=0.9',
                                       '--drop_path=0.1', '--model_ema', '--model_ema_decay=0.5', pool)
            for entry in ('model', 'model_ema'):
                said = self.predicted(checkpoint, f'--entry={entry}')
                self.assertEqual(len(said), 6)
                self.assertGreater(max(p['0'] for p in said.values()) - min(p['0'] for p in said.values()), 1e-3)
                exported = self.path(f'{entry}.onnx')
                self.run_program(EXPORT, '--checkpoint', checkpoint, f'--entry={entry}', f'--output={exported}')
                self.says_the_same(exported, said, TOLERANCE)
            self.run_program(KNN, '--checkpoint', checkpoint, f'--data_path={self.path("pictures")}', '--k=3',
                             '--device=cpu', '--num_workers=1')
        if encoder.resizes:
            self.finetune(encoder, 'larger', '--epochs=1', f'--input_size={SIZE + 2 * PATCH}')

    def pretrained_against(self, encoder):
        """A new model of the encoder's size: pretrained against it, converted, finetuned, and kNN."""
        vit = f'image_size: {SIZE} patch_size: {PATCH} width: {WIDTH} depth: {DEPTH} heads: {HEADS}'
        with open(self.path('config.textproto'), 'w') as file:
            file.write(f'model {{ name: "custom" encoder {{ {vit} }} decoder {{ width: 32 depth: 1 heads: 4 }} '
                       'mlp_token: true pred_att: true adaptor_groups: 1 } '
                       f'base_model {{ name: "custom" encoder {{ {vit} }} last_layers: 2 topkatt: 5 }}')
        named = [flag.replace('--', '--base_model_') for flag in encoder.flags if '--heads' not in flag]
        self.run_program(PRETRAIN, '--config', self.path('config.textproto'), '--base_model', encoder.path, *named,
                         f'--data_path={self.path("pictures")}', f'--output_dir={self.path("tec")}', '--device=cpu',
                         '--precision=float32', '--threads=2', '--num_workers=1', '--batch_size=4', '--accum_iter=1',
                         '--epochs=1', '--warmup_epochs=0', '--blr=0.01', '--noreport')
        checkpoint = self.path('tec/checkpoint-0.pth')
        self.run_program(CONVERT, '--resume', checkpoint, '--to=timm', '--output_dir', self.path('timm'))
        converted = timm.create_model('local-dir:' + self.path('timm'), pretrained=True).eval()
        cls, _ = timm_features(converted)(self.images())
        self.near(self.ours(checkpoint, HEADS)['cls'], cls, 'converted')
        new = Encoder('tec', checkpoint, [], None)
        self.finetune(new, 'finetuned', '--epochs=1')
        self.run_program(KNN, '--checkpoint', checkpoint, f'--data_path={self.path("pictures")}', '--k=3',
                         '--device=cpu', '--num_workers=1')

    def test_the_whole_way(self):
        for encoder in encoders(self.folder):
            with self.subTest(encoder.path):
                self.whole_way(encoder)
                self.pretrained_against(encoder)
            for name in ('still', 'moved--global_pool', 'moved--cls_token', 'larger', 'tec', 'timm', 'finetuned'):
                subprocess.run(['rm', '-rf', self.path(name)], check=True)

    def test_onnx_in_two_files_and_in_half_precision(self):
        for encoder in list(encoders(self.folder))[:3]:
            checkpoint = self.finetune(encoder, 'run', '--epochs=3', '--lr=1e-3')
            said = self.predicted(checkpoint)
            exported = self.path('folder/model.onnx')
            os.makedirs(self.path('folder'), exist_ok=True)
            for flags, tolerance in ((['--external_data'], TOLERANCE), (['--dtype=float16'], HALF_TOLERANCE),
                                     (['--dtype=float16', '--external_data'], HALF_TOLERANCE)):
                self.run_program(EXPORT, '--checkpoint', checkpoint, f'--output={exported}', *flags)
                self.says_the_same(exported, said, tolerance)
                beside = exported + '.data'
                self.assertEqual(os.path.exists(beside), '--external_data' in flags)
                if '--external_data' in flags:
                    # All of the weights are there, and none in the model.
                    self.assertLess(os.path.getsize(exported), os.path.getsize(beside) / 4)
                    os.remove(beside)
            subprocess.run(['rm', '-rf', self.path('run')], check=True)

    def test_tensors_that_are_not_read_have_a_way_out(self):
        plain = shake(timm.create_model('vit_base_patch16_224', img_size=SIZE, embed_dim=WIDTH, depth=DEPTH,
                                        num_heads=HEADS, num_classes=0)).state_dict()
        weight = plain['blocks.0.mlp.fc1.weight']
        with_attribute = torch.nn.Parameter(plain['norm.bias'])
        with_attribute.made_by = 'a script'
        cases = {
            'float8_e4m3fn': {'blocks.0.mlp.fc1.weight': weight.to(torch.float8_e4m3fn)},
            'float8_e5m2': {'blocks.0.mlp.fc1.weight': weight.to(torch.float8_e5m2)},
            'complex64': {'freqs': torch.zeros(3, dtype=torch.complex64)},
            'uint16': {'steps': torch.zeros(3, dtype=torch.uint16)},
            'quantised': {'blocks.0.mlp.fc1.weight': torch.quantize_per_tensor(weight, 0.02, 0, torch.qint8)},
            'sparse': {'blocks.0.mlp.fc1.weight': weight.to_sparse()},
            'attributes': {'norm.bias': with_attribute},
        }
        for kind, other in cases.items():
            for suffix in ('.pth', '.safetensors'):
                path, new = self.path(kind + suffix), self.path('new' + suffix)
                with self.subTest(path):
                    try:
                        if suffix == '.pth':
                            torch.save(plain | other, path)
                        else:
                            safetensors.torch.save_file(plain | other, path)
                    except (RuntimeError, ValueError, KeyError, TypeError, NotImplementedError):
                        self.assertEqual(suffix, '.safetensors')  # Which has no such tensors.
                        continue
                    result = subprocess.run([INSPECT, path], capture_output=True, text=True)
                    message = result.stdout + result.stderr
                    if suffix == '.safetensors' and result.returncode == 0:
                        continue  # Whoever wrote it made plain ones of them.
                    self.assertEqual(result.returncode, 1, message)
                    self.assertRegex(message, f'{kind}|F8_|C64|U16')
                    # What it says works.
                    load = re.search(r'sd = (\S+\(FILE.*?\))(,| and)', message)[1]
                    save = re.search(r'(\S*torch\.save(?:_file)?\(\{.*?NEW\))', message)[1]
                    names = dict(torch=torch, safetensors=safetensors, FILE=path, NEW=new)
                    names['sd'] = eval(load, names)
                    eval(save, names)
                    report = subprocess.run([INSPECT, new], capture_output=True, text=True)
                    self.assertEqual(report.returncode, 0, report.stdout + report.stderr)

    def test_a_grid_that_is_no_square_has_a_way_out(self):
        model = shake(timm.create_model('vit_base_patch16_224', img_size=(SIZE, SIZE + 2 * PATCH), embed_dim=WIDTH,
                                        depth=DEPTH, num_heads=HEADS, num_classes=0))
        path = self.path('wide.pth')
        torch.save(model.state_dict(), path)
        refused = subprocess.run([INSPECT, '--grid=4x6', path], capture_output=True, text=True)
        self.assertIn('4 x 6 patches (--grid): only square grids are supported. In timm, model.set_input_size',
                      refused.stdout + refused.stderr)
        model.set_input_size((SIZE, SIZE))
        torch.save(model.state_dict(), path)
        cls, patch_mean = timm_features(model)(self.images())
        listed, output = self.path('list'), self.path('features')
        safetensors.torch.save_file({'images': self.images()}, self.path('images'))
        with open(listed, 'w') as file:
            file.write('\t'.join([path, '', str(HEADS), self.path('images'), output]) + '\n')
        self.assertIn('taken', self.run_program(VIT_OUTPUTS, 'sweep', listed))
        self.near(safetensors.torch.load_file(output)['cls'], cls, 'cls')
