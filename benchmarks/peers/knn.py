"""Our kNN evaluation beside the usual PyTorch one (DINO's, iBOT's), on the same threads: seconds and their ratio.

    ./bazelw run //benchmarks/peers:knn

512 queries against a bank of BANK x 768 features of 1000 classes, k 10, 20, 100 and 200. The usual evaluation compares
a hundredth of the queries at a time with the whole bank, sums votes through one-hot rows, and does all of it again for
each k. The two take turns; the table has the medians over the rounds and the median of the ratios within a round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

QUERIES, WIDTH, CLASSES = 512, 768, 1000
KS = (10, 20, 100, 200)
TEMPERATURE = 0.07


def usual(bank, bank_labels, queries, labels, k):
    """Top-1 by weighted votes of the k nearest, in a hundred chunks of queries."""
    columns = bank.t()
    chunk = max(1, QUERIES // 100)
    votes_of = torch.zeros(k, CLASSES)
    right = 0
    for begin in range(0, QUERIES, chunk):
        part = queries[begin : begin + chunk]
        similarity, index = torch.mm(part, columns).topk(k, largest=True, sorted=True)
        candidates = bank_labels.view(1, -1).expand(len(part), -1)
        neighbours = torch.gather(candidates, 1, index)
        votes_of.resize_(len(part) * k, CLASSES).zero_()
        votes_of.scatter_(1, neighbours.view(-1, 1), 1)
        weights = similarity.div(TEMPERATURE).exp()
        scores = torch.sum(votes_of.view(len(part), k, CLASSES) * weights.view(len(part), k, 1), 1)
        _, predictions = scores.sort(1, True)
        right += predictions[:, :1].eq(labels[begin : begin + chunk].view(-1, 1)).sum().item()
    return right / QUERIES


def ours(program, bank):
    command = [program, "--benchmark_filter=^Knn/%d/" % bank, "--benchmark_format=json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return QUERIES / json.loads(output.stdout)["benchmarks"][0]["queries/s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/eval:evaluators")
    parser.add_argument("--bank", type=int, default=100000, choices=(100000, 1281167))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.rounds < 3:
        sys.exit("at least 3 rounds: a median of fewer says little")
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    normalise = torch.nn.functional.normalize
    bank = normalise(torch.rand(arguments.bank, WIDTH) * 2 - 1, dim=1)
    queries = normalise(torch.rand(QUERIES, WIDTH) * 2 - 1, dim=1)
    bank_labels = torch.arange(arguments.bank) % CLASSES
    labels = torch.zeros(QUERIES, dtype=torch.long)

    theirs_seconds, our_seconds = [], []
    for _ in range(arguments.rounds):
        our_seconds.append(ours(arguments.ours, arguments.bank))
        begin = time.monotonic()
        with torch.no_grad():
            for k in KS:
                usual(bank, bank_labels, queries, labels, k)
        theirs_seconds.append(time.monotonic() - begin)
    ratio = statistics.median(theirs / mine for theirs, mine in zip(theirs_seconds, our_seconds))
    sizes = (arguments.rounds, QUERIES, arguments.bank, WIDTH, threads)
    print("%d rounds, %d queries, bank %d x %d, %d threads" % sizes)
    print("| PyTorch %s, s | ours, s | ours is faster by |\n|---|---|---|" % torch.__version__)
    print("| %.2f | %.2f | %.2f |" % (statistics.median(theirs_seconds), statistics.median(our_seconds), ratio))


if __name__ == "__main__":
    main()
