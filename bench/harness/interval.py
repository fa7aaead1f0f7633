"""The confidence interval of a median."""

import math

MEANING = "the 95 % interval of the median"


def interval(values):
    """Returns two values: 19 times of 20 the median of all possible rounds lies between them.

    This is order statistics and assumes nothing about the noise. Each value is below the true median or
    above it, like a coin. The result is the k-th value from either end. k is the largest number so that
    fewer than k values below the median have a probability of at most 2.5 %. With less than six values
    only the extremes can be returned."""
    ordered = sorted(values)
    count, outside, rank = len(ordered), 0.0, 0
    while rank < count // 2:
        outside += math.comb(count, rank) * 0.5 ** count
        if 2 * outside > 0.05:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]
