"""How sure a median is."""

import math

MEANING = "the 95 % interval of the median"


def interval(values):
    """Between which values the median of all possible rounds lies, 19 times of 20: as many values from
    either end as a coin would rarely stay below (order statistics; nothing is assumed of the noise).
    Of less than six values nothing can be said but the extremes."""
    ordered = sorted(values)
    count, outside, rank = len(ordered), 0.0, 0
    while rank < count // 2:
        outside += math.comb(count, rank) * 0.5 ** count
        if 2 * outside > 0.05:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]
