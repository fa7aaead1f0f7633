"""The confidence interval of a median, and how figures are written."""

import math
import statistics

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


def number(value):
    """Formats a value with about three significant digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def spread(values):
    """Returns the median and, if there is more than one value, its interval."""
    text = number(statistics.median(values))
    if len(values) > 1:
        low, high = interval(values)
        text += f" ({number(low)}-{number(high)})"
    return text
