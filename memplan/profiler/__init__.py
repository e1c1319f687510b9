"""What a running server and its host show of themselves: parsers of /proc, /sys and cgroups.

Every reader takes the root that /proc and /sys hang from, so that each branch is tested on files
written down from kernels that the tests do not run on.
"""
