"""Two steps that take turns on one machine: ours, a case of a Google Benchmark program, and theirs, a function."""

import json
import statistics
import subprocess
import sys
import time


def timed(step, steps):
    """Seconds a step, after one that is not counted."""
    step()
    begin = time.monotonic()
    for _ in range(steps):
        step()
    return (time.monotonic() - begin) / steps


def ours(program, case, batch, rate="images/s"):
    """Seconds a step of `batch` images of the program's case that the regular expression names; `rate`: its counter."""
    command = [program, "--benchmark_filter=" + case, "--benchmark_format=json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return batch / json.loads(output.stdout)["benchmarks"][0][rate]


def take_turns(rounds, our_seconds, their_seconds, least_rounds=5):
    """Medians of theirs and ours over the rounds, and the median of the ratios within a round."""
    if rounds < least_rounds:
        sys.exit("at least %d rounds: a median of fewer says little" % least_rounds)
    ours_of_round, theirs_of_round = [], []
    for _ in range(rounds):
        ours_of_round.append(our_seconds())
        theirs_of_round.append(their_seconds())
    ratio = statistics.median(theirs / mine for theirs, mine in zip(theirs_of_round, ours_of_round))
    return statistics.median(theirs_of_round), statistics.median(ours_of_round), ratio
