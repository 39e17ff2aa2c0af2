"""Files of every kind of weight_kinds.py through every program that reads weights: all take or refuse each alike, with
one message. (That what is taken is right, weight_kinds_test.py compares.)"""

import itertools
import os
import re
import subprocess
import tempfile
import unittest

import numpy
import weight_kinds
from PIL import Image

KINDS = (weight_kinds.heads, weight_kinds.grids, weight_kinds.structure, weight_kinds.configs, weight_kinds.prefixes,
         weight_kinds.entries, weight_kinds.left_out, weight_kinds.token_mlps, weight_kinds.open_clip_folders)
# Of each kind so many that are refused and so many that are taken.
REFUSED, TAKEN = 1, 1
ONCE = ('--epochs=1', '--warmup_epochs=0')


class OneReaderTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.runs = itertools.count()
        random = numpy.random.RandomState(0)
        for split, label, number in itertools.product(('train', 'val'), 'ab', range(2)):
            path = f'{self.folder}/pictures/{split}/{label}'
            os.makedirs(path, exist_ok=True)
            Image.fromarray(random.randint(0, 256, (64, 64, 3)).astype('uint8')).save(f'{path}/{number}.png')
        mask = numpy.repeat(numpy.arange(64) // 32, 64).reshape(64, 64).astype('uint8')
        for kind, split, number in itertools.product(('images', 'masks'), ('train', 'val'), range(2)):
            path = f'{self.folder}/segmented/{kind}/{split}'
            os.makedirs(path, exist_ok=True)
            pixels = mask if kind == 'masks' else random.randint(0, 256, (64, 64, 3)).astype('uint8')
            Image.fromarray(pixels).save(f'{path}/{number}.png')

    def programs(self, file):
        """{name: command}, without what is told of the file."""
        out = f'{self.folder}/out{next(self.runs)}'
        weights = '--checkpoint=' + file.path
        system = ['--device=cpu', '--threads=1', '--num_workers=1']
        pictures = [f'--data_path={self.folder}/pictures', *system, '--batch_size=2']
        frozen = [weights, *pictures]
        trained = [*ONCE, '--noreport']
        return {
            'convert': ['tools/convert/convert', weights, f'--output_dir={out}/convert'],
            'export': ['tools/export/export', weights, f'--output={out}.onnx'],
            'embed': ['eval/embed/embed', *frozen, f'--output={out}.npy'],
            'knn': ['eval/knn/knn', *frozen, '--k=1', '--features=pool'],
            'linear': ['eval/linear/linear', *frozen, '--features=pool', *trained, f'--output_dir={out}/linear'],
            'dense': ['eval/dense/dense', weights, f'--data_path={self.folder}/segmented', *system, '--batch_size=2',
                      '--classifiers=knn', '--k=1', '--pictures=0', f'--output_dir={out}/dense'],
            'logistic': ['eval/logistic/logistic', *frozen, '--c=1', '--max_iterations=1', '--features=pool'],
            'finetune': ['eval/finetune/finetune', '--finetune=' + file.path, *pictures, *trained,
                         f'--output_dir={out}/finetune'],
            'pretrain': ['tec/pretrain', '--base_model=' + file.path, *pictures, '--last_layers=1', *trained,
                         f'--output_dir={out}/pretrain'],
        }

    def told(self, file, program):
        before = '--base_model_' if program == 'pretrain' else '--'
        told = [f'{before}{name}={value}' for name, value in (('family', file.family), ('entry', file.entry),
                                                             ('grid', file.grid)) if value]
        return told + ([f'--heads={file.heads}'] if file.heads and program != 'pretrain' else [])

    def answer(self, file, program, command):
        result = subprocess.run([*command, *self.told(file, program)], capture_output=True, text=True)
        text = result.stdout + result.stderr
        self.assertIn(result.returncode, (0, 1), f'{command}\n{text}')
        if result.returncode == 0:
            return 'taken'
        # Programs and what they are told by have names of their own.
        said = re.split(f'{program}: |error: base model: ', text)[-1].strip()
        return said.replace('--base_model_', '--').replace('base_model.encoder.heads', '--heads')

    def test_programs_agree(self):
        refusals = uses = 0
        for make in KINDS:
            files = list(make(weight_kinds.Folder(os.path.join(self.folder, make.__name__))))
            refused = [file for file in files if file.refused and file.features is None][:REFUSED]
            taken = [file for file in files if file.features and not file.refused and file.size == 64][:TAKEN]
            for file in refused + taken:
                programs = self.programs(file)
                # Of a base model, heads are a setting of the experiment: no flag tells them.
                if file.heads not in (0, weight_kinds.HEADS) or (file.heads and file in taken):
                    del programs['pretrain']
                answers = {name: self.answer(file, name, command) for name, command in programs.items()}
                expected = answers['knn']
                with self.subTest(f'{make.__name__}: {file.name}'):
                    self.assertEqual(expected == 'taken', file in taken, expected)
                    # Another program's names may have no place for what is read, or need no heads.
                    if 'the target has no place' in answers['convert'] or 'attention heads' in expected:
                        del answers['convert']
                    for name, answer in answers.items():
                        self.assertEqual(answer, expected, name)
                refusals += file in refused
                uses += file in taken
        self.assertGreater(refusals, 5)
        self.assertGreater(uses, 5)


if __name__ == '__main__':
    unittest.main()
