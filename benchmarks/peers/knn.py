"""Our kNN evaluation beside the usual PyTorch one (DINO's, iBOT's), on the same threads: seconds and their ratio.

    ./bazelw run //benchmarks/peers:knn

500 queries against a bank of BANK x 768 features of 1000 classes, k 10, 20, 100 and 200. The usual evaluation compares
a hundredth of the queries at a time with the whole bank, which is 500 of ImageNet's 50,000, sums votes through one-hot
rows, and does all of it again for each k. --bank=1281167, ImageNet's, takes 13 GiB of memory. The two take turns; the
table has the medians over the rounds and the median of the ratios within a round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

QUERIES, WIDTH, CLASSES = 500, 768, 1000
KS = (10, 20, 100, 200)
TEMPERATURE = 0.07


def usual(bank, bank_labels, queries, labels, k):
    """Top-1 of one chunk of queries by weighted votes of the k nearest."""
    similarity, index = torch.mm(queries, bank.t()).topk(k, largest=True, sorted=True)
    candidates = bank_labels.view(1, -1).expand(QUERIES, -1)
    neighbours = torch.gather(candidates, 1, index)
    votes_of = torch.zeros(QUERIES * k, CLASSES)
    votes_of.scatter_(1, neighbours.view(-1, 1), 1)
    weights = similarity.div(TEMPERATURE).exp()
    scores = torch.sum(votes_of.view(QUERIES, k, CLASSES) * weights.view(QUERIES, k, 1), 1)
    _, predictions = scores.sort(1, True)
    return predictions[:, :1].eq(labels.view(-1, 1)).sum().item() / QUERIES


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

    def features(rows):
        made = torch.empty(rows, WIDTH).uniform_(-1, 1)
        return made.div_(torch.linalg.vector_norm(made, dim=1, keepdim=True))

    bank, queries = features(arguments.bank), features(QUERIES)
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
