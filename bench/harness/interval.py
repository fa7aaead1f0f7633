"""The confidence interval of a median."""

import math

MEANING = "the 95 % interval of the median"


def interval(values):
    """Returns two values: 19 times of 20 the median of all possible rounds lies between them.

    They are the k-th values from either end. k is as large as it can be while fewer than k of all values
    are below the median in at most 2.5 % of cases, each value falling to either side like a coin (order
    statistics). Nothing is assumed about the noise. With less than six values the extremes are returned."""
    ordered = sorted(values)
    count, outside, rank = len(ordered), 0.0, 0
    while rank < count // 2:
        outside += math.comb(count, rank) * 0.5 ** count
        if 2 * outside > 0.05:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]
