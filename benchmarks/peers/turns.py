"""Steps that take turns on one machine: ours, a case of a Google Benchmark program, and others', functions."""

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


def compare(rounds, our_seconds, rivals, least_rounds=5):
    """Median of ours over the rounds; of each rival (name -> its function) its median and that of the ratios within a
    round."""
    if rounds < least_rounds:
        sys.exit("at least %d rounds: a median of fewer says little" % least_rounds)
    ours_of_round, theirs_of_round = [], {name: [] for name in rivals}
    for _ in range(rounds):
        ours_of_round.append(our_seconds())
        for name, seconds in rivals.items():
            theirs_of_round[name].append(seconds())
    ratios = {name: statistics.median(one / mine for one, mine in zip(theirs, ours_of_round))
              for name, theirs in theirs_of_round.items()}
    return (statistics.median(ours_of_round),
            {name: (statistics.median(theirs), ratios[name]) for name, theirs in theirs_of_round.items()})


def take_turns(rounds, our_seconds, their_seconds, least_rounds=5):
    """Of one rival: medians of theirs and ours, and the median of the ratios."""
    mine, rivals = compare(rounds, our_seconds, {"": their_seconds}, least_rounds)
    return (rivals[""][0], mine, rivals[""][1])


def table(mine, rivals):
    """What compare gave, as text."""
    lines = ["| | s | ours is faster by |", "|---|---|---|", "| ours | %.3f | |" % mine]
    lines += ["| %s | %.3f | %.2f |" % (name, seconds, ratio) for name, (seconds, ratio) in rivals.items()]
    return "\n".join(lines)
