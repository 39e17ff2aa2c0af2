"""Our decoders against Pillow: generated files of every format, and damaged ones, must give the same pixels, whole and
by regions, as RGB and as grey, and of PNG the numbers of a mask; what only one of the two takes must be one of the
kinds that are known, with reasons.

    ./bazelw run //tools/consumers:pillow_test
"""

import io
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest
import warnings
import zlib

import numpy as np
from PIL import Image

from picture_files import make_files

PICTURE_PIXELS = 'tools/consumers/picture_pixels'
FORMATS = ['JPEG', 'PNG', 'GIF', 'WEBP', 'TIFF', 'BMP', 'PPM']
MUTATIONS = 20000
CHANNELS = {'RGB': 3, 'L': 1}
NUMBERS = 'numbers'
# A damaged header may claim a large picture, which would cost both sides time and tell nothing.
MOST_PIXELS = 1 << 20

# Pillow takes them and we do not: a pattern of the name, one of our message.
REFUSED_BY_US = [
    # docs/data.md names these kinds.
    (r'\.tif$', r'TIFF images of photometric interpretation'),
    # Of TIFF without compression Pillow reads the tags by itself, and takes some for what they are not.
    (r'\.tif$', r'the TIFF cannot be (opened|decoded)'),
    ('', r'not supported'),
    # A tRNS of more than 256 entries: Pillow refuses it for RGB, too.
    (r'palette_alphas\.png', r'its palette is too long'),
]
# We take them and Pillow does not.
REFUSED_BY_PILLOW = [
    # Alpha in planes of their own, or no word about what a sample beyond the colours is.
    (r'\.tif$', r"unknown raw mode|UnidentifiedImageError|conversion from La"),
    (r'\.tif$', r'image file is truncated|decoder error'),
    # Headers that Pillow reads by itself to the last byte, and the decoders need not.
    (r'\.(jpg|gif)$', r'UnidentifiedImageError'),
    # What follows the last pixel of a plain bitmap.
    (r'\.pnm$', r'Invalid token for this mode'),
]
# Tags of TIFF.
BITS, COMPRESSION, PHOTOMETRIC, ROWS_PER_STRIP, STRIP_OFFSETS, STRIP_BYTES, PLANES = 258, 259, 262, 278, 273, 279, 284
NONE, DEFLATE, ZSTD = 1, (8, 32946), 50000


def crc(image, box=None):
    if box is not None:
        top, left, height, width = box
        image = image.crop((left, top, left + width, top + height))
    return zlib.crc32(image.tobytes())


def numbers_of(image):
    """As they are stored: of grey of 2 and 4 bits numpy.asarray() has multiples of them."""
    stored = image.tile[0].args if image.tile else ''
    image.load()
    if image.mode not in ('1', 'L', 'P'):
        raise ValueError('no mask')
    return Image.fromarray(np.asarray(image).astype(np.uint8) // {'L;2': 85, 'L;4': 17}.get(stored, 1))


def of_pillow(path, mode):
    """The picture, or the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            # As torchvision opens files. By their names Pillow maps some into memory, and reads rows that overlap.
            with open(path, 'rb') as file, Image.open(file, formats=FORMATS) as image:
                if image.size[0] * image.size[1] > MOST_PIXELS:
                    return None
                return numbers_of(image) if mode == NUMBERS else image.convert(mode)
    except Exception as error:  # Pillow's plugins let out errors of every kind.
        return error


def strips_of(data):
    """Compression and strips of a TIFF by Pillow's reader of tags; None where the tags do not say where strips are."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with Image.open(io.BytesIO(data), formats=['TIFF']) as image:
            tags, height = image.tag_v2, image.size[1]
            offsets, sizes, rows = (tags.get(tag) for tag in (STRIP_OFFSETS, STRIP_BYTES, ROWS_PER_STRIP))
            compression = tags.get(COMPRESSION, NONE)
    if offsets is None or sizes is None or not rows or len(offsets) != len(sizes) or len(offsets) != -(-height // rows):
        return compression, None
    if any(offset + size > len(data) for offset, size in zip(offsets, sizes)):
        return compression, None
    return compression, [data[offset:offset + size] for offset, size in zip(offsets, sizes)]


def picture_of_planes(data, mode):
    """The picture of a TIFF of 16 bits a sample, in planes of their own, without compression: the high bytes. Pillow
    takes them for 8 bits a sample and gives other pixels. None: it is no such file, or not a whole one."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with Image.open(io.BytesIO(data), formats=['TIFF']) as image:
            tags, (width, height) = image.tag_v2, image.size
    first = 0 if tags.prefix == b'MM' else 1  # Where the high byte is.
    rows, offsets = tags.get(ROWS_PER_STRIP), tags.get(STRIP_OFFSETS, ())
    if (set(tags.get(BITS, ())) != {16} or tags.get(PLANES) != 2 or tags.get(COMPRESSION, NONE) != NONE or
            tags.get(PHOTOMETRIC) != 2 or not rows):
        return None
    strips = -(-height // rows)
    planes = []
    for plane in range(3):
        samples = b''
        for strip in range(strips):
            size = 2 * width * min(rows, height - strip * rows)
            at = offsets[plane * strips + strip] if plane * strips + strip < len(offsets) else len(data)
            if at + size > len(data):
                return None
            samples += data[at:at + size]
        planes.append(Image.frombytes('L', (width, height), samples[first::2]))
    return Image.merge('RGB', planes).convert(mode)


def inflates(strip):
    try:
        zlib.decompress(strip)
        return True
    except zlib.error:
        return False


def may_differ(original, damaged):
    """Whether decoders may make other pixels of a damaged TIFF: of compressed data that break off in the middle one
    library gives more than another, and where tags contradict each other Pillow's reader of them, which uncompressed
    files go through, follows others than libtiff."""
    compression, strips = strips_of(damaged)
    if compression == NONE:
        return strips is None
    if strips is None:
        return False
    if compression in DEFLATE:
        return not all(inflates(strip) for strip in strips)
    # Python 3.11 cannot decompress it, but knows whether it is damaged.
    return compression == ZSTD and strips != strips_of(original)[1]


class Decoder:
    """Our side, one process for all files."""

    def __init__(self):
        self.process = subprocess.Popen([PICTURE_PIXELS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, path, channels, boxes=()):
        fields = [path, str(channels)] + [' '.join(map(str, box)) for box in boxes]
        self.process.stdin.write('\t'.join(fields) + '\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline().rstrip('\n')
        if not line:
            raise AssertionError(f'picture_pixels ended at {path}: exit code {self.process.wait()}')
        return line

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Comparison:
    def __init__(self, decoder):
        self.decoder = decoder
        self.equal = self.refused = self.skipped = self.planes = 0
        self.said_otherwise = {}
        self.failures = []

    def compare(self, name, path, boxes_of=lambda height, width: [], mode='RGB', original=None):
        """original: what the file was before it was damaged."""
        theirs = of_pillow(path, mode)
        if theirs is None:
            self.skipped += 1
            return
        good = isinstance(theirs, Image.Image)
        boxes = boxes_of(theirs.height, theirs.width) if good else []
        ours = self.decoder(path, CHANNELS.get(mode, 0), boxes)
        if name.endswith('.tif') and good and ours.startswith('ok '):
            with open(path, 'rb') as file:
                right = picture_of_planes(file.read(), mode)
            if right is not None:
                self.planes += 1
                theirs = right
        if not good and not ours.startswith('ok '):
            self.refused += 1
        elif good and ours.startswith('ok '):
            expected = ' '.join(map(str, ['ok', theirs.height, theirs.width, crc(theirs)] +
                                    [crc(theirs, box) for box in boxes]))
            if ours == expected:
                self.equal += 1
            elif ours.split()[:3] == expected.split()[:3] and self.differs_for_a_reason(path, original):
                self.said_otherwise['pixels of TIFF'] = self.said_otherwise.get('pixels of TIFF', 0) + 1
            else:
                self.failures.append(f'{name} {mode}: {ours}, Pillow: {expected}')
        else:
            text = f'{ours}, Pillow: {theirs!r}'
            known = REFUSED_BY_US if good else REFUSED_BY_PILLOW
            for pattern, message in known:
                if re.search(pattern, name) and re.search(message, text):
                    self.said_otherwise[message] = self.said_otherwise.get(message, 0) + 1
                    return
            self.failures.append(f'{name} {mode}: {text}')

    @staticmethod
    def differs_for_a_reason(path, original):
        if original is None or not path.endswith('.tif'):
            return False
        with open(path, 'rb') as file:
            return may_differ(original, file.read())

    def __str__(self):
        return (f'{self.equal} equal ({self.planes} of them to 16-bit planes), {self.refused} refused by both, '
                f'{self.skipped} too large, known to differ: '
                f'{self.said_otherwise or "none"}, failures: {len(self.failures)}')


def some_boxes(height, width):
    """Random ones, of any size, and the corners."""
    source = random.Random(height * 7919 + width)
    boxes = [(0, 0, 1, 1), (height - 1, width - 1, 1, 1)]
    for _ in range(4):
        h, w = source.randint(1, height), source.randint(1, width)
        boxes.append((source.randint(0, height - h), source.randint(0, width - w), h, w))
    return boxes


def mutate(data, source):
    """One to three changes, half of them in the first 128 bytes, where headers are. Half of the files keep their
    size."""
    data = bytearray(data)
    kinds = source.choice((3, 8))
    for _ in range(source.randint(1, 3)):
        if not data:
            break
        reach = min(len(data), 128) if source.random() < 0.5 else len(data)
        at = source.randrange(reach)
        length = source.randint(1, min(64, len(data) - at))
        kind = source.randrange(kinds)
        if kind == 0:
            data[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            data[at] = source.randrange(256)
        elif kind == 2:
            size = source.choice((2, 4))
            value = source.choice((0, 1, 0x7f, 0xff, 0x7fff, 0xffff)) & (256 ** size - 1)
            data[at:at + size] = value.to_bytes(size, source.choice(('big', 'little')))
        elif kind == 3:
            del data[len(data) - source.randint(1, min(len(data), 40)):]  # Near the end, where trailers are.
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            del data[at:at + length]
        elif kind == 6:
            data[at:at] = data[at:at + length]
        else:
            moved = data[at:at + length]
            del data[at:at + length]
            to = source.randint(0, len(data))
            data[to:to] = moved
    return bytes(data)


class PillowTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.decoder = Decoder()
        cls.files = make_files()

    @classmethod
    def tearDownClass(cls):
        cls.decoder.close()

    def finish(self, what, comparison):
        print(f'{what}: {comparison}')
        shown = '\n'.join(comparison.failures[:int(os.environ.get('MOST_FAILURES', 60))])
        self.assertFalse(comparison.failures, shown)

    def test_generated_files(self):
        self.assertGreaterEqual(len(self.files), 1500)
        self.assertEqual({name.split('.')[-1] for name in self.files},
                         {'jpg', 'png', 'gif', 'bmp', 'tif', 'webp', 'pnm'})
        comparison = Comparison(self.decoder)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in self.files.items():
                path = os.path.join(folder, 'picture.' + name.split('.')[-1])
                with open(path, 'wb') as file:
                    file.write(data)
                comparison.compare(name, path, some_boxes)
                comparison.compare(name, path, some_boxes, 'L')
                if name.endswith('.png'):
                    comparison.compare(name, path, mode=NUMBERS)
        self.finish(f'{len(self.files)} generated files', comparison)
        # Files that nobody takes would compare nothing.
        self.assertGreater(comparison.equal, 1.5 * len(self.files))

    def test_damaged_files(self):
        comparison = Comparison(self.decoder)
        source = random.Random(1)
        seeds = [(name, data) for name, data in self.files.items() if len(data) < 4000]
        with tempfile.TemporaryDirectory() as folder:
            for number in range(MUTATIONS):
                name, data = seeds[source.randrange(len(seeds))]
                path = os.path.join(folder, 'picture.' + name.split('.')[-1])
                damaged = mutate(data, source)
                with open(path, 'wb') as file:
                    file.write(damaged)
                before = len(comparison.failures)
                comparison.compare(f'{number} {name}', path, some_boxes if number % 4 == 0 else lambda h, w: [],
                                   original=data)
                if name.endswith('.png'):
                    comparison.compare(f'{number} {name}', path, mode=NUMBERS)
                keep = os.environ.get('KEEP_FAILURES')
                if keep and len(comparison.failures) > before:
                    with open(os.path.join(keep, f'{number}_{name}'), 'wb') as file:
                        file.write(damaged)
        self.finish(f'{MUTATIONS} damaged files', comparison)
        self.assertGreater(comparison.equal, MUTATIONS / 10)


if __name__ == '__main__':
    unittest.main(verbosity=2)
