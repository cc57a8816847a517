from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fungible.check.model import Step
from fungible.check.runs.placement import Glue, apart, crashed, distinct, robin, slots_of
from fungible.check.runs.runner import Move


def moves(number: int) -> list[Move]:
    return [Move(Step(id=str(at), path="/")) for at in range(number)]


def slots(placed: Sequence[Move]) -> list[int]:
    return [move.slot for move in placed]


def glue(*groups: str) -> Glue:
    made = Glue()
    for group in groups:
        made.join(group)
    return made


def test_robin_takes_turns() -> None:
    assert slots(robin(moves(5), 2, Glue())) == [0, 1, 0, 1, 0]


def test_robin_with_a_stride_of_two_keeps_two_steps_in_a_row_together() -> None:
    assert slots(robin(moves(6), 2, Glue(), stride=2)) == [0, 0, 1, 1, 0, 0]


def test_distinct_gives_each_step_an_instance_that_served_none_before() -> None:
    assert slots(distinct(moves(6), Glue(), 8)) == [0, 1, 2, 3, 4, 5]


def test_distinct_comes_back_to_the_instance_idle_longest() -> None:
    assert slots(distinct(moves(5), Glue(), 3)) == [0, 1, 2, 0, 1]


def test_joined_steps_are_served_by_one_instance() -> None:
    placed = slots(distinct(moves(5), glue("13"), 8))
    assert placed[1] == placed[3]
    assert len(set(placed)) == 4


def test_joining_is_transitive() -> None:
    made = glue("12", "34", "23")
    assert made.joined("1", "4")
    assert not made.joined("1", "0")


def test_a_copied_glue_is_joined_by_itself() -> None:
    made = glue("12")
    other = made.copy()
    other.join("13")
    assert other.joined("2", "3")
    assert not made.joined("2", "3")


def test_apart_lets_one_move_alone_go_elsewhere() -> None:
    assert slots(apart(moves(4), 2)) == [0, 0, 1, 0]


def test_an_instance_is_killed_after_a_write_but_not_after_the_last_move() -> None:
    placed = crashed(moves(4), Glue(), [True, False, True, True])
    assert [move.kill_after for move in placed] == [True, False, True, False]
    assert set(slots(placed)) == {0}


def test_joined_steps_keep_their_instance_alive_until_the_last_of_them() -> None:
    placed = crashed(moves(5), glue("02"), [True] * 5)
    assert [move.kill_after for move in placed] == [False, False, True, True, False]


def test_no_move_uses_one_instance() -> None:
    assert slots_of([]) == 1


groups = st.lists(st.lists(st.sampled_from("01234567"), min_size=1, max_size=4), max_size=4)


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 3), groups)
def test_every_placement_keeps_joined_steps_together_and_numbers_slots_by_first_use(
    number: int, instances: int, stride: int, joined: list[list[str]]
) -> None:
    made = glue(*("".join(group) for group in joined))
    for placed in (robin(moves(number), instances, made, stride=stride), distinct(moves(number), made, instances)):
        assert [move.step.id for move in placed] == [str(at) for at in range(number)]
        assert slots_of(placed) <= instances
        first_uses = list(dict.fromkeys(slots(placed)))
        assert first_uses == list(range(len(first_uses)))
        for one in placed:
            assert all(one.slot == two.slot for two in placed if made.joined(one.step.id, two.step.id))
