"""Reads the files of weight_kinds.py: each gives the features of its own code, or is refused with what is the
matter."""

import os
import re
import subprocess
import tempfile
import unittest

import safetensors.torch
import torch
import weight_kinds
import weight_variants
from vit_sweep import TOLERANCE, VIT_OUTPUTS


class WeightKindsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def images(self, size):
        pictures = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
        path = os.path.join(self.folder, f'images{size}')
        safetensors.torch.save_file({'images': pictures}, path)
        return path, pictures

    def difference(self, file, output):
        ours = safetensors.torch.load_file(output)
        cls, mean = file.features(self.images(file.size)[1])
        differences = [(ours['patch_mean'] - mean).abs().max()]
        if cls is not None and 'cls' in ours:
            differences.append((ours['cls'] - cls).abs().max())
        # torch's maximum of anything and not-a-number is not-a-number, Python's is not.
        difference = torch.stack(differences).max().item()
        self.assertGreater(mean.abs().max().item(), 0.1, file.name)
        return difference

    def check(self, file, answer, output):
        taken, message = answer.split('\t', 1)
        said = file.assumed is not None and re.search('assumed: .*' + file.assumed, message) is not None
        if taken != 'taken':
            if not isinstance(file, weight_kinds.EitherFile):
                self.assertIsNotNone(file.refused, message)
                self.assertRegex(message, file.refused)
        elif file.features is None:
            self.assertTrue(said, 'taken: ' + message)
        else:
            difference = self.difference(file, output)
            self.assertTrue(difference <= TOLERANCE or said, f'differs by {difference}: {message}')

    def kind(self, make, least):
        files = list(make(weight_kinds.Folder(os.path.join(self.folder, 'files'))))
        self.assertGreaterEqual(len(files), least)
        listed = os.path.join(self.folder, 'list')
        outputs = [os.path.join(self.folder, f'output{number}') for number in range(len(files))]
        with open(listed, 'w') as lines:
            for file, output in zip(files, outputs, strict=True):
                lines.write('\t'.join([file.path, file.family, str(file.heads), self.images(file.size)[0], output,
                                       file.entry, file.grid]) + '\n')
        result = subprocess.run([VIT_OUTPUTS, 'sweep', listed], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        for file, answer, output in zip(files, result.stdout.splitlines(), outputs, strict=True):
            with self.subTest(file.name):
                self.check(file, answer, output)

    def test_heads_that_the_width_does_not_tell(self):
        self.kind(weight_kinds.heads, 17)

    def test_position_tables_with_two_readings(self):
        self.kind(weight_kinds.grids, 30)

    def test_heads_of_many_widths(self):
        self.kind(weight_variants.more_heads, 100)

    def test_grids_of_many_sizes(self):
        self.kind(weight_variants.more_grids, 150)

    def test_values_that_are_not_finite(self):
        self.kind(weight_variants.values, 70)

    def test_structure_that_leaves_no_tensor(self):
        self.kind(weight_kinds.structure, 80)

    def test_a_config_of_another_model(self):
        self.kind(weight_kinds.configs, 45)

    def test_what_stands_before_the_names(self):
        self.kind(weight_kinds.prefixes, 100)

    def test_the_entry_of_a_file(self):
        self.kind(weight_kinds.entries, 40)

    def test_what_is_left_out(self):
        self.kind(weight_kinds.left_out, 45)

    def test_input_adaptors_of_any_width(self):
        self.kind(weight_kinds.token_mlps, 10)

    def test_folders_of_open_clip(self):
        self.kind(weight_kinds.open_clip_folders, 25)


if __name__ == '__main__':
    unittest.main()
