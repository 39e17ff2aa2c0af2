"""What a run leaves for TensorBoard, opened by TensorBoard; and the vectors of //tools:embed, by numpy, pandas and
pyarrow, with the lines of docs/embeddings.md.

    ./bazelw run //tools/consumers:vectors_test
"""

import glob
import io
import json
import os
import re
import subprocess
import tempfile
import textwrap
import unittest

import numpy as np
import pandas
import pyarrow.parquet
from PIL import Image
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import projector_plugin
from werkzeug import test as werkzeug_test
from werkzeug import wrappers

PRETRAIN = 'tec/pretrain'
REPORT = 'eval/report/report'
EMBED = 'eval/embed/embed'
HOSTILE = b'tab\there "<b>'
IMAGES, BANK = 2, 60


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def setUpModule():
    global run_folder
    temporary = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(temporary.cleanup)
    run_folder = os.environ.get('TEC_QUICKSTART') or temporary.name + '/run'
    if not os.path.exists(run_folder):
        run(PRETRAIN, '--config=quickstart', '--epochs=2', '--output_dir=' + run_folder)


class TensorBoardTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        # The run has written it itself, at its end.
        cls.by_itself = event_accumulator.EventAccumulator(run_folder + '/tec/tensorboard').Reload().Tags()
        train = run_folder + '/pictures/train'
        first = sorted(os.listdir(os.fsencode(train)))[0]
        os.rename(os.path.join(os.fsencode(train), first), os.path.join(os.fsencode(train), HOSTILE))
        cls.addClassCleanup(lambda: os.rename(os.path.join(os.fsencode(train), HOSTILE),
                                              os.path.join(os.fsencode(train), first)))
        for name in ('mae', 'tec'):
            printed = run(REPORT, f'{run_folder}/{name}', f'--report_images={IMAGES}', f'--report_bank={BANK}',
                          '--tensorboard', '--histograms')
            assert f'for tensorboard --logdir: {run_folder}/{name}/tensorboard\n' in printed, printed

    def events(self, name):
        sizes = {event_accumulator.IMAGES: 0, event_accumulator.HISTOGRAMS: 0}
        return event_accumulator.EventAccumulator(f'{run_folder}/{name}/tensorboard', sizes).Reload()

    def test_a_run_writes_pictures_itself(self):
        for what in ('input', 'attention', 'attention, base model', 'colours', 'relations', 'nearest 1'):
            self.assertIn('picture 15/' + what, self.by_itself['images'])
        self.assertEqual(self.by_itself['histograms'], [])

    def test_pictures(self):
        for name, own in (('mae', ('reconstruction', 'visible')), ('tec', ('relations', 'relations, base model'))):
            events = self.events(name)
            tags = events.Tags()['images']
            for what in ('input', 'attention', 'colours', 'nearest 5') + own:
                self.assertIn('picture 01/' + what, tags)
            self.assertIn('augmentation/00', tags)
            self.assertNotIn('picture 02/input', tags)  # Those of before are gone.
            for tag in tags:
                for event in events.Images(tag):
                    image = Image.open(io.BytesIO(event.encoded_image_string))
                    self.assertEqual(image.size, (event.width, event.height))
                    self.assertGreaterEqual(event.width, 64)
                    self.assertGreater(len(image.convert('RGB').getcolors(1 << 24)), 1, tag)
            epochs = [int(re.search(r'-(\d+)\.pth', path)[1])
                      for path in glob.glob(f'{run_folder}/{name}/checkpoint-*.pth')]
            self.assertEqual([event.step for event in events.Images('picture 00/attention')][-1], max(epochs))

    def test_histograms(self):
        events = self.events('tec')
        histogram = events.Histograms('weights/blocks.0.attn.qkv.weight')[-1].histogram_value
        self.assertGreater(histogram.max, 0)
        self.assertEqual(sum(histogram.bucket), histogram.num)
        self.assertEqual(histogram.num % 3, 0)
        self.assertIn('features/pool', events.Tags()['histograms'])

    def test_projector(self):
        folder = run_folder + '/tec'
        multiplexer = plugin_event_multiplexer.EventMultiplexer()
        multiplexer.AddRunsFromDirectory(folder)
        multiplexer.Reload()
        provider = data_provider.MultiplexerDataProvider(multiplexer, folder)
        plugin = projector_plugin.ProjectorPlugin(
            base_plugin.TBContext(logdir=folder, data_provider=provider, multiplexer=multiplexer))
        routes = plugin.get_plugin_apps()

        def get(path, **query):
            response = werkzeug_test.Client(routes[path], wrappers.Response).get(path, query_string=query)
            self.assertEqual(response.status_code, 200, response.data)
            return response.data

        self.assertEqual(json.loads(get('/runs')), ['tensorboard'])
        embeddings = json.loads(get('/info', run='tensorboard'))['embeddings']
        self.assertEqual(len(embeddings), 2)
        self.assertRegex(embeddings[0]['tensorName'], r'^checkpoint-\d+$')
        self.assertEqual(embeddings[1]['tensorName'], 'base model')
        for embedding in embeddings:
            shape, name = embedding['tensorShape'], embedding['tensorName']
            self.assertEqual(shape[0], BANK)
            values = np.frombuffer(get('/tensor', run='tensorboard', name=name), np.float32).reshape(shape)
            self.assertGreater(values.std(0).min(), 0)
            lines = get('/metadata', run='tensorboard', name=name).decode().split('\n')
            self.assertEqual(lines[0], 'name\tclass')
            self.assertEqual(len(lines), 1 + BANK + 1)
            self.assertTrue(all(line.count('\t') == 1 for line in lines[:-1]))
            self.assertTrue(any('tab\\x09here "<b>' in line for line in lines))
            sprite = Image.open(io.BytesIO(get('/sprite_image', run='tensorboard', name=name)))
            width, height = embedding['sprite']['singleImageDim']
            across = int(np.ceil(BANK**0.5))
            self.assertEqual(sprite.size, (across * width, across * height))
            # The last picture is there, what comes after it is black.
            self.assertGreater(np.asarray(sprite)[-height:, :width * (BANK % across or across)].std(), 1)


class VectorsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = temporary.name
        cls.checkpoint = sorted(glob.glob(run_folder + '/tec/checkpoint-*.pth'))[-1]
        cls.data = run_folder + '/pictures/test'
        run(*cls.embed('photos.npy'))
        run(*cls.embed('photos.csv'))
        run(*cls.embed('photos.safetensors'))
        with open('docs/embeddings.md') as file:
            cls.text = file.read()

    @classmethod
    def embed(cls, name):
        return (EMBED, '--device=cpu', '--checkpoint=' + cls.checkpoint, '--data_path=' + cls.data,
                '--output=' + os.path.join(cls.folder, name))

    def here(self, script):
        """Runs a document's lines in the folder of the files."""
        subprocess.run(script.replace('python3', os.environ['PYTHON']), shell=True, cwd=self.folder, check=True)

    def test_the_document_s_lines(self):
        lines = textwrap.dedent(re.search(r'    import numpy, pandas\n.*?\n\n', self.text, re.DOTALL)[0])
        check = '\nassert len(values) == len(images) == len(table) > 100\n' \
                'assert (values == table.filter(regex="^f[0-9]+$").to_numpy("float32")).all()\n' \
                'assert (images["name"] == table["name"]).all() and images["class"].nunique() > 2\n'
        with open(self.folder + '/lines.py', 'w') as file:
            file.write(lines + check)
        self.here('python3 lines.py')

    def same(self, path):
        table = pyarrow.parquet.read_table(path).to_pandas()
        np.testing.assert_array_equal(np.stack(table['vector']), np.load(self.folder + '/photos.npy'))
        names = pandas.read_csv(self.folder + '/photos.images.csv', keep_default_na=False)
        self.assertEqual(list(table['name']), list(names['name']))
        self.assertEqual(list(table['class']), list(names['class']))

    def test_parquet_by_the_document_s_line(self):
        self.here(textwrap.dedent(re.search(r"    python3 -c '[^']*to_parquet[^\n]*\n", self.text)[0]))
        self.same(self.folder + '/photos.parquet')

    def test_parquet_by_the_program_s_answer(self):
        done = subprocess.run(self.embed('a b.parquet'), capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        line = re.search(r'python3 -c .*', done.stderr + done.stdout)[0]
        run(*self.embed('a b.npy'))
        self.here(line)
        self.same(self.folder + '/a b.parquet')


if __name__ == '__main__':
    unittest.main(verbosity=2)
