"""What all tests share: how Hypothesis draws its examples."""

import os

from hypothesis import settings

# No test is timed. In CI the same examples are drawn every time, so that a run says something of
# the change and not of the day; by hand they differ from run to run and so find more.
settings.register_profile("by hand", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "by hand")
