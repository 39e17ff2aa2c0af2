"""Our kNN evaluation beside the usual PyTorch one (DINO's, iBOT's), on the same threads: seconds and their ratio.

    ./bazelw run //benchmarks/peers:knn

500 queries against a bank of BANK x 768 features of 1000 classes, k 10, 20, 100 and 200. The usual evaluation compares
a hundredth of the queries at a time with the whole bank, which is 500 of ImageNet's 50,000, sums votes through one-hot
rows, and does all of it again for each k. --bank=1281167, ImageNet's, takes 13 GiB of memory. The two take turns; the
table has the medians over the rounds and the median of the ratios within a round.
"""

import argparse
import os
import time

import torch

import turns

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program //benchmarks/eval:evaluators")
    parser.add_argument("--bank", type=int, default=100000, choices=(100000, 1281167))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)

    def features(rows):
        made = torch.empty(rows, WIDTH).uniform_(-1, 1)
        return made.div_(torch.linalg.vector_norm(made, dim=1, keepdim=True))

    bank, queries = features(arguments.bank), features(QUERIES)
    bank_labels = torch.arange(arguments.bank) % CLASSES
    labels = torch.zeros(QUERIES, dtype=torch.long)

    def theirs():
        begin = time.monotonic()
        with torch.no_grad():
            for k in KS:
                usual(bank, bank_labels, queries, labels, k)
        return time.monotonic() - begin

    case = "^Knn/%d/" % arguments.bank
    seconds = turns.take_turns(arguments.rounds, lambda: turns.ours(arguments.ours, case, QUERIES, "queries/s"), theirs,
                               least_rounds=3)
    sizes = (arguments.rounds, QUERIES, arguments.bank, WIDTH, threads)
    print("%d rounds, %d queries, bank %d x %d, %d threads" % sizes)
    print("| PyTorch %s, s | ours, s | ours is faster by |\n|---|---|---|" % torch.__version__)
    print("| %.2f | %.2f | %.2f |" % seconds)


if __name__ == "__main__":
    main()
