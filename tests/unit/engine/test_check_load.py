"""What became of the requests of a check."""

from __future__ import annotations

from bento.engine.check.load import Request, count


def test_requests_are_counted_by_when_they_were_sent_and_how_they_ended():
    requests = [
        Request(0.0, "answered", 0.5),
        Request(0.2, "lost", 0.4),  # before the stop: of no interest
        Request(0.9, "answered", 1.2),
        Request(0.95, "lost", 1.1),  # under way when it began
        Request(1.1, "lost", 1.15),  # as the socket was closed
        Request(1.25, "lost", 1.3),  # late
        Request(1.26, "refused", 1.26),
        Request(1.3),
    ]
    counted = count(requests, 1.0)
    assert (counted.sent, counted.answered, counted.refused) == (8, 2, 1)
    assert (counted.unanswered, counted.unanswered_late, counted.longest_s) == (1, 1, 0.5)
    assert count(requests, 1.0, told_s=0.1).unanswered_late == 0
    assert count([], 1.0).longest_s == 0.0
