"""Segmentation by //eval:dense beside the same written with Pillow, timm, scikit-learn and PyTorch.

Pictures and masks are made here: discs and boxes of the colours of their classes, more or less, with a border of
ignored pixels. The encoder is timm's, its weights random.
"""

import json
import os
import subprocess
import tempfile
import unittest

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

DENSE = 'eval/dense/dense'
SIZE, PATCH, WIDTH, DEPTH, HEADS = 32, 8, 64, 2, 4
IGNORED, CLASSES = 255, 4
POINTS = 0.1  # Of the issue, percent.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Stream:
    """tec/base/random.h: Philox4x32-10 of a key."""

    MASK = 2**64 - 1

    def __init__(self, seed, purpose, epoch, sample):
        mixed = self.mix(self.mix(seed) ^ (purpose << 32) ^ epoch)
        self.key = mixed & 0xFFFFFFFF, mixed >> 32
        self.place, self.sample, self.block = 0, sample, []

    @classmethod
    def mix(cls, x):
        x = (x + 0x9E3779B97F4A7C15) & cls.MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & cls.MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & cls.MASK
        return x ^ (x >> 31)

    def next32(self):
        if not self.block:
            c = [self.place & 0xFFFFFFFF, self.place >> 32, self.sample & 0xFFFFFFFF, self.sample >> 32]
            k = list(self.key)
            for _ in range(10):
                a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
                c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
                k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
            self.place += 1
            self.block = c
        return self.block.pop(0)

    def next64(self):
        high = self.next32()
        return high << 32 | self.next32()

    def double(self):
        return (self.next64() >> 11) * 2.0**-53

    def below(self, bound):
        threshold = (2**64 - bound) % bound
        value = self.next64()
        while value < threshold:
            value = self.next64()
        return value % bound

    def permutation(self, n):
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order


CROP, INITIALISE, SHUFFLE = 1, 3, 4


def make_pair(random, folder, part, number):
    height, width = random.integers(24, 60, 2)
    mask = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    for _ in range(3):
        cy, cx, r, number_of = random.uniform(0, height), random.uniform(0, width), random.uniform(5, 16), \
            random.integers(1, CLASSES)
        inside = np.maximum(abs(y - cy), abs(x - cx)) < r if number_of == 2 else (y - cy)**2 + (x - cx)**2 < r * r
        edge = np.maximum(abs(y - cy), abs(x - cx)) < r + 1 if number_of == 2 else \
            (y - cy)**2 + (x - cx)**2 < (r + 1)**2
        mask[edge & ~inside] = IGNORED
        mask[inside] = number_of
    colours = np.array([[90, 90, 90], [170, 100, 90], [90, 160, 100], [110, 100, 180]], float)
    picture = colours[np.where(mask == IGNORED, 0, mask)] + random.normal(0, 35, (height, width, 3))
    for kind, pixels in ('images', picture.clip(0, 255).astype(np.uint8)), ('masks', mask):
        target = os.path.join(folder, kind, part)
        os.makedirs(target, exist_ok=True)
        image = Image.fromarray(pixels)
        if kind == 'masks' and number % 2:
            image = image.convert('P')
            image.putpalette([(7 * i) % 256 for i in range(768)])
        image.save(os.path.join(target, f'{number:03}.png'))


class DenseTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder, cls.data = folder.name, folder.name + '/data'
        random = np.random.default_rng(1)
        for part, count in ('train', 40), ('val', 12):
            for number in range(count):
                make_pair(random, cls.data, part, number)
        torch.manual_seed(0)
        cls.model = timm.create_model('vit_base_patch16_224', img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH,
                                      depth=DEPTH, num_heads=HEADS, num_classes=0).eval()
        with torch.no_grad():
            for parameter in cls.model.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.05)
        torch.save(cls.model.state_dict(), cls.folder + '/encoder.pth')

    def dense(self, output, *flags):
        result = subprocess.run(
            [DENSE, '--device=cpu', '--threads=2', '--num_workers=1', f'--checkpoint={self.folder}/encoder.pth',
             f'--heads={HEADS}', f'--data_path={self.data}', f'--output_dir={output}', *flags],
            capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        with open(output + '/results.json') as file:
            return json.load(file)

    def pair(self, part, name):
        stem = os.path.splitext(name)[0]
        return (Image.open(f'{self.data}/images/{part}/{name}').convert('RGB'),
                Image.open(f'{self.data}/masks/{part}/{stem}.png'))

    @staticmethod
    def normalised(image):
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    # CAPI's protocol.

    def patches(self, part, names):
        features, labels = [], []
        grid = SIZE // PATCH
        for name in names:
            picture, mask = self.pair(part, name)
            picture = picture.resize((SIZE, SIZE), Image.BICUBIC)
            mask = np.asarray(mask.resize((SIZE, SIZE), Image.NEAREST))
            with torch.no_grad():
                tokens = self.model.forward_features(self.normalised(picture)[None])[0, 1:]
            features.append(tokens.numpy())
            labels.append(mask.reshape(grid, PATCH, grid, PATCH).swapaxes(1, 2).reshape(grid * grid, -1))
        return np.concatenate(features), np.concatenate(labels)

    @staticmethod
    def mode(numbers):
        """The most frequent along the last axis, of equally frequent ones the smallest."""
        return (numbers[..., None] == np.arange(256)).sum(-2).argmax(-1)

    @staticmethod
    def scores(truth, predicted):
        kept = truth != IGNORED
        return (100 * jaccard_score(truth[kept], predicted[kept], average='macro', zero_division=0),
                100 * (truth[kept] == predicted[kept]).mean())

    def same(self, ours, theirs, what):
        for name, value in zip(('miou', 'accuracy'), theirs):
            self.assertLessEqual(abs(ours[name] - value), POINTS, f'{what}: {name}')

    def test_knn_and_logistic_regression(self):
        ks, cs = (1, 3, 10), (0.001, 0.1, 10)
        ours = self.dense(self.folder + '/capi', '--k=' + ','.join(map(str, ks)), '--c=' + ','.join(map(str, cs)),
                          '--tolerance=1e-8', '--max_iterations=3000', '--batch_size=7')
        names = sorted(os.listdir(self.data + '/images/train'))
        aside = ours['validation_images']
        self.assertEqual(len(aside), 4)
        fitted = self.patches('train', [name for name in names if name not in aside])
        validation = self.patches('train', aside)
        test = self.patches('val', sorted(os.listdir(self.data + '/images/val')))
        scaler = StandardScaler().fit(fitted[0])
        fitted, validation, test = [(scaler.transform(x), y) for x, y in (fitted, validation, test)]

        def with_class(x, y):
            kept = self.mode(y) != IGNORED
            return x[kept], y[kept]

        def knn(bank, queries, k, distance):
            metric = 'cosine' if distance == 'cosine' else 'euclidean'
            search = NearestNeighbors(n_neighbors=k, metric=metric, algorithm='brute').fit(bank[0])
            nearest = search.kneighbors(queries[0], return_distance=False)
            return self.scores(queries[1].ravel(), self.mode(bank[1][nearest].swapaxes(1, 2)).ravel())

        def logistic(bank, queries, c):
            regression = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(bank[0], self.mode(bank[1]))
            predicted = regression.predict(queries[0])
            return self.scores(queries[1].ravel(), np.repeat(predicted, queries[1].shape[1]))

        bank = with_class(*fitted)
        self.assertEqual(len(ours['knn']['choices']), 6)
        for choice in ours['knn']['choices']:
            self.same(choice, knn(bank, validation, choice['k'], choice['distance']), str(choice))
        for choice in ours['logistic']['choices']:
            self.assertTrue(choice['converged'])
            self.same(choice, logistic(bank, validation, choice['c']), str(choice))
        whole = with_class(*[np.concatenate(both) for both in zip(fitted, validation)])
        best = max(ours['knn']['choices'], key=lambda choice: choice['miou'])
        self.assertEqual((best['k'], best['distance']), (ours['knn']['k'], ours['knn']['distance']))
        self.same(ours['knn'], knn(whole, test, best['k'], best['distance']), 'kNN')
        self.same(ours['logistic'], logistic(whole, test, ours['logistic']['c']), 'logistic regression')
        self.assertEqual(ours['knn']['pixels'], (test[1] != IGNORED).sum())
        # Better than the most frequent class everywhere, or nothing would be compared.
        constant = np.full(test[1].size, self.mode(test[1].ravel()[None])[0])
        self.assertGreater(ours['knn']['miou'], self.scores(test[1].ravel(), constant)[0] + 5)

    # Pixio's protocol.

    def tokens(self, images):
        with torch.no_grad():
            tokens = self.model.forward_features(images)
        return torch.cat([tokens[:, 1:], tokens[:, :1].expand_as(tokens[:, 1:])], 2)

    def logits(self, head, images):
        tokens = self.tokens(images)
        grid = SIZE // PATCH
        picture = tokens.permute(0, 2, 1).reshape(len(images), -1, grid, grid)
        return torch.nn.functional.interpolate(head(picture), (SIZE, SIZE), mode='bilinear', align_corners=True)

    def square(self, name, seed, epoch, index):
        picture, mask = self.pair('train', name)
        width, height = picture.size
        random, longer = Stream(seed, CROP, epoch, index), max(width, height)
        side = int(longer * 0.5) + random.below(2 * longer - int(longer * 0.5) + 1)
        if height > width:
            size = int(1.0 * width * side / height + 0.5), side
        else:
            size = side, int(1.0 * height * side / width + 0.5)
        picture, mask = picture.resize(size, Image.BICUBIC), mask.resize(size, Image.NEAREST)
        padded = max(SIZE, size[0]), max(SIZE, size[1])
        black, nothing = Image.new('RGB', padded), Image.new('L', padded, IGNORED)
        black.paste(picture, (0, 0))
        nothing.paste(Image.fromarray(np.asarray(mask)), (0, 0))
        left = random.below(padded[0] - SIZE + 1)
        top = random.below(padded[1] - SIZE + 1)
        box = left, top, left + SIZE, top + SIZE
        picture, mask = black.crop(box), nothing.crop(box)
        if random.double() < 0.5:
            picture, mask = [image.transpose(Image.FLIP_LEFT_RIGHT) for image in (picture, mask)]
        return self.normalised(picture), torch.from_numpy(np.asarray(mask).copy()).long()

    def evaluate(self, head):
        head.eval()
        stride = int(SIZE * 2 / 3)
        intersections, unions = np.zeros(CLASSES), np.zeros(CLASSES)
        for name in sorted(os.listdir(self.data + '/images/val')):
            picture, mask = self.pair('val', name)
            image, truth = self.normalised(picture)[None], np.asarray(mask)
            height, width = truth.shape
            total = torch.zeros(1, CLASSES, height, width)
            for row in range(0, height, stride):
                for column in range(0, width, stride):
                    rows, columns = min(SIZE, height - row), min(SIZE, width - column)
                    window = torch.zeros(1, 3, SIZE, SIZE)
                    window[:, :, :rows, :columns] = image[:, :, row:row + rows, column:column + columns]
                    with torch.no_grad():
                        p = self.logits(head, window).softmax(1)
                    total[:, :, row:row + rows, column:column + columns] += p[:, :, :rows, :columns]
            predicted, kept = total.argmax(1)[0].numpy(), truth != IGNORED
            for c in range(CLASSES):
                intersections[c] += ((predicted == c) & (truth == c) & kept).sum()
                unions[c] += (((predicted == c) | (truth == c)) & kept).sum()
        return 100 * np.mean(intersections / (unions + 1e-6))

    def test_linear_head(self):
        seed, epochs, batch, rate = 3, 4, 8, 0.01
        output = self.folder + '/pixio'
        ours = self.dense(output, '--protocol=pixio', f'--seed={seed}', f'--epochs={epochs}', f'--batch_size={batch}',
                          f'--lr={rate}')
        with open(output + '/log.txt') as file:
            log = [json.loads(line) for line in file]
        names = sorted(os.listdir(self.data + '/images/train'))

        head = torch.nn.Sequential(torch.nn.BatchNorm2d(2 * WIDTH), torch.nn.Conv2d(2 * WIDTH, CLASSES, 1))
        with torch.no_grad():
            for index, parameter in enumerate((head[1].weight, head[1].bias)):
                random, bound = Stream(seed, INITIALISE, 0, index), (2 * WIDTH)**-0.5
                values = [-bound + 2 * bound * random.double() for _ in range(parameter.numel())]
                parameter.copy_(torch.tensor(values).view_as(parameter))
        optimizer = torch.optim.AdamW(head.parameters(), lr=rate, betas=(0.9, 0.999), weight_decay=0.01)
        steps, best = len(names) // batch, 0
        for epoch in range(epochs):
            head.train()
            order, losses = Stream(seed, SHUFFLE, epoch, 0).permutation(len(names)), []
            for step in range(steps):
                chosen = order[step * batch:(step + 1) * batch]
                images, masks = zip(*[self.square(names[i], seed, epoch, i) for i in chosen])
                loss = torch.nn.functional.cross_entropy(self.logits(head, torch.stack(images)), torch.stack(masks),
                                                         ignore_index=IGNORED)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                # As in Pixio's script: set after an update, by its number.
                optimizer.param_groups[0]['lr'] = rate * (1 - (epoch * steps + step) / (steps * epochs))**0.9
                losses.append(loss.item())
            self.assertLessEqual(abs(log[epoch]['train_loss'] - np.mean(losses)), 1e-3, f'epoch {epoch}')
            miou = self.evaluate(head)
            self.assertLessEqual(abs(log[epoch]['test_miou'] - miou), POINTS, f'epoch {epoch}')
            best = max(best, miou)
        self.assertLessEqual(abs(ours['linear']['miou'] - best), POINTS)
        self.assertGreater(best, 30)

        # Our head in PyTorch, by its own names.
        state = torch.load(output + '/best_checkpoint.pth', weights_only=True)['model']
        head.load_state_dict({name.removeprefix('head.'): value for name, value in state.items()})
        self.assertLessEqual(abs(ours['linear']['miou'] - self.evaluate(head)), POINTS)


if __name__ == '__main__':
    unittest.main()
