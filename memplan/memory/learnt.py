"""What was learnt from the published memory of 14 servers at 512, 4,096 and 16,384 connections.

25 rows (two profiles of a public HTTP benchmark arena; the container's peak). The numbers are what
`memplan.memory.learning.learn` returns for them, as `benchmarks/extrapolation.py` prints it; a test
derives them again wherever the measurements are at hand.
"""

from memplan.memory.extrapolation import Drift, Lessons, Spread, Stray

REPEAT_NOISE = 0.02
"""Relative standard deviation between repeats, where no repeats tell: assumed, not learnt.

Three runs against one process of the server that memplan grew from took 254, 263 and 272 MiB,
3.4% apart, much of it a drift; points of one run repeat better."""

REPEAT_NOISE_DF = 4
"""Degrees of freedom that the assumed noise is worth when repeats are pooled with it."""

LESSONS = Lessons(
    beyond=Drift(
        below=Stray(servers=14.0, strayed=2.5, total=0.31765770179715247),
        above=Stray(servers=14.0, strayed=4.0, total=0.16447329613944967),
    ),
    between=Drift(
        below=Stray(servers=14.0, strayed=4.0, total=0.1027959726707873),
        above=Stray(servers=14.0, strayed=2.5, total=0.18295421200063286),
    ),
    under=Drift(
        below=Stray(servers=14.0, strayed=9.0, total=1.7226659887198648),
        above=Stray(servers=14.0, strayed=0.0, total=0.0),
    ),
    half_conns=Spread(low=97.0708312233831, median=4015.1578947368425, high=10119098.73543039),
    fixed_bytes=Spread(
        low=285963.98886608245,
        median=662325540.5714287,
        high=7222706129.691313,
    ),
    per_conn_bytes=Spread(low=104.01607745989773, median=35840.0, high=3085929.089496797),
)
