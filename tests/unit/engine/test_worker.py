"""What a worker tells its caller: nothing that is asked for is lost, and views do not pile up."""

from __future__ import annotations

from bento.engine.base.worker import Message, failed, in_worker
from bento.errors import NotFound
from bento.model.stop import StopView

from support import procs


def test_a_name_may_be_any_bytes():
    def work(emit):
        for name in ("a\udcff", "web"):
            emit(failed(name, NotFound(f"no such container: {name}")))

    assert [message.name for message in in_worker(work)] == ["a\\udcff", "web"]


def test_s06_views_that_are_not_read_do_not_pile_up(tmp_path):
    done = tmp_path / "done"

    def work(emit):
        emit(Message(kind="begun", name="web"))
        for number in range(2000):
            emit(Message(kind="view", name="web", view=StopView(name="web", phase="grace", signal="x" * 1000)))
            emit(Message(kind="phase", name=str(number)))
        done.touch()
        emit(Message(kind="ended", name="web"))

    messages = in_worker(work)
    procs.wait_until(done.exists, what="its end: it never waits for its reader")
    kinds = [message.kind for message in messages]
    assert kinds.count("phase") == 2000
    assert 0 < kinds.count("view") < 200
    assert (kinds[0], kinds[-1]) == ("begun", "ended")
