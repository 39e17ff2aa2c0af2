"""The numbers and pictures of //tools:report, and the vectors of //tools:embed, beside the same computed with timm and
NumPy from the run's weights and pictures."""

import base64
import io
import os
import re
import subprocess
import tempfile
import unittest

import numpy as np
import timm
import torch
from PIL import Image

PRETRAIN = 'tec/pretrain'
REPORT = 'eval/report/report'
EMBED = 'eval/embed/embed'
CONVERT = 'tools/convert/convert'
RELATIVE = 1e-3  # Of the issue: of the page's numbers.
TOLERANCE = 1e-4  # And of the vectors.
BANK, SHOWN, NEIGHBOURS = 120, 4, 20
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(*arguments):
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


class LookingTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.run_folder = os.environ.get('TEC_QUICKSTART') or cls.folder + '/run'
        if not os.path.exists(cls.run_folder):
            run(PRETRAIN, '--config=quickstart', '--epochs=1', '--noreport', '--output_dir=' + cls.run_folder)
        cls.page = cls.folder + '/report.html'
        run(REPORT, cls.run_folder + '/tec', f'--report_images={SHOWN}', f'--report_bank={BANK}',
            '--output=' + cls.page)
        cls.base, cls.new = [cls.checkpoint(name) for name in ('mae', 'tec')]
        train = cls.run_folder + '/pictures/train'
        names = sorted(os.listdir(train))
        files = [f'{train}/{name}/{file}' for name in names for file in sorted(os.listdir(f'{train}/{name}'))]
        cls.labels = [names.index(file.split('/')[-2]) for file in files]
        # Evenly spaced from the first on.
        chosen = [i * len(files) // BANK for i in range(BANK)]
        cls.bank, cls.labels = [files[i] for i in chosen], np.array([cls.labels[i] for i in chosen])
        cls.images = torch.stack([cls.image(file) for file in cls.bank])

    @classmethod
    def checkpoint(cls, name):
        folder = f'{cls.run_folder}/{name}'
        return folder + '/' + [name for name in sorted(os.listdir(folder)) if name.startswith('checkpoint-')][-1]

    @staticmethod
    def image(file):
        pixels = torch.from_numpy(np.asarray(Image.open(file).convert('RGB')).copy()).permute(2, 0, 1).float() / 255
        return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    def timm_model(self, checkpoint):
        """The encoder as timm loads what we export."""
        name = os.path.basename(os.path.dirname(checkpoint)) + '.pth'
        run(CONVERT, '--resume=' + checkpoint, '--to=timm', '--output_dir=' + self.folder, '--ckptname=' + name)
        state = torch.load(f'{self.folder}/{name}', weights_only=True)
        width, _, patch, _ = state['patch_embed.proj.weight'].shape
        depth = 1 + max(int(key.split('.')[1]) for key in state if key.startswith('blocks.'))
        with open(self.run_folder + '/tec/experiment.textproto') as file:
            heads = int(re.search(r'encoder \{[^}]*?heads: (\d+)', file.read())[1])
        model = timm.create_model('vit_base_patch16_224', img_size=self.images.shape[-1], patch_size=patch,
                                  embed_dim=width, depth=depth, num_heads=heads, num_classes=0)
        model.load_state_dict(state, strict=True)
        return model.eval()

    @staticmethod
    def pooled(model, images):
        with torch.no_grad():
            return model.forward_features(images)[:, 1:].mean(1).double().numpy()

    def table(self):
        """{encoder: [kNN, RankMe, deviation]} of the page."""
        with open(self.page) as file:
            html = file.read()
        section = re.search(r'<section id="did-it-help">.*?</section>', html, re.S)[0]
        rows = re.findall(r'<tr><td>([^<]*)<td>(.*?)\n', section)
        return {name: [float(value) for value in re.findall(r'<data value="([^"]*)"', row)] for name, row in rows}

    def test_numbers_of_the_page(self):
        table = self.table()
        newest = os.path.splitext(os.path.basename(self.new))[0]
        for name, checkpoint in (('base model', self.base), (newest, self.new)):
            features = self.pooled(self.timm_model(checkpoint), self.images)
            unit = features / np.linalg.norm(features, axis=1, keepdims=True)
            cosines = unit @ unit.T
            np.fill_diagonal(cosines, -np.inf)
            right = 0
            for row, label in zip(cosines, self.labels):
                nearest = np.argsort(-row)[:NEIGHBOURS]
                votes = np.bincount(self.labels[nearest], np.exp(row[nearest] / 0.07))
                right += votes.argmax() == label
            singular = np.linalg.svd(features, compute_uv=False)
            p = singular / singular.sum() + 1e-7
            rank_me = np.exp(-(p * np.log(p)).sum())
            deviation = unit.std(0, ddof=1).mean() * unit.shape[1]**0.5
            for ours, theirs, what in zip(table[name], (100 * right / BANK, rank_me, deviation),
                                          ('kNN', 'RankMe', 'deviation')):
                self.assertLessEqual(abs(ours - theirs), RELATIVE * abs(theirs), f'{what} of {name}: {ours}, {theirs}')

    def test_colours_are_principal_components(self):
        with open(self.page) as file:
            html = file.read()
        uris = re.findall(r'<img alt="" src="data:image/png;base64,([^"]*)"><figcaption>colours, base model<', html)
        self.assertEqual(len(uris), SHOWN)
        ours = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert('RGB')) for uri in uris])
        shown = self.images[[i * BANK // SHOWN for i in range(SHOWN)]]
        model = self.timm_model(self.base)
        with torch.no_grad():
            tokens = model.forward_intermediates(shown, indices=1, norm=False, output_fmt='NLC',
                                                 intermediates_only=True)
            tokens = torch.nn.functional.layer_norm(tokens[-1], tokens[-1].shape[-1:]).flatten(0, 1).double().numpy()
        centred = tokens - tokens.mean(0)
        directions = np.linalg.svd(centred, full_matrices=False)[2][:3].T
        # The largest number of each direction is positive.
        directions *= np.sign(directions[abs(directions).argmax(0), range(3)])
        coordinates = centred @ directions
        low, high = np.quantile(coordinates, 0.02, axis=0), np.quantile(coordinates, 0.98, axis=0)
        colours = ((coordinates - low) / (high - low)).clip(0, 1)
        difference = abs(ours.reshape(-1, 3) / 255 - colours)
        # A colour of the page is rounded to a 255th.
        self.assertLessEqual(difference.max(), 0.5 / 255 + RELATIVE)
        self.assertGreater(colours.std(), 0.1)

    def test_vectors(self):
        expected = self.pooled(self.timm_model(self.new), self.images)
        file_list, output = self.folder + '/bank.txt', self.folder + '/vectors.npy'
        with open(file_list, 'w') as file:
            file.write(''.join(f'{path}\n' for path in self.bank))
        run(EMBED, '--device=cpu', '--checkpoint=' + self.new, '--data_path=' + file_list, '--output=' + output)
        ours = np.load(output)
        self.assertEqual((ours.dtype, ours.shape), (np.float32, expected.shape))
        self.assertLessEqual(abs(ours - expected).max(), TOLERANCE)
        self.assertGreater(abs(expected).max(), 0.1)


if __name__ == '__main__':
    unittest.main()
