"""The page of a run in a real browser: nothing is fetched, nothing fails, every section is drawn.

TEC_QUICKSTART: the folder of a quickstart that has run, which is left as it was; without it one is run.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from PIL import Image

PRETRAIN = 'tec/pretrain'
REPORT = 'eval/report/report'
SECTIONS = ['Summary', 'Curves', 'Did it help?', 'Pictures', 'Augmentation', 'Settings', 'Checkpoints']
HOSTILE = b'<b onload=x>"\'&\xe9\x1b[31m'


def chromium(*arguments):
    """Runs headless Chromium with a profile of its own; returns its standard output and standard error."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--enable-logging=stderr',
             '--host-resolver-rules=MAP * ~NOTFOUND', '--user-data-dir=' + profile, *arguments],
            capture_output=True, timeout=300, check=True)
    return done.stdout.decode(), done.stderr.decode(errors='replace')


class BrowserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        work = pathlib.Path(cls.folder.name)
        runs = pathlib.Path(os.environ.get('TEC_QUICKSTART', work / 'run'))
        if not runs.exists():
            done = subprocess.run([PRETRAIN, '--config=quickstart', '--epochs=1', '--output_dir=' + str(runs)],
                                  check=True, capture_output=True, text=True)
            # It ends with the page of the new model, which a run writes itself.
            assert f'What the models see: {runs}/tec/report.html' in done.stdout, done.stdout
        cls.own_pages = [runs / name / 'report.html' for name in ('mae', 'tec')]
        # The same pictures with a class whose name is markup, control bytes and no UTF-8.
        pictures = runs / 'pictures' / 'train'
        first, hostile = os.fsencode(sorted(pictures.iterdir())[0]), os.fsencode(pictures) + b'/' + HOSTILE
        os.rename(first, hostile)
        cls.addClassCleanup(os.rename, hostile, first)
        cls.page = work / 'report.html'
        cls.several = work / 'several.html'
        subprocess.run([REPORT, str(runs / 'mae'), str(runs / 'tec'), '--output=' + str(cls.several)],
                       check=True, capture_output=True)
        subprocess.run([REPORT, str(runs / 'tec'), '--report_images=3', '--report_bank=60',
                        '--output=' + str(cls.page)], check=True, capture_output=True)

    def test_runs_write_pages_themselves(self):
        for page in self.own_pages:
            dom, errors = chromium('--dump-dom', page.as_uri())
            self.assertNotIn(':CONSOLE', errors)
            for section in SECTIONS + ['Command, versions, machine']:
                self.assertRegex(dom, '<h2>' + re.escape(section))
            self.assertIn('finished', dom)
            self.assertLess(page.stat().st_size, 20 << 20)

    def test_sections_are_there_and_hostile_names_are_text(self):
        dom, _ = chromium('--dump-dom', self.page.as_uri())
        for section in SECTIONS:
            self.assertRegex(dom, '<h2>' + re.escape(section))
        self.assertNotIn('onload=x>', dom.replace('onload=x&gt;', ''))
        self.assertIn('&lt;b onload=x&gt;', dom)
        self.assertNotIn('\x1b', dom)

    def test_nothing_is_fetched_and_nothing_fails(self):
        log = self.page.with_suffix('.netlog')
        _, errors = chromium('--dump-dom', '--log-net-log=' + str(log), self.page.as_uri())
        self.assertNotIn(':CONSOLE', errors)
        text = log.read_text()
        events = json.loads(text if text.rstrip().endswith('}') else text.rstrip().rstrip(',') + ']}')['events']
        self.assertGreater(len(events), 0)
        urls = {event['params']['url'] for event in events if 'url' in event.get('params', {})}
        # The browser's own background requests are to its maker's hosts, which cannot be resolved here; the page's
        # would name whatever it links to.
        page = self.page.read_text()
        self.assertEqual(re.findall(r'(?:src|href)="(?!data:image/|#)[^"]*"', page), [])
        self.assertFalse([url for url in urls if url.startswith('file:') and url != self.page.as_uri()])

    def test_it_is_drawn_light_dark_wide_and_narrow(self):
        brightness = {}
        for name, width, scheme in (('wide', 1200, 'light'), ('dark', 1200, 'dark'), ('phone', 500, 'light')):
            picture = self.page.with_name(name + '.png')
            flags = ['--blink-settings=preferredColorScheme=0'] if scheme == 'dark' else []
            chromium('--screenshot=%s' % picture, '--window-size=%d,2400' % width, *flags, self.page.as_uri())
            image = Image.open(picture).convert('RGB')
            self.assertEqual(image.size, (width, 2400))
            self.assertGreater(len(image.getcolors(1 << 24)), 500, name + ' is nearly blank')
            # The curves, which are at the top, and the pictures, further down.
            for box in ((0, 300, width, 900), (0, 1300, width, 2400)):
                self.assertGreater(len(image.crop(box).getcolors(1 << 24)), 50, (name, box))
            brightness[name] = sum(image.resize((1, 1)).getpixel((0, 0))) / 3
        self.assertLess(brightness['dark'], 110)
        self.assertGreater(brightness['wide'], 160)

    def test_every_section_is_drawn(self):
        """The whole page on one screenshot, kept where the test's outputs are: nothing of it is blank."""
        output = pathlib.Path(os.environ.get('TEST_UNDECLARED_OUTPUTS_DIR', self.page.parent))
        for page in (self.page, self.several):
            picture, width, height = output / f'{page.stem}_whole.png', 1000, 12000
            chromium('--screenshot=%s' % picture, f'--window-size={width},{height}', page.as_uri())
            image = Image.open(picture).convert('RGB')
            self.assertEqual(image.size, (width, height))
            background = image.getpixel((0, height - 1))
            blank = Image.new('RGB', (width, 1), background).tobytes()
            rows = [image.crop((0, y, width, y + 1)).tobytes() != blank for y in range(height)]
            end = max(y for y in range(height) if rows[y])
            self.assertLess(end, height - 10, 'the page is longer than the screenshot')
            for top in range(0, end, 400):
                self.assertGreater(sum(rows[top:top + 400]), 20, f'{page}: nearly blank from {top}')

    def test_several_runs_are_side_by_side(self):
        dom, errors = chromium('--dump-dom', self.several.as_uri())
        self.assertNotIn(':CONSOLE', errors)
        for text in ('<h2>Settings that differ', 'mae train_loss', 'tec train_loss', '<td>method'):
            self.assertIn(text, dom)
        self.assertLess(self.several.stat().st_size, 20 << 20)

    def test_it_is_small(self):
        # //eval/report:gallery_test: also with pictures of any number and size.
        self.assertLess(self.page.stat().st_size, 20 << 20)


if __name__ == '__main__':
    unittest.main(verbosity=2)
