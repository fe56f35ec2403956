"""One item is made ahead while another is used, and no more; the thread ends with its reader."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator

import pytest
from conftest import PATIENCE

from ocr_onnx.inputs.prefetch import map_on_workers, prefetch


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("ocr-onnx-reader")}


def happens(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    assert happens(lambda: not readers())
    yield
    assert happens(lambda: not readers())


def numbers(count: int, begun: list[int]) -> Generator[int, None, None]:
    for number in range(count):
        begun.append(number)
        yield number


def test_items_come_in_order_and_all() -> None:
    assert list(prefetch(numbers(100, []))) == list(range(100))
    assert list(prefetch(numbers(0, []))) == []


def test_nothing_begins_before_the_first_is_asked_for() -> None:
    begun: list[int] = []
    prefetch(numbers(3, begun))
    assert begun == []


def test_the_next_is_made_while_this_one_is_used() -> None:
    second_begun = threading.Event()

    def source() -> Generator[int, None, None]:
        yield 1
        second_begun.set()
        yield 2

    items = prefetch(source())
    assert next(items) == 1
    assert second_begun.wait(PATIENCE)
    assert list(items) == [2]


def test_never_more_than_one_is_made_ahead() -> None:
    begun: list[int] = []
    for number in prefetch(numbers(8, begun)):
        assert happens(lambda number=number: len(begun) == min(number + 2, 8))  # type: ignore[misc]
        time.sleep(0.02)
        assert len(begun) == min(number + 2, 8)


def test_all_is_made_in_one_thread_that_is_not_the_readers() -> None:
    idents = list(prefetch(threading.get_ident() for _ in range(5)))
    assert len(set(idents)) == 1
    assert threading.get_ident() not in idents


def test_the_first_can_be_made_in_the_readers_thread_and_the_others_in_one() -> None:
    first, *others = prefetch((threading.get_ident() for _ in range(5)), first_in_caller_thread=True)
    assert first == threading.get_ident()
    assert len(others) == 4
    assert len(set(others)) == 1
    assert first not in others
    assert list(prefetch(numbers(1, []), first_in_caller_thread=True)) == [0]
    assert list(prefetch(numbers(0, []), first_in_caller_thread=True)) == []


def test_one_whose_first_is_made_in_the_readers_thread_ends_as_others_do() -> None:
    closed = threading.Event()

    def source() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = prefetch(source(), first_in_caller_thread=True)
    assert next(items) == 1
    items.close()
    assert closed.wait(PATIENCE)
    broken = prefetch((1 // number for number in (0, 1)), first_in_caller_thread=True)
    with pytest.raises(ZeroDivisionError):
        next(broken)
    assert next(broken, None) is None


@pytest.mark.parametrize("first_in_caller_thread", [False, True])
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_error_comes_at_its_place(error: BaseException, first_in_caller_thread: bool) -> None:
    def source() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise error

    items = prefetch(source(), first_in_caller_thread=first_in_caller_thread)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(type(error)):
        next(items)
    assert next(items, None) is None


@pytest.mark.parametrize("way", ["close", "drop"])
def test_leaving_closes_the_source_in_its_thread(way: str) -> None:
    closed_in: list[int] = []

    def source() -> Generator[int, None, None]:
        try:
            while True:
                yield threading.get_ident()
        finally:
            closed_in.append(threading.get_ident())

    items = prefetch(source())
    thread = next(items)
    if way == "close":
        items.close()
    del items
    assert happens(lambda: closed_in == [thread])


def test_leaving_does_not_wait_for_the_item_in_progress() -> None:
    go_on = threading.Event()

    def source() -> Generator[int, None, None]:
        yield 1
        go_on.wait(PATIENCE)
        yield 2

    items = prefetch(source())
    next(items)
    items.close()
    assert not go_on.is_set()
    assert readers()
    go_on.set()


def test_an_iterator_that_is_left_at_the_end_of_a_script_says_nothing() -> None:
    script = "from ocr_onnx.inputs.prefetch import prefetch; items = prefetch(i for i in range(9)); print(next(items))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_gets_an_error_and_does_not_wait() -> None:
    script = """
import os, sys
from ocr_onnx.errors import OCRError
from ocr_onnx.inputs.prefetch import map_on_workers, prefetch
items = prefetch(i for i in range(9))
next(items)
if os.fork() == 0:
    try:
        next(items)
    except OCRError as error:
        os._exit(7 if "fork" in str(error) else 1)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.wait()[1]), list(items))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == "7 [1, 2, 3, 4, 5, 6, 7, 8]\n", done.stderr


def doubled(number: int) -> int:
    return 2 * number


def test_spread_results_come_in_order_and_all_tasks_work() -> None:
    used: dict[str, list[int]] = {"slow": [], "fast": []}

    def task(name: str, seconds: float) -> Callable[[int], int]:
        def run(number: int) -> int:
            used[name].append(number)
            time.sleep(seconds)
            return 2 * number

        return run

    results = list(map_on_workers(numbers(30, []), [task("slow", 0.03), task("fast", 0.001)]))
    assert results == [2 * number for number in range(30)]
    assert 0 < len(used["slow"]) < len(used["fast"])
    assert sorted(used["slow"] + used["fast"]) == list(range(30))
    assert list(map_on_workers(numbers(0, []), [doubled])) == []


def test_two_tasks_work_at_a_time_and_each_on_one_thing() -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def together(number: int) -> int:
        both.wait()
        return number

    assert list(map_on_workers(numbers(10, []), [together, together])) == list(range(10))


def test_little_is_read_ahead_of_a_slow_reader() -> None:
    begun: list[int] = []
    results = map_on_workers(numbers(100, begun), [doubled, doubled])
    assert begun == []
    assert next(results) == 0
    assert happens(lambda: len(begun) == 4)
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]
    results.close()
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]


def test_an_error_of_the_source_or_of_a_task_is_raised_at_its_place() -> None:
    def source() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise ValueError("third")

    results = map_on_workers(source(), [doubled, doubled])
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(ValueError, match="third"):
        next(results)

    def fails(number: int) -> int:
        if number == 1:
            raise ValueError("one")
        return number

    results = map_on_workers(numbers(5, []), [fails, fails])
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)


def test_leaving_a_spread_closes_its_source() -> None:
    closed = threading.Event()

    def source() -> Generator[int, None, None]:
        try:
            yield from range(100)
        finally:
            closed.set()

    results = map_on_workers(source(), [doubled, doubled])
    next(results)
    results.close()
    assert closed.wait(PATIENCE)
