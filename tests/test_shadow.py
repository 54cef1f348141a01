import contextlib
import threading
import types

from keras_concepts._shadow import shadow_in_thread


class Thing:
    def name(self):
        return "own"


def test_threads_leave_in_any_order():
    """Replicas enter one after the other, and leave in the same order."""
    thing = Thing()
    first, second = (contextlib.ExitStack() for _ in range(2))
    first.enter_context(shadow_in_thread(thing, "name", lambda: "first"))
    second.enter_context(shadow_in_thread(thing, "name", lambda: "second"))
    first.close()
    assert thing.name() == "second"
    second.close()
    assert vars(thing) == {}
    assert thing.name() == "own"


def test_what_an_instance_had_comes_back():
    thing = types.SimpleNamespace(name=lambda: "own")
    with shadow_in_thread(thing, "name", lambda: "shadow"):
        with shadow_in_thread(thing, "name", lambda: "inner"):
            assert thing.name() == "inner"
        assert thing.name() == "shadow"
    assert thing.name() == "own"


def test_other_threads_meet_the_original():
    thing, seen = Thing(), []
    with shadow_in_thread(thing, "name", lambda: "shadow"):
        other = threading.Thread(target=lambda: seen.append(thing.name()))
        other.start()
        other.join()
        assert thing.name() == "shadow"
    assert seen == ["own"]
