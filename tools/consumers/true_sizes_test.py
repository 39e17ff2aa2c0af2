"""DINOv3 and SigLIP 2 at their true sizes, of random weights, on the whole way: a small new model is pretrained against
each, converted, finetuned and evaluated; and each is finetuned itself. A few pictures, an update or two.

DINOv3's large one, which takes 8 GB, with TEC_LARGE=1 in the environment.
"""

import os
import subprocess
import tempfile
import unittest

import numpy as np
import safetensors.torch
import timm
import torch
import transformers
from PIL import Image
from vit_sweep import TOLERANCE, VIT_OUTPUTS, timm_features

CONVERT = 'tools/convert/convert'
FINETUNE = 'eval/finetune/finetune'
KNN = 'eval/knn/knn'
PRETRAIN = 'tec/pretrain'
SIZE, PATCH = 224, 16


class TrueSizesTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        random = np.random.default_rng(0)
        for split, count in (('train', 2), ('val', 1)):
            for label in 'ab':
                os.makedirs(self.path(f'pictures/{split}/{label}'))
                for i in range(count):
                    pixels = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
                    Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(
                        self.path(f'pictures/{split}/{label}/{i}.png'))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_program(self, *command):
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, f'{command}\n{result.stdout}{result.stderr}')
        return result.stdout + result.stderr

    def equal(self, path, features):
        images = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
        safetensors.torch.save_file({'images': images}, self.path('images'))
        with open(self.path('list'), 'w') as file:
            file.write('\t'.join([path, '', '0', self.path('images'), self.path('output')]) + '\n')
        said = self.run_program(VIT_OUTPUTS, 'sweep', self.path('list'))
        self.assertTrue(said.startswith('taken'), said)
        ours = safetensors.torch.load_file(self.path('output'))
        for name, theirs in zip(('cls', 'patch_mean'), features(images), strict=True):
            self.assertLessEqual((ours[name] - theirs).abs().max().item(), TOLERANCE, name)
            self.assertGreater(theirs.abs().max().item(), 0.1, name)

    def whole_way(self, path, family, width, depth, heads):
        data = (f'--data_path={self.path("pictures")}', '--device=cpu', '--precision=float32', '--num_workers=1')
        trains = data + ('--noreport',)
        with open(self.path('tec.textproto'), 'w') as file:
            shape = f'image_size: {SIZE} patch_size: {PATCH}'
            file.write(f'method: TEC model {{ name: "custom" encoder {{ {shape} width: 192 depth: 2 heads: 3 }} '
                       'decoder { width: 64 depth: 1 heads: 4 } mlp_token: true pred_att: true } '
                       f'base_model {{ name: "custom" encoder {{ {shape} width: {width} depth: {depth} '
                       f'heads: {heads} }} last_layers: 2 topkatt: 9 }}')
        log = self.run_program(PRETRAIN, '--config', self.path('tec.textproto'), '--base_model', path, *trains,
                               '--batch_size=2', '--epochs=1', '--warmup_epochs=0', f'--output_dir={self.path("tec")}')
        self.assertIn(f'family {family}: ', log)
        checkpoint = self.path('tec/checkpoint-0.pth')
        self.run_program(CONVERT, '--checkpoint', checkpoint, '--to=timm', '--output_dir', self.path('timm'))
        timm.create_model('local-dir:' + self.path('timm'), pretrained=True)
        for start, output in ((checkpoint, 'of_new'), (path, 'of_base')):
            self.run_program(FINETUNE, '--finetune', start, *trains, '--batch_size=2', '--epochs=1',
                             '--warmup_epochs=0', f'--output_dir={self.path(output)}')
            self.assertIn('%', self.run_program(KNN, '--checkpoint', self.path(output + '/best_checkpoint.pth'), *data,
                                                '--k=1', '--features=pool'))
        self.assertIn('%', self.run_program(KNN, '--checkpoint', path, *data, '--k=1'))

    def of_timm(self, name):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=0).eval()
        path = self.path(name + '.pth')
        torch.save(model.state_dict(), path)
        self.equal(path, timm_features(model))
        width, depth, heads = model.embed_dim, len(model.blocks), model.blocks[0].attn.num_heads
        del model
        self.whole_way(path, 'timm_dinov3', width, depth, heads)

    def test_dinov3_small(self):
        self.of_timm('vit_small_patch16_dinov3')

    def test_dinov3_base(self):
        self.of_timm('vit_base_patch16_dinov3')

    @unittest.skipUnless(os.environ.get('TEC_LARGE'), 'TEC_LARGE is not set')
    def test_dinov3_large(self):
        self.of_timm('vit_large_patch16_dinov3')

    def test_siglip2_base(self):
        torch.manual_seed(0)
        # google/siglip2-base-patch16-224's configuration is the class's default, but for its text tower.
        model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig()).eval()
        model.save_pretrained(self.path('siglip2'))

        def features(images):
            with torch.no_grad():
                output = model(pixel_values=images)
            return output.pooler_output, output.last_hidden_state.mean(1)

        self.equal(self.path('siglip2'), features)
        self.whole_way(self.path('siglip2'), 'hf_siglip', 768, 12, 12)


if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    unittest.main()
