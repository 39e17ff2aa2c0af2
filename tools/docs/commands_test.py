"""Runs every command that the documents show, from their text, on tiny data.

Each document is one session in one folder: a command finds what the one before it left, and nothing else but what the
reader has (INPUTS). A command is run as it stands, with flags after it that make it short (SHORT); what cannot be run
here is checked as far as CHECKED says. A command that none of the tables knows is an error, and so is one that reads a
file that nobody wrote, or that finds its output folder taken by another.
"""

import glob
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

from tools.docs import commands

RUNFILES = os.getcwd()

# The programs, by the names that people type.
PROGRAMS = {
    '//tec:pretrain': 'tec/pretrain',
    '//eval:dense': 'eval/dense/dense',
    '//eval:finetune': 'eval/finetune/finetune',
    '//eval:knn': 'eval/knn/knn',
    '//eval:linear': 'eval/linear/linear',
    '//eval:logistic': 'eval/logistic/logistic',
    '//eval:predict': 'eval/predict/predict',
    '//eval:reproduce': 'eval/reproduce/reproduce',
    '//tec/experiments:vit_b_mae_300ep.pretrain': 'tec/experiments/vit_b_mae_300ep.pretrain',
    '//tec/experiments:vit_b_mae_300ep.finetune': 'tec/experiments/vit_b_mae_300ep.finetune',
    '//tec/experiments:vit_b_mae_300ep.reproduce': 'tec/experiments/vit_b_mae_300ep.reproduce',
    '//tools:augment_preview': 'tools/augment_preview/augment_preview',
    '//tools:convert': 'tools/convert/convert',
    '//tools:diff': 'tools/weights/diff',
    '//tools:embed': 'eval/embed/embed',
    '//tools:export': 'tools/export/export',
    '//tools:inspect': 'tools/weights/inspect',
    '//tools:neighbours': 'eval/embed/neighbours',
    '//tools:report': 'eval/report/report',
    '//tools:runs': 'eval/report/runs',
    '//tools:scale_plan': 'tools/scale_plan/scale_plan',
    '//tools:shard': 'tools/shard/shard',
    '//tools:verify_dataset': 'tools/verify_dataset/verify_dataset',
    '//tools/weights:mutate': 'tools/weights/mutate',
}

CPU = ['--device=cpu', '--threads=1', '--num_workers=1']
TRAIN = CPU + ['--batch_size=8', '--accum_iter=1', '--epochs=1', '--warmup_epochs=0']
# Arguments that are made small.
SMALL = {'100000': '500'}
# Flags put behind the command's own, where the later one counts.
SHORT = {
    '//tec:pretrain': TRAIN,
    '//eval:dense': CPU + ['--batch_size=4', '--epochs=1', '--c=0.01', '--max_iterations=5'],
    '//eval:finetune': TRAIN,
    '//eval:knn': CPU,
    '//eval:linear': TRAIN,
    '//eval:logistic': CPU + ['--c=0.01'],
    '//eval:predict': CPU,
    '//tools:embed': CPU,
    '//tools:report': ['--report_images=2', '--report_bank=20'],
    '//tools:verify_dataset': ['--num_workers=1'],
}
# Instead of a run: the settings printed, or the plan. These are ViT-B on ImageNet, or hours on two cores.
PRINTED = {
    '//tec/experiments:vit_b_mae_300ep.pretrain': '--print_config',
    '//tec/experiments:vit_b_mae_300ep.finetune': '--print_config',
    '//tec/experiments:vit_b_mae_300ep.reproduce': '--dry_run',
    '//eval:reproduce': '--dry_run',
}
# Known commands that are not run here, and why.
CHECKED = {
    r'git clone .*': 'the test is in a clone',
    r'cd tec': 'it is there',
    r'\.ci/run': 'it runs this test',
    r'\./bazelw (test|build) (--config=\w+ |--jobs=\d+ )?(//\.\.\.|//[\w/]+/\.\.\.|\.\.\.|//:\w+)':
        'Bazel is not run in a test',
    r'\./bazelw run //tools/lint( -- --fix)?': '.ci/run runs it',
    r'\./bazelw run //tools/docs:site -- \S+': '.ci/run runs it; it downloads',
    r'\./bazelw run //tools:(check|record)_goldens -- .*': 'minutes; .ci/run and the tests of //tools/goldens run it',
    r'\./bazelw run //tools/consumers:\w+_test': '.ci/run runs it; it downloads',
    r'\./bazelw run (--config=cuda )?//benchmarks/[\w/:]+( -- .*)?': 'it measures, and installs what it compares with',
    r'\./bazelw run --config=cuda .*': 'it needs a GPU',
    r'pip install tec_pretrain-\S+\.whl': '//package:wheel_test installs and runs it',
    r'tec pretrain': '//package:wheel_test runs the wheel; here ./bazelw run //tec:pretrain is the same program',
    r"python3 -c '.*to_parquet.*": '//tools/consumers:vectors_test runs it',
    r"python3 -c '": 'lines of Python for the reader to adapt; //tools/consumers:parquet_test runs those for Parquet',
    r'(torchrun|srun) .* bazel-bin/tec/pretrain .*':
        'it needs a launcher; //tools/launchers:launchers_test runs two ranks under each',
    r'(torchrun|srun) .* bazel-bin/eval/(knn/knn|linear/linear|embed/embed) .*':
        "it needs a launcher; //eval/program:ranks_test runs two and three ranks by the launchers' variables",
    r'\./bazelw run //eval:finetune -- --finetune=dinov2_\S+ .*':
        "it needs DINOv2's file; //eval/finetune:finetune_encoders_test finetunes such",
    r'tensorboard --logdir=\S+': "another project's",
}


def grey_png(height, width, row):
    """A PNG of equal rows."""
    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress((b'\0' + row) * height)) + chunk(b'IEND', b''))


class CommandsTest(unittest.TestCase):
    folder = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(dir=os.environ.get('TEST_TMPDIR'))
        cls.inputs = os.path.join(cls.folder, 'inputs')
        os.mkdir(cls.inputs)
        # The default run, shortened, makes the pictures and the base model that the reader would bring.
        cls.program('//tec:pretrain', ['--epochs=1', '--output_dir=' + cls.path('quickstart')], cls.folder)
        pictures = cls.path('quickstart/pictures')
        for split in ('train', 'test'):
            for name in sorted(os.listdir(os.path.join(pictures, split)))[:3]:
                target = cls.path(f'inputs/images/{split}/{name}')
                os.makedirs(target)
                for picture in sorted(os.listdir(os.path.join(pictures, split, name)))[:12 if split == 'train' else 4]:
                    shutil.copy(os.path.join(pictures, split, name, picture), target)
        classes = sorted(os.listdir(cls.path('inputs/images/train')))
        first = cls.path('inputs/images/train/' + classes[0])
        os.makedirs(cls.path('inputs/images/train/dog'))
        shutil.copy(os.path.join(first, os.listdir(first)[0]), cls.path('inputs/images/train/dog/1.jpg'))
        os.makedirs(cls.path('inputs/images/test/dog'))
        shutil.copy(os.path.join(first, os.listdir(first)[0]), cls.path('inputs/images/test/dog/1.jpg'))
        os.mkdir(cls.path('fast'))
        # Pictures and masks, whose left half is class 1.
        for part, name in (('train', 'train'), ('val', 'test')):
            for kind in ('images', 'masks'):
                os.makedirs(cls.path(f'inputs/voc/{kind}/{part}'))
            for picture in sorted(glob.glob(os.path.join(pictures, name, '*', '*.jpg')))[:8]:
                stem = os.path.splitext(os.path.basename(picture))[0]
                shutil.copy(picture, cls.path(f'inputs/voc/images/{part}/{stem}.jpg'))
                with open(cls.path(f'inputs/voc/masks/{part}/{stem}.png'), 'wb') as file:
                    file.write(grey_png(64, 64, (b'\1' * 32 + b'\0' * 32)))
        cls.base = glob.glob(cls.path('quickstart/mae/checkpoint-*.pth'))[-1]
        cls.tec = glob.glob(cls.path('quickstart/tec/checkpoint-*.pth'))[-1]

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def program(cls, target, arguments, folder):
        """Runs it as ./bazelw run does: where the user stands is in an environment variable."""
        environment = dict(os.environ, BUILD_WORKING_DIRECTORY=folder)
        result = subprocess.run([os.path.join(RUNFILES, PROGRAMS[target])] + arguments, cwd=RUNFILES, env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
        command = f'{target} {" ".join(arguments)}'
        assert result.returncode == 0, f'{command}\nexit code {result.returncode}\n{result.stdout[-4000:]}'
        return result.stdout

    def given(self):
        """What the reader has, by the name that the documents give it."""
        images = self.path('inputs/images')
        return {
            '/images': images,
            '/imagenet': images,
            '/new_images': os.path.join(images, 'test'),
            '/cifar10': images,
            '/scans': images,
            '/photos': images,
            '/voc': self.path('inputs/voc'),
            '/fast': self.path('fast'),
            '/models/mae_pretrain_vit_base.pth': self.base,
            '/models/dino_vitbase16_pretrain.pth': self.tec,
        }

    def substitute(self, word):
        # The longest name first: /images/train/dog/1.jpg is in /images.
        for name, path in sorted(self.given().items(), key=lambda item: -len(item[0])):
            word = re.sub(r'(?<![\w./])' + re.escape(name) + r'(?=$|[/,:])', path, word)
        return word

    def run_one(self, command, session):
        for pattern, why in CHECKED.items():
            if re.fullmatch(pattern, command):
                return why
        # The shell's part: braces, wildcards, $PWD, which is the clone.
        expanded = subprocess.run(['bash', '-c', 'printf "%s\\n" ' + command], cwd=RUNFILES, stdout=subprocess.PIPE,
                                  text=True, check=True).stdout.splitlines()
        run = commands.Run(expanded)
        self.assertIn(run.target, PROGRAMS, f'{command}: add it to the tables of commands_test.py')
        arguments = [SMALL.get(word, self.substitute(word)) for word in run.arguments]
        for word in run.arguments:
            self.assertNotRegex(word, r'(^|=)\.\.\.$', f'{command}: not a command that can be typed')
        for flag in arguments:
            folder = re.fullmatch(r'--output_dir=(.*)', flag)
            if folder and not folder[1].startswith('/'):
                taken = os.path.join(session, folder[1], 'experiment.textproto')
                self.assertFalse(os.path.exists(taken), f'{command}: another command filled that folder')
        printed = PRINTED.get(run.target)
        # ViT-B; and without a base model the reference's default, ViT-L.
        if '--config=vit_b_mae_300ep' in arguments or '--method=mae' in arguments:
            printed = '--print_config'
        if printed:
            self.program(run.target, arguments + [printed], session)
            return 'its settings printed'
        short = list(SHORT.get(run.target, []))
        if run.target == '//tec:pretrain' and not run.arguments:
            short = ['--epochs=1', '--num_workers=1']
        self.program(run.target, arguments + short, session)
        return 'run'

    def document(self, name, prepared=None):
        session = os.path.join(self.folder, 'session_' + name.replace('/', '_'))
        os.makedirs(session)
        for file, source in (prepared or {}).items():
            target = os.path.join(session, file)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)
        with open(os.path.join(RUNFILES, name)) as file:
            found = commands.commands(file.read())
        for command in found:
            print(f'{name}: {command}: {self.run_one(command, session)}', flush=True)
        return found

    # A reader of README.md has pictures and a base model, and nothing else.
    def test_readme(self):
        found = self.document('README.md')
        for target in ('//tec:pretrain', '//eval:finetune', '//eval:predict', '//eval:knn', '//eval:linear'):
            self.assertTrue(any(target in command for command in found), target)

    def test_contributing(self):
        self.document('CONTRIBUTING.md')

    # The other documents go on from what README.md leaves.
    def test_docs(self):
        finetuned = self.path('finetuned')
        self.program('//eval:finetune', ['--finetune=' + self.tec, '--data_path=' + self.path('inputs/images'),
                                         '--output_dir=' + finetuned] + TRAIN, self.folder)
        best = os.path.join(finetuned, 'best_checkpoint.pth')
        names = sorted(glob.glob(os.path.join(RUNFILES, 'docs/*.md')))
        self.assertGreater(len(names), 4)
        for name in names:
            self.document(os.path.relpath(name, RUNFILES), {
                'c.pth': self.tec, 'checkpoint-299.pth': self.tec, 'mae.pth': self.base, 'A': self.tec, 'B': self.tec,
                'finetuned/best_checkpoint.pth': best,
                **{f'runs/{run}/{file}': self.path(f'quickstart/{method}/{file}')
                   for run, method in (('first', 'tec'), ('second', 'mae'))
                   for file in ('experiment.textproto', 'log.txt', 'metrics.jsonl')},
                'runs/first/checkpoint-99.pth': self.tec, 'runs/second/checkpoint-99.pth': self.base})

    def test_an_unknown_command_is_an_error(self):
        with self.assertRaisesRegex(AssertionError, 'tables of commands_test'):
            self.run_one('./bazelw run //tools:no_such_tool -- x', self.folder)
        with self.assertRaisesRegex(AssertionError, 'no-such-flag'):
            self.run_one('./bazelw run //tools:inspect -- --no-such-flag', self.folder)

    def test_reading(self):
        text = ('Words.\n\n    ./bazelw run //a:b -- --c=d \\\n      --e   # why\n    x: y\n    tec/   a folder\n\n'
                '```\n./bazelw test //...\n```\n')
        self.assertEqual(commands.commands(text), ['./bazelw run //a:b -- --c=d --e', './bazelw test //...'])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + ['-v'] + sys.argv[1:])
