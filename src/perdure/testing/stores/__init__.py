"""The suite that every store must pass: subclass it, give it a `place` fixture, and pytest does the rest.

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def place(self, tmp_path: Path) -> MyPlace: ...

`StoreSuite` is for every store; `SharedStoreSuite` is for one that several processes use, and whose disk can fail.
"""

from perdure.testing.stores.claims import Claims
from perdure.testing.stores.commits import Commits
from perdure.testing.stores.events import Events
from perdure.testing.stores.feed import Feed, SharedFeed
from perdure.testing.stores.inboxes import Inboxes
from perdure.testing.stores.locks import Locks
from perdure.testing.stores.place import Place, SharedPlace
from perdure.testing.stores.records import Records
from perdure.testing.stores.refusals import Refusals
from perdure.testing.stores.retention import Retention
from perdure.testing.stores.sharing import Sharing
from perdure.testing.stores.tasks import Tasks


class StoreSuite(Commits, Refusals, Claims, Inboxes, Events, Locks, Tasks, Records, Feed, Retention):
    """Every promise of `perdure.store.contract` that one process can see."""


class SharedStoreSuite(StoreSuite, Sharing, SharedFeed):
    """And those that take several processes, or a disk that fails. Its `place` is a `SharedPlace`."""


__all__ = ["Place", "SharedPlace", "SharedStoreSuite", "StoreSuite"]
