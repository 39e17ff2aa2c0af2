"""What a run's page costs: updates a second, as one who watches the run sees them, with --report and with --noreport.

    ./bazelw run //benchmarks/eval:report_cost                     # 5 rounds of two runs of 16 epochs
    ./bazelw run //benchmarks/eval:report_cost -- ROUNDS EPOCHS

The second figure, of processor time, is one that other work on the machine does not change: what the page would take
where no core is free. The runs are TEC on made pictures. The two take turns, each first in every other round. An
update counts from the first epoch's line in log.txt to the last one's, so that start and end are no part of it. A
checkpoint is kept of every epoch: whatever is drawn while a run goes on is drawn as often as it can be.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PRETRAIN = 'tec/pretrain'


def costs(base, folder, report, epochs):
    """Updates a second; processor seconds of the whole run, with what draws."""
    command = [PRETRAIN, f'--config={base}/tec/experiment.textproto', f'--epochs={epochs}', '--save_period=1',
               '--train_fraction=0.2', f'--output_dir={folder}', '--report' if report else '--noreport',
               '--report_seconds=0']
    seen = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while True:
            ended, status, usage = os.wait4(run.pid, os.WNOHANG)
            if ended:
                run.returncode = os.waitstatus_to_exitcode(status)
                break
            time.sleep(0.005)
            if os.path.exists(folder + '/log.txt'):
                with open(folder + '/log.txt') as file:
                    lines = file.read().split('\n')[:-1]
                if len(lines) > len(seen):
                    seen += [time.monotonic()] * (len(lines) - len(seen))
    assert run.returncode == 0 and len(lines) == epochs, (command, run.returncode)
    assert os.path.exists(folder + '/report.html') == report
    done = json.loads(lines[-1])['updates'] - json.loads(lines[0])['updates']
    return done / (seen[-1] - seen[0]), usage.ru_utime + usage.ru_stime


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    with tempfile.TemporaryDirectory() as work:
        base = os.environ.get('TEC_QUICKSTART', work + '/base')
        if not os.path.exists(base):
            subprocess.run([PRETRAIN, '--config=quickstart', '--epochs=1', '--noreport', '--output_dir=' + base],
                           stdout=subprocess.DEVNULL, check=True)
        ratios, processor = [], []
        for number in range(rounds):
            rate, seconds = {}, {}
            for report in (True, False) if number % 2 == 0 else (False, True):
                rate[report], seconds[report] = costs(base, f'{work}/{number}-{report}', report, epochs)
            ratios.append(rate[True] / rate[False])
            processor.append(seconds[True] / seconds[False])
            print(f'round {number + 1}: {rate[True]:.2f} updates/s with the page, {rate[False]:.2f} without: '
                  f'{100 * (1 - ratios[-1]):+.2f} %; processor seconds {seconds[True]:.2f} and {seconds[False]:.2f}',
                  flush=True)
        print(f'median: the page takes {100 * (1 - statistics.median(ratios)):.2f} % of the updates a second '
              f'(rounds: {100 * (1 - max(ratios)):.2f} to {100 * (1 - min(ratios)):.2f}), '
              f'{100 * (statistics.median(processor) - 1):.2f} % more processor time')


if __name__ == '__main__':
    main()
