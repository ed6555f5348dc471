"""What is said of the machine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hflm.engine.device import peak_memory

CHILD = """
import resource
from hflm.engine.device import peak_memory
print(peak_memory("cpu"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says the peak of a process alone")
def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    ballast = np.ones(2**30, dtype=np.uint8)
    own = peak_memory("cpu")
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    child, inherited = map(int, done.stdout.split())
    assert own > ballast.nbytes
    assert 2**26 < child < own - ballast.nbytes // 2
    assert child <= inherited
