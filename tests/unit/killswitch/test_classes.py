"""Over-predicted classes: learned by counts that add, in bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.classes import MOST_CLASSES, OTHER, ClassShares, tallied

labels = st.lists(st.sampled_from("abcdef"), max_size=40)


def test_only_what_was_predicted_too_often_is_watched() -> None:
    shares = ClassShares()
    assert shares.over(["rain"]) == [False]
    shares.learn(tallied(["rain", "rain", "dry"]), tallied(["rain", "dry", "dry"]))
    assert shares.over(["rain", "dry", "fog"]) == [True, False, False]
    shares.learn({}, tallied(["rain"]))
    assert shares.over(["rain", "dry"]) == [False, False]


@settings(deadline=None)
@given(candidate=labels, incumbent=labels, parts=st.integers(1, 4))
def test_several_processes_learn_what_one_learns(
    candidate: list[str], incumbent: list[str], parts: int
) -> None:
    whole, shared = ClassShares(), ClassShares()
    whole.learn(tallied(candidate), tallied(incumbent))
    for part in range(parts):
        shared.learn(tallied(candidate[part::parts]), tallied(incumbent[part::parts]))
    assert shared.over(list("abcdef")) == whole.over(list("abcdef"))
    assert shared.candidate == whole.candidate


def test_beyond_the_most_classes_all_others_are_one() -> None:
    shares = ClassShares()
    shares.learn({f"{n:05}": 1 for n in range(MOST_CLASSES + 50)}, {})
    assert len(shares.candidate) == MOST_CLASSES + 1
    assert shares.candidate[OTHER] == 50
    assert shares.over(["never seen"]) == [True]
    shares.learn({}, {"another": 50})
    assert shares.over(["never seen", "00000"]) == [False, True]


def test_it_goes_on_after_being_kept() -> None:
    shares, again = ClassShares(), ClassShares()
    shares.learn({f"{n:05}": 2 for n in range(MOST_CLASSES + 5)} | {"x" * 500: 1}, {"00001": 9})
    again.restore(shares.keep())
    probe = ["00000", "00001", "unknown", "x" * 500]
    assert again.over(probe) == shares.over(probe)
    assert again.keep() == shares.keep()
