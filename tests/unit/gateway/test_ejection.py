"""A server that keeps failing is left out for a time that grows while it deserves it."""

from __future__ import annotations

from domain.routing import Ejection
from gateway.ejection import Outlier

LIMITS = Ejection(consecutive_errors=3, pause=30.0, longest=100.0)


def failing(outlier: Outlier, times: int) -> Outlier:
    outlier.errors += times
    return outlier


def test_it_is_due_after_so_many_errors_in_a_row() -> None:
    outlier = Outlier(LIMITS)
    assert not failing(outlier, 2).due
    assert failing(outlier, 1).due


def test_nought_never_ejects() -> None:
    assert not failing(Outlier(Ejection(consecutive_errors=0)), 10_000).due


def test_each_ejection_lasts_one_pause_longer_up_to_the_longest() -> None:
    outlier, now, lasted = Outlier(LIMITS), 1000.0, []
    for _ in range(5):
        failing(outlier, 3).eject(now)
        lasted.append(outlier.until - now)
        assert not outlier.returned(outlier.until - 0.1)
        now = outlier.until
        assert outlier.returned(now)
        assert not outlier.ejected
    assert lasted == [30.0, 60.0, 90.0, 100.0, 100.0]


def test_errors_while_it_is_ejected_do_not_eject_it_again() -> None:
    outlier = Outlier(LIMITS)
    failing(outlier, 3).eject(0.5)
    assert not failing(outlier, 50).due


def test_every_good_pause_forgives_one_ejection() -> None:
    outlier = Outlier(LIMITS)
    for start in (0.0, 31.0):
        failing(outlier, 3).eject(start)
        outlier.returned(outlier.until)
    back = 31.0 + 60.0
    assert outlier.times == 2
    outlier.returned(back + 29.0)
    assert outlier.times == 2
    outlier.returned(back + 30.0)
    outlier.returned(back + 60.0)
    assert outlier.times == 0
