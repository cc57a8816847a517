"""What a `memcached:` URL can say; what is wrong with it is told without its password."""

import traceback

import pytest
from memcached_drills import opened, run

from fungible.core.errors import SettingError
from fungible.stores import Lack, Reach, StoreUnavailableError, Survives, open_store


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://u:s3cret@h", "signing in"),
        ("memcached://h/0", "no databases"),
        ("memcached:///run/m.sock", "memcached+unix:///path"),
        ("memcached+unix://run/m.sock", "the path of a Unix socket was expected"),
        ("memcached+unix://u:s3cret@/run/m.sock", "signing in"),
        ("memcached://h?pool_size=5", "no option 'pool_size'"),
        ("memcached://h?timeout_s=never", "timeout_s='never'"),
        ("memcached://h,h:11211", "named twice"),
        ("memcached://h:port", "must be name"),
    ],
)
def test_what_a_url_can_not_say_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingError) as raised:
        open_store(url)
    assert said in str(raised.value)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


def test_it_states_its_guarantees() -> None:
    guarantees = open_store("memcached://a,b:11212").guarantees
    assert (guarantees.reach, guarantees.survives) == (Reach.FLEET, Survives.PROCESS)
    assert guarantees.lacks == {Lack.EVICTS, Lack.RESTART, Lack.COMMON_CLOCK}
    assert guarantees.max_record_bytes < 1 << 20


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid", "x" * 70])
def test_where_nobody_answers_it_is_unavailable_at_once_and_again(host: str) -> None:
    async def drill() -> None:
        async with opened(f"memcached://{host}") as store:
            for _ in range(3):
                with pytest.raises(StoreUnavailableError, match="no connection"):
                    await store.get("k")

    run(drill())
