"""The commands that README.md, CONTRIBUTING.md and docs/ show, read from their text."""

import re

# What a command begins with. Whatever a document shows of these is a command, and somebody has to know it.
PROGRAMS = ('git|pip|python3?|tec|apt-get|docker|apptainer|conda|torchrun|srun|tensorboard|wandb|mlflow|mkdocs|rsync|'
            'hf|curl|wget|source|export')
STARTS = re.compile(r'(\./|\.ci/|bazel-bin/|(sudo |[A-Z_]+=\S+ )*(' + PROGRAMS + r')(?=\s|$))')


def indented_lines(text):
    """Lines of Markdown's code blocks, indented or fenced; a line that ends with a backslash goes on in the next."""
    fenced, joined, lines = False, '', []
    for line in text.splitlines():
        if line.lstrip().startswith('```'):
            fenced = not fenced
            continue
        if not fenced and not line.startswith('    '):
            continue
        joined += line.strip()
        if joined.endswith('\\'):
            joined = joined[:-1].rstrip() + ' '
            continue
        lines.append(joined)
        joined = ''
    return lines


def commands(text):
    """Every command of a document in order, without its comment. Other lines of code blocks are no commands."""
    found = []
    for line in indented_lines(text):
        if not STARTS.match(line):
            continue
        found += [part.strip() for part in re.split(r'\s#\s', line + ' ')[0].split(' && ') if part.strip()]
    return found


class Run:
    """./bazelw run [--config=...] TARGET [-- ARGUMENT...]."""

    def __init__(self, words):
        command = ' '.join(words)
        assert words[:2] == ['./bazelw', 'run'], command
        split = words.index('--') if '--' in words else len(words)
        self.options = [word for word in words[2:split] if word.startswith('-')]
        targets = [word for word in words[2:split] if not word.startswith('-')]
        assert len(targets) == 1, command
        self.target = targets[0]
        self.arguments = words[split + 1:]
