"""What is remembered for a while, whoever shares it."""

from threads_racing import race

from fungible.core.recent import Recent


def test_the_oldest_are_forgotten_and_a_finding_can_be_forgotten_by_name() -> None:
    recent: Recent[int] = Recent(2)
    assert [recent.add(name, number) for number, name in enumerate("abc")] == [0, 1, 2]
    assert [recent.get(name) for name in "abc"] == [None, 1, 2]
    recent.forget("b")
    recent.forget("b")
    assert (recent.get("b"), len(recent)) == (None, 1)


def test_many_threads_add_and_forget_at_once_and_none_fails() -> None:
    recent: Recent[int] = Recent(4)

    def work(thread: int, turn: int) -> None:
        assert recent.add(f"{thread}-{turn % 7}", turn) == turn
        recent.get(f"{thread - 1}-{turn % 7}")
        recent.forget(f"{thread - 1}-{(turn + 1) % 7}")

    race(work)
    recent.add("last", 1)
    assert len(recent) <= 4
