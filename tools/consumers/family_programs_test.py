"""The cases of tec/checkpoint/families/goldens through the programs: exported as ONNX they give what the project's own
class gave; as base models they are learnt from, and what was learnt is converted and evaluated."""

import math
import os
import subprocess
import tempfile
import unittest

import numpy
import onnxruntime
import safetensors
import safetensors.torch
from PIL import Image

# Of the README there.
TOLERANCE = 5e-5
CONVERT = 'tools/convert/convert'
EXPORT = 'tools/export/export'
KNN = 'eval/knn/knn'
PRETRAIN = 'tec/pretrain'
GOLDENS = 'tec/checkpoint/families/goldens'
VIT = 'image_size: 16 patch_size: 4 width: 16 depth: 2 heads: 2'
EXPERIMENT = (f'method: TEC model {{ name: "custom" encoder {{ {VIT} }} decoder {{ width: 16 depth: 1 heads: 2 }} '
              f'pred_att: true }} base_model {{ name: "custom" encoder {{ {VIT} }} last_layers: 2 topkatt: 5 }}')


class FamilyProgramsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_program(self, *command):
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, f'{command}\n{result.stdout}{result.stderr}')
        return result.stdout + result.stderr

    def cases(self):
        """{name: (folder, metadata, flags that say what a config.json would)}"""
        cases = {}
        for name in sorted(os.listdir(GOLDENS)):
            folder = f'{GOLDENS}/{name}'
            if not os.path.isdir(folder):
                continue
            with safetensors.safe_open(f'{folder}/expected.safetensors', 'pt') as file:
                metadata = file.metadata()
                patches = file.get_slice('last').get_shape()[1] - int(metadata['prefix'])
            # What 0 stands for, the file tells.
            flags = ['--heads=' + metadata['heads']] if metadata['heads'] != '0' else []
            if not os.path.exists(f'{folder}/config.json'):
                flags += ['--family=' + metadata['family'], f'--grid={math.isqrt(patches)}']
            cases[name] = folder, metadata, flags
        self.assertGreater(len(cases), 26)
        return cases

    def test_onnx(self):
        for name, (folder, _, flags) in self.cases().items():
            expected = safetensors.torch.load_file(f'{folder}/expected.safetensors')
            output = f'{self.folder}/{name}.onnx'
            self.run_program(EXPORT, f'--checkpoint={folder}/model.safetensors', f'--output={output}', *flags)
            session = onnxruntime.InferenceSession(output, providers=['CPUExecutionProvider'])
            names = [value.name for value in session.get_outputs()]
            self.assertEqual('cls' in names, 'cls' in expected, name)
            values = session.run(None, {'images': expected['images'].numpy()})
            for value, array in zip(names, values, strict=True):
                self.assertLessEqual(abs(array - expected[value].numpy()).max(), TOLERANCE, f'{name}: {value}')

    def pictures(self):
        random = numpy.random.RandomState(0)
        for split, count in (('train', 8), ('val', 2)):
            for label in 'ab':
                os.makedirs(f'{self.folder}/pictures/{split}/{label}')
                for i in range(count):
                    pixels = random.randint(0, 256, (24, 24, 3)).astype('uint8')
                    Image.fromarray(pixels).save(f'{self.folder}/pictures/{split}/{label}/{i}.png')
        return f'{self.folder}/pictures'

    def test_chain(self):
        pictures, config = self.pictures(), f'{self.folder}/tec.textproto'
        with open(config, 'w') as file:
            file.write(EXPERIMENT)
        cases = self.cases()
        for name in ('dinov3_meta', 'dinov3_timm', 'dinov3_hf_swiglu', 'siglip2_timm', 'siglip_hf', 'ijepa_meta',
                     'aimv2_timm', 'eva02_timm', 'perception_encoder_timm'):
            folder, metadata, flags = cases[name]
            run = f'{self.folder}/{name}'
            # In pretraining the experiment says the heads.
            base = [flag.replace('--', '--base_model_') for flag in flags if not flag.startswith('--heads')]
            log = self.run_program(PRETRAIN, f'--config={config}', f'--base_model={folder}/model.safetensors', *base,
                                   f'--data_path={pictures}', '--device=cpu', '--batch_size=8', '--epochs=1',
                                   '--warmup_epochs=0', '--num_workers=1', '--noreport', f'--output_dir={run}')
            self.assertIn('family ' + metadata['family'], log, name)
            self.assertIn('base model: ', log, name)
            checkpoint = f'{run}/checkpoint-0.pth'
            self.run_program(CONVERT, f'--checkpoint={checkpoint}', '--to=timm', f'--output_dir={run}/timm')
            # Of what has learnt and of what it has learnt from.
            for weights, features, told in ((f'{checkpoint}', 'cls+pool', []),
                                            (f'{folder}/model.safetensors', 'pool', flags)):
                result = self.run_program(KNN, f'--checkpoint={weights}', f'--data_path={pictures}', '--device=cpu',
                                          '--k=1', f'--features={features}', *told)
                self.assertIn('%', result, name)


if __name__ == '__main__':
    unittest.main()
