"""Weight files as people have them, beside what their own code makes of the model: other heads than usual, classes
around the encoder, prefixes, activations that no tensor tells. What is not the same is refused, and says what to do."""

import json
import os
import subprocess
import tempfile
import unittest

import open_clip
import safetensors.torch
import timm
import torch
import transformers
from vit_sweep import TOLERANCE, VIT_OUTPUTS, shake, timm_features

CONVERT = 'tools/convert/convert'
EXPORT = 'tools/export/export'
INSPECT = 'tools/weights/inspect'
KNN = 'eval/knn/knn'
SIZE, WIDTH, DEPTH, HEADS = 64, 64, 2, 4


def timm_vit(name='vit_base_patch16_224', **options):
    return shake(timm.create_model(name, **(dict(img_size=SIZE, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
                                                 num_classes=0) | options)))


def config(kind, **options):
    return kind(**(dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
                        intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=16) | options))


class ReaderTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def saved(self, state, name='model.pth'):
        torch.save(state, self.path(name))
        return self.path(name)

    def images(self, size):
        return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))

    def read(self, path, family='', heads=0, size=SIZE):
        """'taken' or 'refused', the description or the message, and our features."""
        safetensors.torch.save_file({'images': self.images(size)}, self.path('images.safetensors'))
        with open(self.path('list'), 'w') as file:
            file.write('\t'.join([path, family, str(heads), self.path('images.safetensors'), self.path('out')]) + '\n')
        result = subprocess.run([VIT_OUTPUTS, 'sweep', self.path('list')], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        outcome, message = result.stdout.rstrip('\n').split('\t', 1)
        return outcome, message, safetensors.torch.load_file(self.path('out')) if outcome == 'taken' else None

    def refused(self, path, *parts, **how):
        outcome, message, _ = self.read(path, **how)
        self.assertEqual(outcome, 'refused', message)
        for part in parts:
            self.assertIn(part, message)

    def equal(self, path, cls, mean, *parts, **how):
        outcome, message, ours = self.read(path, **how)
        self.assertEqual(outcome, 'taken', message)
        for part in parts:
            self.assertIn(part, message)
        for name, theirs in (('cls', cls), ('patch_mean', mean)):
            self.assertLessEqual((ours[name] - theirs).abs().max().item(), TOLERANCE, name)
            self.assertGreater(theirs.abs().max().item(), 0.1, name)

    def equal_timm(self, model, state, *parts, size=SIZE, **how):
        self.equal(self.saved(state), *timm_features(model)(self.images(size)), *parts, size=size, **how)

    def run_program(self, *arguments, code=0):
        result = subprocess.run(arguments, capture_output=True, text=True)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def test_heads_of_the_familys_published_models(self):
        model = timm_vit('vit_small_patch16_224', embed_dim=384, num_heads=12)
        state = {'module.' + part + name: value for part in ('base_encoder.', 'momentum_encoder.')
                 for name, value in model.state_dict().items()}
        state |= {'module.base_encoder.head.0.weight': torch.zeros(4, 384),
                  'module.predictor.0.weight': torch.zeros(4, 4)}
        self.equal_timm(model, {'epoch': 300, 'arch': 'vit_small', 'state_dict': state}, 'family moco_v3',
                        'assumed: ', '12 heads (those of the published models of family moco_v3 of width 384)')
        # The same tensors of a plain ViT: six, and it says so.
        plain = timm_vit('vit_small_patch16_224', embed_dim=384, num_heads=6)
        self.equal_timm(plain, plain.state_dict(), '6 heads (the usual number for width 384')

    def test_grids_that_are_no_squares(self):
        model = timm_vit(img_size=(224, 256))
        path = self.saved(model.state_dict())
        self.refused(path, '225 rows', '--grid=15x15', heads=HEADS, size=240)
        for program, flag in ((EXPORT, '--resume'), (KNN, '--checkpoint')):
            arguments = (program, f'{flag}={path}', '--heads=4', '--grid=14x16') + (
                ('--data_path', self.folder, '--device=cpu') if program == KNN else ('--output', self.path('a.onnx')))
            self.assertIn('14 x 16 patches (--grid): only square grids are supported',
                          self.run_program(*arguments, code=1))
        model = shake(transformers.ViTModel(config(transformers.ViTConfig, image_size=[48, 80]),
                                            add_pooling_layer=False))
        model.save_pretrained(self.path('hf'))
        self.refused(self.path('hf'), '3 x 5 patches', 'config.json')

    def test_clips_activation_is_asked_for(self):
        name = 'vit_base_patch16_clip_quickgelu_224'
        model = timm_vit(name, img_size=SIZE)
        self.refused(self.saved(model.state_dict()), '--family=timm_clip', '--family=timm_open_clip', heads=HEADS)
        self.equal_timm(model, model.state_dict(), family='timm_clip', heads=HEADS)
        os.makedirs(self.path('hub'))
        safetensors.torch.save_file(model.state_dict(), self.path('hub/model.safetensors'), metadata={'format': 'pt'})
        with open(self.path('hub/config.json'), 'w') as file:
            json.dump({'architecture': name, 'num_features': WIDTH,
                       'model_args': {'num_heads': HEADS, 'img_size': SIZE}},
                      file)
        self.equal(self.path('hub'), *timm_features(model)(self.images(SIZE)), 'family timm_clip')

    def clip(self, quick_gelu=False):
        model = open_clip.model.CLIP(
            embed_dim=16, quick_gelu=quick_gelu,
            vision_cfg=dict(layers=DEPTH, width=WIDTH, head_width=16, patch_size=16, image_size=SIZE),
            text_cfg=dict(context_length=8, vocab_size=64, width=16, heads=2, layers=1))
        return shake(model)

    def test_towers_of_open_clip(self):
        model = self.clip()
        outputs = []
        hook = model.visual.ln_post.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        with torch.no_grad():
            model.encode_image(self.images(SIZE))
        hook.remove()
        vision = {name: value for name, value in model.state_dict().items() if name.startswith('visual.')}
        text = {name: value for name, value in model.state_dict().items() if not name.startswith('visual.')}
        files = {'custom_text': vision | {'text.' + name: value for name, value in text.items()},
                 'ddp_logit_bias': {'state_dict': {'module.' + name: value for name, value in
                                                   (vision | text | {'logit_bias': torch.tensor(-10.)}).items()}}}
        for name, state in files.items():
            outcome, message, ours = self.read(self.saved(state, name + '.pt'), family='open_clip', heads=HEADS)
            self.assertEqual(outcome, 'taken', message)
            cls = outputs[0] if outputs[0].dim() == 2 else outputs[0][:, 0]
            self.assertLessEqual((ours['cls'] - cls).abs().max().item(), TOLERANCE)
        self.refused(self.saved({'visual.trunk.cls_token': torch.zeros(1, 1, WIDTH)}), 'no vision transformer')

    def test_every_program_takes_the_family(self):
        path = self.saved(self.clip(quick_gelu=True).state_dict())
        for flag in ('--family', '--base_model_family'):
            self.assertIn('family clip', self.run_program(INSPECT, path, f'{flag}=clip'))
            self.assertIn('family clip', self.run_program(EXPORT, f'--resume={path}', f'{flag}=clip', '--heads=4',
                                                          '--output', self.path('a.onnx')))
            # As far as the pictures, of which there are none.
            self.assertIn('no_such_folder', self.run_program(KNN, f'--checkpoint={path}', f'{flag}=clip', '--heads=4',
                                                             '--data_path=/no_such_folder', '--device=cpu', code=1))
        message = self.run_program(KNN, f'--checkpoint={path}', '--heads=4', '--data_path', self.folder, '--device=cpu',
                                   code=1)
        self.assertIn('--family=clip', message)

    def hugging_face(self, model, inner, *parts, final=None):
        shake(model)
        folder = tempfile.mkdtemp(dir=self.folder)
        model.save_pretrained(folder)
        with torch.no_grad():
            tokens = inner(pixel_values=self.images(SIZE)).last_hidden_state
            if final is not None:
                tokens = final(tokens)
        self.equal(folder, tokens[:, 0], tokens[:, -16:].mean(1), *parts)

    def test_classes_around_hugging_faces_encoders(self):
        t = transformers
        deit = t.DeiTForImageClassificationWithTeacher(config(t.DeiTConfig, num_labels=3))
        self.hugging_face(deit, deit.deit, 'family hf_deit')
        masked = t.ViTForMaskedImageModeling(config(t.ViTConfig))
        self.hugging_face(masked, masked.vit, 'family hf_vit')
        dinov2 = t.Dinov2ForImageClassification(config(t.Dinov2Config, num_labels=3))
        self.hugging_face(dinov2, dinov2.dinov2, 'family hf_dinov2')
        beit = t.BeitForMaskedImageModeling(config(
            t.BeitConfig, use_shared_relative_position_bias=True, use_mask_token=True, vocab_size=32,
            layer_scale_init_value=0.1))
        # Its final norm is outside of "beit.".
        self.hugging_face(beit, beit.beit, 'family hf_beit', final=beit.layernorm)
        clip = t.CLIPVisionModelWithProjection(config(t.CLIPVisionConfig))
        shake(clip).save_pretrained(self.path('clip'))
        self.assertIn('family hf_clip', self.read(self.path('clip'))[1])

    def test_a_config_of_another_model(self):
        model = shake(transformers.ViTModel(config(transformers.ViTConfig), add_pooling_layer=False))
        model.save_pretrained(self.path('hf'))
        for entry, value in (('hidden_size', 128), ('num_hidden_layers', 12), ('patch_size', 14),
                             ('intermediate_size', 64), ('image_size', 224), ('num_attention_heads', 5),
                             ('model_type', 'clip_vision_model')):
            with open(self.path('hf/config.json')) as file:
                original = file.read()
            with open(self.path('hf/config.json'), 'w') as file:
                json.dump(json.loads(original) | {entry: value}, file)
            self.refused(self.path('hf'), 'config.json', str(value) if entry != 'image_size' else '14 x 14')
            with open(self.path('hf/config.json'), 'w') as file:
                file.write(original)
        self.refused(self.path('hf'), '--heads=2', 'config.json says 4', heads=2)

    def test_parts_that_plain_models_have_too(self):
        for options, parts in (({'mlp_ratio': 2.0}, []), ({'reg_tokens': 4}, []), ({'qkv_bias': False}, []),
                               ({'mlp_ratio': 1.5, 'init_values': 0.1}, [])):
            model = timm_vit(**options)
            self.equal_timm(model, model.state_dict(), *parts, heads=HEADS)
            # Behind any prefix.
            self.equal_timm(model, {'state_dict': {'_orig_mod.module.' + k: v for k, v in model.state_dict().items()}},
                            'those under "_orig_mod.module."', heads=HEADS)

    def test_values_that_are_not_finite(self):
        state = {name: value.half() for name, value in timm_vit().state_dict().items()}
        state['blocks.1.mlp.fc2.weight'][3, 5] = float('inf')
        path = self.saved({'model': state})
        part = 'blocks.1.mlp.fc2.weight has 1 of 16384 values that are not finite, the first inf at [3,5]'
        self.refused(path, part, heads=HEADS)
        for arguments in ((EXPORT, '--output', self.path('a.onnx')), (CONVERT, '--output_dir', self.path('converted'))):
            self.assertIn(part, self.run_program(*arguments, f'--resume={path}', '--heads=4', code=1))
        large = timm_vit().state_dict()
        large['blocks.0.mlp.fc1.bias'][2] = 70000
        self.assertIn('as F16: blocks.0.mlp.fc1.bias has 1 of 256 values',
                      self.run_program(CONVERT, f'--resume={self.saved(large)}', '--dtype=float16', '--heads=4',
                                       '--output_dir', self.path('converted'), code=1))
