"""What locks promise: one holder for a tenant's key, over waits, restarts and deaths, until it lets go or has ended."""

from __future__ import annotations

from perdure.errors import StoreError
from perdure.store.contract import Batch, Committed, ExecutionsRefused
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import LEVEL, NOW, OTHER, SUCCEEDED, WAITING, WORKER, a_lock, a_turn, an_id, began


class Locks:
    """Promises of `acquire`, `holder`, and of `unlocks` in a batch."""

    @awaited
    async def test_rule_59_a_lock_has_one_holder(self, place: Place) -> None:
        """Who takes it first has it; others are told no, other paths of one execution too; the holder is told yes again."""
        store = await place.open()
        one, other = await began(store, 2)
        assert await store.holder("default", "till") is None
        assert await store.acquire([a_lock(one)]) == [True]
        assert await store.acquire([a_lock(other)]) == [False]
        assert await store.acquire([a_lock(one, path="pay#2")]) == [False]
        assert await store.acquire([a_lock(one)]) == [True]
        assert await store.holder("default", "till") == (one, "pay")

    @awaited
    async def test_rule_59_a_lock_belongs_to_a_tenant(self, place: Place) -> None:
        """The same key of another tenant, and another key, are other locks."""
        store = await place.open()
        (one,) = await began(store)
        (foreign,) = await began(store, tenant="acme")
        claims = [a_lock(one), a_lock(foreign, tenant="acme"), a_lock(one, "Till", path="other")]
        assert await store.acquire(claims) == [True, True, True]
        assert await store.holder("acme", "till") == (foreign, "pay")
        assert await store.holder("acme", "Till") is None

    @awaited
    async def test_of_several_claims_the_first_wins(self, place: Place) -> None:
        """In one call as in several: the order of the list is the order of arrival; a claim that stands twice holds twice."""
        store = await place.open()
        one, two, three = await began(store, 3)
        await store.acquire([a_lock(three, "taken")])
        claims = [a_lock(two), a_lock(one), a_lock(one, "taken"), a_lock(two), a_lock(one, "free"), a_lock(three, "free")]
        assert await store.acquire(claims) == [True, False, False, True, True, False]
        assert await store.holder("default", "till") == (two, "pay")
        assert await store.acquire([]) == []

    @awaited
    async def test_a_lock_is_let_go_with_a_commit(self, place: Place) -> None:
        """With the turn that says so it is free for the next one."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.acquire([a_lock(one), a_lock(one, "kept")])
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3)], unlocks=[a_lock(one)])) == Committed()
        assert await store.holder("default", "till") is None
        assert await store.holder("default", "kept") == (one, "pay")
        assert await store.acquire([a_lock(other)]) == [True]

    @awaited
    async def test_nobody_lets_go_what_is_not_its_own(self, place: Place) -> None:
        """Another execution, another path, another tenant, or a lock that nobody holds: nothing happens."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.acquire([a_lock(one)])
        foreign = [a_lock(other), a_lock(one, path="pay#2"), a_lock(one, tenant="acme"), a_lock(one, "never")]
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3)], unlocks=foreign)) == Committed()
        assert await store.holder("default", "till") == (one, "pay")

    @awaited
    async def test_a_former_home_lets_go_of_nothing(self, place: Place) -> None:
        """A fenced execution keeps its locks, also when the late turn would have ended it; the others let go."""
        store = await place.open()
        lost, ended, kept = await began(store, 3)
        await store.acquire([a_lock(lost, "1"), a_lock(ended, "2"), a_lock(kept, "3")])
        batch = Batch(
            turns=[
                a_turn(lost, epoch=7, first_seq=3),
                a_turn(ended, epoch=7, first_seq=3, status=SUCCEEDED),
                a_turn(kept, first_seq=3),
            ],
            unlocks=[a_lock(lost, "1"), a_lock(kept, "3")],
        )
        assert await store.commit(batch) == Committed(fenced=frozenset({lost, ended}))
        holders = [await store.holder("default", key) for key in "123"]
        assert holders == [(lost, "pay"), (ended, "pay"), None]

    @awaited
    async def test_a_lock_that_cannot_be_let_go_refuses_its_execution(self, place: Place) -> None:
        """A text that is no Unicode names the execution it came from; the others' locks are free."""
        store = await place.open()
        poisoned, kept, quiet = await began(store, 3)
        await store.acquire([a_lock(kept), a_lock(quiet, "quiet")])
        batch = Batch(
            turns=[a_turn(poisoned, first_seq=3), a_turn(kept, first_seq=3)],
            unlocks=[a_lock(poisoned, "\ud800"), a_lock(kept), a_lock(quiet, "quiet")],
        )
        refused = await raised(ExecutionsRefused, store.commit(batch))
        assert set(refused.refused) == {poisoned}
        assert [await store.holder("default", key) for key in ("till", "quiet")] == [None, None]
        await raised(StoreError, store.acquire([a_lock(kept), a_lock(kept, "\ud800")]))
        assert await store.holder("default", "till") is None

    @awaited
    async def test_what_has_ended_holds_no_lock(self, place: Place) -> None:
        """With the commit that makes it final all its locks are free, at home or released; those of others stay."""
        store = await place.open()
        one, two, other = await began(store, 3)
        await store.acquire([a_lock(one, "1"), a_lock(one, "2", path="b"), a_lock(two, "3"), a_lock(other, "4")])
        turns = [
            a_turn(one, first_seq=3, status=SUCCEEDED),
            a_turn(two, first_seq=3, status=SUCCEEDED, release=True),
            a_turn(other, first_seq=3, status=WAITING, release=True),
        ]
        await store.commit(Batch(turns=turns))
        holders = [await store.holder("default", key) for key in "1234"]
        assert holders == [None, None, None, (other, "pay")]

    @awaited
    async def test_what_has_ended_or_is_not_there_takes_no_lock(self, place: Place) -> None:
        """Nobody would ever give it back."""
        store = await place.open()
        ended, one = await began(store, 2)
        await store.commit(Batch(turns=[a_turn(ended, first_seq=3, status=SUCCEEDED)]))
        assert await store.acquire([a_lock(ended), a_lock(an_id()), a_lock(one)]) == [False, False, True]
        assert await store.holder("default", "till") == (one, "pay")

    @awaited
    async def test_rule_59_a_lock_outlives_its_home(self, place: Place) -> None:
        """It is held over a release, a death and a claim by another home, which gets the same answer and may let go."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.acquire([a_lock(one)])
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, status=WAITING, release=True)]))
        assert await store.acquire([a_lock(other)]) == [False]
        place.die(store)
        store = await place.open()
        await store.register(OTHER, now=NOW, level=LEVEL)
        await store.claim(OTHER, NOW, limit=9, level=LEVEL, only=[one])
        assert await store.holder("default", "till") == (one, "pay")
        assert await store.acquire([a_lock(one)]) == [True]
        await store.commit(Batch(turns=[a_turn(one, epoch=2, first_seq=5)], unlocks=[a_lock(one)]))
        assert await store.acquire([a_lock(other)]) == [True]

    @awaited
    async def test_a_death_takes_all_locks_of_a_call_or_none(self, place: Place) -> None:
        """Dead before `acquire`: nothing is held after the restart. Dead after it: all is, and asking again says so."""
        store = await place.open()
        (one,) = await began(store)
        claims = [a_lock(one, "1"), a_lock(one, "2")]
        for moment, there in (("before", None), ("after", (one, "pay"))):
            faulty = FaultyStore(store, die=(1, moment))  # type: ignore[arg-type]  # the loop's moments are literals
            try:
                await faulty.acquire(claims)
            except Crash:
                place.die(store)
            store = await place.open()
            assert [await store.holder("default", key) for key in "12"] == [there, there]
        assert await store.acquire(claims) == [True, True]

    @awaited
    async def test_asking_for_what_is_held_writes_nothing(self, place: Place) -> None:
        """Who waits asks again and again: that takes no transaction from those who work."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.acquire([a_lock(one)])
        before = store.usage()
        assert await store.acquire([a_lock(other), a_lock(one)]) == [False, True]
        assert (store.usage().transactions, store.usage().rows) == (before.transactions, before.rows)
        assert await store.arrived(WORKER) == []
