"""Pictures as people keep them, through the programs: what Pillow and tarfile read is read, what is not is named.

    ./bazelw run //tools/consumers:kept_test
"""

import gzip
import io
import json
import os
import re
import struct
import subprocess
import tarfile
import tempfile
import unittest
import zipfile
import zlib

from PIL import Image

from made_pixels import picture, saved

VERIFY_DATASET, PRETRAIN, KNN, PIXELS = (
    os.path.abspath(program) for program in ('tools/verify_dataset/verify_dataset', 'tec/pretrain', 'eval/knn/knn',
                                             'tools/consumers/picture_pixels'))
MAE = '''method: MAE
model {
  name: "custom"
  encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 }
  decoder { width: 8 depth: 1 heads: 2 }
}
optimizer { batch_size: 4 lr: 1e-3 }
schedule { epochs: 1 warmup_epochs: 0 }
'''
# Paths are to be taken from where the test stands, not from where it was started.
os.environ.pop('BUILD_WORKING_DIRECTORY', None)
TWIN = struct.pack('>II16sH', 0x00051607, 0x00020000, b'Mac OS X        ', 2) + bytes(100)


def jpeg(number=0, **options):
    return saved(Image.fromarray(picture(20, 24, seed=number)), 'JPEG', **options)


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def run(program, *arguments):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


class KeptTest(unittest.TestCase):

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(temporary.name)

    def write(self, path, data):
        path = os.fsencode(path)
        os.makedirs(os.path.dirname(path) or b'.', exist_ok=True)
        with open(path, 'wb') as file:
            file.write(data if isinstance(data, bytes) else data.encode())

    def tree(self, root='data', classes=(b'cat', b'dog'), each=8):
        number = 0
        for part, count in ((b'train', each), (b'val', 2)):
            for name in classes:
                for _ in range(count):
                    self.write(os.path.join(os.fsencode(root), part, name, b'%d.jpg' % number), jpeg(number))
                    number += 1

    def tar(self, path, members, **options):
        """Members: name, bytes; or name, kind, target."""
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with tarfile.open(path, 'w', format=tarfile.GNU_FORMAT, **options) as archive:
            for name, *what in members:
                info = tarfile.TarInfo(name)
                if len(what) == 1:
                    info.size = len(what[0])
                    archive.addfile(info, io.BytesIO(what[0]))
                else:
                    info.type, info.linkname = what
                    archive.addfile(info)

    def verify(self, path, *said, code=0, **options):
        found, output = run(VERIFY_DATASET, path, *options.get('flags', ()))
        output = output.decode()
        self.assertEqual(found, code, output)
        for text in said:
            self.assertIn(text, output)
        return output

    def same_pixels(self, paths):
        """As Pillow has them."""
        lines = ''.join(f'{path}\t3\n' for path in paths)
        done = subprocess.run([PIXELS], input=lines, stdout=subprocess.PIPE, text=True, check=True)
        for path, line in zip(paths, done.stdout.splitlines(), strict=True):
            with Image.open(path) as image:
                self.assertEqual(line, f'ok {image.height} {image.width} {zlib.crc32(image.convert("RGB").tobytes())}',
                                 path)

    def checkpoint(self):
        self.write('mae.textproto', MAE)
        self.tree('small', each=4)
        code, output = run(PRETRAIN, '--config=mae.textproto', '--data_path=small', '--device=cpu', '--threads=1',
                           '--noreport', '--output_dir=mae')
        self.assertEqual(code, 0, output)
        return 'mae/this_checkpoint.pth'

    def test_files_with_every_row(self):
        files = {}
        for name, options in (('baseline', {}), ('restarts', {'restart_marker_rows': 1}),
                              ('progressive', {'progressive': True})):
            whole = jpeg(**options)
            for what, tail in (('zeros', bytes(512)), ('ones', b'\xff' * 7), ('nothing', b'')):
                files[f'{name}_{what}.jpg'] = whole[:-2] + tail
            files[f'{name}_tables_first.jpg'] = b'\xff\xd8\xff\xd9' + whole
        big = saved(Image.fromarray(picture(64, 80)), 'JPEG', progressive=True, quality=50)
        scans = [at for at in range(len(big) - 1) if big[at:at + 2] == b'\xff\xda']
        for scan in range(1, len(scans)):
            files[f'scans{scan}.jpg'] = big[:scans[scan]] + b'\xff\xd9'
        whole = saved(Image.fromarray(picture(20, 24)), 'PNG')
        for cut in (1, 4, 8, 12, 13, 16, 18):
            files[f'cut{cut}.png'] = whole[:-cut]
        row = bytes(picture(1, 700).reshape(-1))
        stream = bytearray(zlib.compress((b'\0' + row) * 60, 9))
        for bits in range(8, 16):
            stream[0] = (bits - 8) << 4 | 8
            stream[1] = 0
            stream[1] = 31 - (stream[0] << 8) % 31
            header = struct.pack('>IIBBBBB', 700, 60, 8, 2, 0, 0, 0)
            chunks = chunk(b'IHDR', header) + chunk(b'IDAT', bytes(stream)) + chunk(b'IEND', b'')
            files[f'window{bits}.png'] = b'\x89PNG\r\n\x1a\n' + chunks
        bitmap = bytearray(saved(Image.fromarray(picture(11, 13)), 'BMP'))
        bitmap[10:14] = bytes(4)
        files['zero.bmp'] = bytes(bitmap)
        for name, data in files.items():
            self.write('data/' + name, data)

        def good(name):
            try:
                with Image.open('data/' + name) as image:
                    image.load()
                return True
            except OSError:
                return False

        output = self.verify('data', f'pictures: {len(files)}, without labels', code=1)
        refused = {name for name in files if not good(name)}
        self.assertEqual(set(re.findall(r'^    (\S+): ', output, re.MULTILINE)), refused)
        self.same_pixels(['data/' + name for name in files if good(name)])
        self.assertGreaterEqual(sum(map(good, files)), 30)

    def test_names_of_any_bytes(self):
        checkpoint = self.checkpoint()
        self.tree('data', (b'caf\xe9', b'red\x1b[31m', 'čaj'.encode()))
        code, output = run(KNN, '--checkpoint=' + checkpoint, '--data_path=data', '--k=1', '--device=cpu',
                           '--threads=1', '--output_dir=out')
        self.assertEqual(code, 0, output)
        self.assertNotIn(b'\x1b', output)
        with open('out/results.json', encoding='utf-8') as file:
            self.assertEqual(json.load(file)['classes'], ['caf\\xe9', 'red\x1b[31m', 'čaj'])

    def test_a_bad_picture_is_listed_once(self):
        self.checkpoint()
        self.write('small/train/cat/a\nb\tc\x1b[31m.jpg', 'junk')
        for epochs in (1, 2, 3):
            code, output = run(PRETRAIN, '--config=mae.textproto', '--data_path=small', '--device=cpu', '--threads=1',
                               '--noreport', '--output_dir=bad', f'--epochs={epochs}')
            self.assertEqual(code, 0, output)
            self.assertNotIn(b'\x1b', output)
            with open('bad/bad_images.txt', encoding='utf-8') as file:
                self.assertEqual([line.split('\t')[0] for line in file], ['cat/a\\x0ab\\x09c\\x1b[31m.jpg'])

    def test_members_of_tars(self):
        pictures = [(f'{n}.jpg', jpeg(n)) for n in range(6)]
        labelled = [member for n in range(20) for member in ((f'{n}.jpg', jpeg(n)), (f'{n}.cls', b'%d' % (n % 2)))]
        self.tar('hard.tar', labelled[:6] + [('3.jpg', tarfile.LNKTYPE, '2.jpg')] + labelled[7:])
        self.verify('hard.tar', 'pictures: 20 in 2 classes, 10 (0) to 10 (1) each', 'bad: 0')
        for kind, what in ((b'V', 'volume labels 1'), (tarfile.FIFOTYPE, 'FIFOs 1'), (tarfile.CHRTYPE, 'devices 1'),
                           (b'D', 'lists of a dumped folder 1'), (b'Z', 'members of unknown kinds 1')):
            self.tar('odd.tar', pictures[:3] + [('odd', kind, '')] + pictures[3:])
            self.verify('odd.tar', 'pictures: 6,', 'bad: 0', '1 member of archives passed over: ' + what)
        self.tar('links.tar', pictures + [('a/l.jpg', tarfile.SYMTYPE, '../1.jpg'), ('d', tarfile.SYMTYPE, 'a'),
                                          ('n.jpg', tarfile.SYMTYPE, '/etc/passwd')])
        self.verify('links.tar', 'pictures: 7,', 'links to nothing 1', 'links to folders or to files')
        self.tar('absolute.tar', [(f'/data/{"ab"[n % 2]}/{n}.jpg', jpeg(n)) for n in range(6)])
        self.verify('absolute.tar', 'pictures: 6 in 2 classes, 3 (a) to 3 (b) each', 'bad: 0')
        with open('hard.tar', 'rb') as file:
            whole = file.read()
        self.write('twice.tar', whole + whole)
        self.verify('twice.tar', 'pictures: 40 in 2 classes', 'bad: 0')
        self.write('cut.tar', whole.rstrip(b'\0')[:-1400])
        self.verify('cut.tar', 'broken archive, of which pictures are lost', code=1)

    def test_labels_of_archives(self):
        for part, count in (('train', 8), ('val', 2)):
            for name in ('n01440764', 'n01443537'):
                self.tar(f'classes/{part}/{name}.tar', [(f'{name}_{n}.JPEG', jpeg(n)) for n in range(count)])
        self.verify('classes', 'training pictures: 16 in 2 classes, 8 (n01440764) to 8 (n01443537) each')
        with tarfile.open('all.tar', 'w') as archive:
            for name in ('n01440764', 'n01443537'):
                archive.add(f'classes/train/{name}.tar', name + '.tar')
        self.verify('all.tar', 'pictures: 16 in 2 classes, 8 (n01440764) to 8 (n01443537) each')
        self.tar('apart/train.tar', [(f'{n}.jpg', jpeg(n)) for n in range(8)] + [(f'{n}.cls', b'0') for n in range(8)])
        self.verify('apart', '8 labels (.cls, .json) in apart/train.tar do not stand beside their picture',
                    'tar --sort=name')
        self.tar('dotted.tar', [(f'train/{c}.{n}.jpg', jpeg(n)) for c in ('cat', 'dog') for n in range(20)])
        self.verify('dotted.tar', 'pictures: 40,', 'bad: 0')
        self.tar('packed.tar', [('n01440764.tar.gz', b'x'), ('n01443537.tgz', b'x')])
        self.verify('packed.tar', 'in an archive, not opened: unpack it', code=1)
        self.tar('gap/cat.tar', [('0.jpg', jpeg())])
        self.tar('gap/dog.tar', [('notes.txt', b'x')])
        self.verify('gap', 'archives, which stand for a class each, have no picture: dog.tar')
        for number in (0, 2):
            self.tar(f'numbered/train-0000{number}-of-00003.tar', [(f'{n}.jpg', jpeg(n)) for n in range(3)])
        self.verify('numbered', 'pictures: 6, without labels', 'are a numbering and no classes')
        self.verify('numbered/train-{00000,00002}-of-00003.tar', 'pictures: 6, without labels')

    def test_zips(self):
        members = [(f'{"ab"[n % 2]}/{n}.jpg', jpeg(n)) for n in range(8)]
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with zipfile.ZipFile('a.zip', 'w', method) as archive:
                for name, data in members + [('__MACOSX/a/._0.jpg', TWIN), ('.DS_Store', b'x')]:
                    with archive.open(name, 'w', force_zip64=True) as file:
                        file.write(data)
            with open('a.zip', 'rb') as file:
                whole = file.read()
            self.verify('a.zip', 'pictures: 8 in 2 classes, 4 (a) to 4 (b) each', 'bad: 0')
            self.write('behind.zip', b'#!/bin/sh\n' + whole)
            self.verify('behind.zip', 'pictures: 8 in 2 classes', 'bad: 0')
            self.write('cut.zip', whole[:-40])
            self.verify('cut.zip', 'the archive is cut or no zip', code=1)
            # A bit of a picture, and one of what the directory says of one: zipfile raises.
            directory = whole.rfind(b'PK\1\2')
            for at in (whole.index(b'PK\3\4') + 300, whole.rindex(b'PK\1\2', 0, directory - 200) + 16):
                self.write('bit.zip', whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
                with zipfile.ZipFile('bit.zip') as archive, self.assertRaises((zipfile.BadZipFile, zlib.error)):
                    for name in archive.namelist():
                        archive.read(name)
                self.verify('bit.zip', 'pictures: 8 in 2 classes', 'bad: 1', code=1)
            end = whole.rindex(b'PK\5\6') + 4
            self.write('volumes.zip', whole[:end] + b'\2\0\2\0' + whole[end + 4:])
            self.verify('volumes.zip', 'a zip of several volumes: put them together', code=1)

    def test_lists(self):
        self.tree()
        names = [f'data/train/{c}/{n}.jpg' for c, first in (('cat', 0), ('dog', 8)) for n in range(first, first + 8)]
        lines = [f'{name} {int("dog" in name)}' for name in names]
        table = [f'"{name}","{name.split("/")[2]}"' for name in names]
        for name, text in (('bom', '\ufeff' + '\n'.join(lines)), ('blank', ''.join(line + ' \t\n' for line in lines)),
                           ('windows', '\r\n'.join(lines).replace('/', '\\')), ('quoted', '\n'.join(
                               f'"{path}" {label}' for path, label in map(str.split, lines))),
                           ('table', '\n'.join(['"path","label"'] + table))):
            self.write(name + '.txt', text)
            self.verify(name + '.txt', 'pictures: 16 in 2 classes, 8 (', 'bad: 0')
        for name, end in (('nbsp', '\u00a0'), ('ideographic', '\u3000 '), ('tab', '\t\u2009')):
            self.write(name + '.txt', ''.join(line + end + '\n' for line in lines))
            self.verify(name + '.txt', 'pictures: 16 in 2 classes, 8 (', 'bad: 0')
        for column, train, test in (('split', 'train', 'test'), ('subset', 'Training', 'val'), ('is_train', '1', '0')):
            parts = [f'path,label,{column}'] + [f'{path},{path.split("/")[2]},{test if n % 4 == 0 else train}'
                                                for n, path in enumerate(names)]
            self.write('parts.csv', '\n'.join(parts))
            self.verify('parts.csv', 'training pictures: 12 in 2 classes, 6 (cat) to 6 (dog) each',
                        'held-out pictures: 4 in 2 classes, 2 (cat) to 2 (dog) each', 'bad: 0')
        self.write('folds.csv', '\n'.join(['path,fold'] + [f'{path},{n % 5}' for n, path in enumerate(names)]))
        self.verify('folds.csv', 'pictures: 16,', 'whatever stands in its column fold')
        self.write('from_1.txt', '\n'.join(f'{path} {int("dog" in path) + 1}' for path in names))
        self.verify('from_1.txt', 'no picture has the label 0')
        for text, said in (('path,label\na,b.jpg,cat\n', 'more columns than the first line'),
                           ('path,label\ndata/train/cat/0.jpg,-1\n', 'is negative'),
                           ('"data/train/cat/0.jpg 0"\n', 'quotes around a path and its label')):
            self.write('odd.csv', text)
            self.verify('odd.csv', said, code=1)
        for code in ('utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'):
            self.write('coded.txt', '\n'.join(lines).encode(code))
            self.verify('coded.txt', f'is text in {code[:6].upper()}', code=1)

    def test_litter(self):
        self.tree()
        for folder, _, files in list(os.walk('data')):
            for name in files:
                self.write(f'{folder}/._{name}', TWIN)
        for name in ('.DS_Store', 'train/Thumbs.db', '@eaDir/0.jpg/x.jpg', 'train/@eaDir/x.jpg', 'lost+found/x.jpg'):
            self.write('data/' + name, b'junk')
        self.verify('data', 'training pictures: 16 in 2 classes', 'held-out pictures: 4 in 2 classes', '._* 16',
                    'bad: 0')
        self.write('data/train/cat/0_thumb.jpg', jpeg())
        self.verify('data', 'training pictures: 16 in 2 classes', flags=['--exclude=*_thumb.jpg'])

    def test_what_is_not_supported_is_named(self):
        for name, data, what in (
                ('a.tar.gz', gzip.compress(b'x'), 'is compressed by gzip'),
                ('a.parquet', b'PAR1' + bytes(99), 'is Parquet'),
                ('a.mp4', b'\0\0\0\x20ftypisom' + bytes(99), 'is a video'), ('a.npy', b'\x93NUMPY\1\0' + bytes(99),
                                                                            'is a NumPy array'),
                ('a.h5', b'\x89HDF\r\n\x1a\n' + bytes(99), 'is an HDF5 file'), ('a.tfrecord', bytes(99), 'is TFRecord'),
                ('data.mdb', bytes(16) + b'\xde\xc0\xef\xbe' + bytes(99), 'is an LMDB data base'),
                ('a.dcm', bytes(128) + b'DICM' + bytes(99), 'is DICOM'), ('a.HEIC', b'\0\0\0\x18ftypheic' + bytes(99),
                                                                         'is HEIF or AVIF')):
            for folder in ('of/', 'of_classes/holiday/'):
                with self.subTest(name=name, folder=folder):
                    self.write(f'{name}_{folder}{name}', data)
                    self.verify(f'{name}_{folder.split("/")[0]}', what, code=1)
        for address in ('https://example.org/a.tar', 's3://bucket/a', 'gs://bucket/a'):
            self.verify(address, 'is an address', code=1)
        impostors = {'lfs': (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS'), 'fork': (TWIN, 'AppleDouble'),
                     'page': (b'<!DOCTYPE html><html></html>', 'HTML'), 'jxl': (b'\xff\x0a' + bytes(50), 'JPEG XL'),
                     'psd': (b'8BPS\0\1' + bytes(50), 'PSD'), 'pfm': (b'Pf\n1 1\n-1.0\n' + bytes(4), 'PFM')}
        for brand in ('hevc', 'hevx', 'heim', 'heis', 'msf1', 'heic', 'avif'):
            impostors[brand] = (b'\0\0\0\x18ftyp' + brand.encode() + b'\0\0\0\0mif1heic' + bytes(50), 'HEIF/AVIF')
        for name, (data, _) in impostors.items():
            self.write(f'impostors/{name}.jpg', data)
        output = self.verify('impostors', f'bad: {len(impostors)}', code=1)
        for name, (_, what) in impostors.items():
            self.assertRegex(output, rf'{name}\.jpg: .*{re.escape(what)}')


if __name__ == '__main__':
    unittest.main(verbosity=2)
