"""The lines of docs/data.md that make a zip of Parquet files, run as they stand there, on files as Hugging Face's
data sets are published; and what our programs see of the files before and after.

    ./bazelw run //tools/consumers:parquet_test
"""

import json
import os
import re
import subprocess
import tempfile
import textwrap
import unittest
import zipfile

import pyarrow
import pyarrow.parquet

IMAGES = 'tec/testing/goldens/images'
VERIFY_DATASET = 'tools/verify_dataset/verify_dataset'
# Of data_set.push_to_hub(): a column of images is a struct, and the schema says in JSON what the columns mean.
FEATURES = {'info': {'features': {'image': {'_type': 'Image'},
                                  'label': {'names': ['cat', 'dog'], '_type': 'ClassLabel'}}}}


def converter():
    """The command, from the document's text."""
    with open('docs/data.md') as file:
        text = file.read()
    section = text[text.index('### Parquet'):]
    return textwrap.dedent(re.search(r"    python3 -c '\n.*?'\n", section, re.DOTALL)[0])


def verify(path):
    done = subprocess.run([VERIFY_DATASET, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


class ParquetTest(unittest.TestCase):

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name
        self.pictures = []
        for name in ('base420.jpg', 's444.jpg', 'palette.png'):
            with open(os.path.join(IMAGES, name), 'rb') as file:
                self.pictures.append(file.read())
        os.mkdir(os.path.join(self.folder, 'data'))
        kind = pyarrow.struct([('bytes', pyarrow.binary()), ('path', pyarrow.string())])
        schema = pyarrow.schema([('image', kind), ('label', pyarrow.int64())],
                                {'huggingface': json.dumps(FEATURES)})
        for part, numbers in enumerate((range(0, 7), range(7, 10))):
            rows = [{'image': {'bytes': self.pictures[i % 3], 'path': f'{i}.jpg'}, 'label': i % 2} for i in numbers]
            table = pyarrow.Table.from_pylist(rows, schema)
            pyarrow.parquet.write_table(table, os.path.join(self.folder, f'data/train-0000{part}-of-00002.parquet'),
                                        row_group_size=4)

    def test_before(self):
        code, output = verify(os.path.join(self.folder, 'data'))
        self.assertEqual(code, 1, output)
        self.assertIn('Parquet', output)
        self.assertIn('docs/data.md', output)

    def test_converted(self):
        command = converter().replace('python3', os.environ['PYTHON'], 1)
        subprocess.run(['sh', '-c', command], cwd=self.folder, check=True)
        archive = os.path.join(self.folder, 'train.zip')
        with zipfile.ZipFile(archive) as made:
            names = made.namelist()
            self.assertEqual(len(names), 10)
            for i, name in enumerate(names):
                self.assertEqual(made.read(name), self.pictures[i % 3])
                self.assertEqual(name.split('/')[0], f'{i % 2:05}')
        code, output = verify(archive)
        self.assertEqual(code, 0, output)
        self.assertIn('pictures: 10 in 2 classes, 5 (00000) to 5 (00001) each', output)
        self.assertIn('bad: 0', output)


if __name__ == '__main__':
    unittest.main(verbosity=2)
