"""The tests that every backend must pass, for the authors of backends.

    from trk.testing import Arrived, BackendContract

    class TestMine(BackendContract):
        def make_backend(self): return MyBackend({"server": …})
        def read_back(self, remote_id): return Arrived(points=…, params=…, …)

pytest collects the rest. `make_backend` is called several times in a test, as after a crash: what it returns must
lead to the same server. `read_back`, `read_file` and `read_table` should ask that server by other means than the
backend itself.
"""

from trk.testing.base import NOON as NOON
from trk.testing.base import Arrived as Arrived
from trk.testing.base import Point as Point
from trk.testing.base import entry as entry
from trk.testing.base import files as files
from trk.testing.base import logged as logged
from trk.testing.base import metric as metric
from trk.testing.base import skip as skip
from trk.testing.base import status as status
from trk.testing.base import table as table
from trk.testing.contract import BackendContract as BackendContract
