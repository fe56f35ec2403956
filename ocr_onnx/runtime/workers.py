"""Threads for tasks that also work after the end of the main thread, unlike those of concurrent.futures.

Python lets other threads, and functions registered with atexit, run after the end of the main thread. ThreadPoolExecutor refuses
tasks by then, so a thread of the user could no longer read a page.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

Task = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Workers:
    """At most `count` daemon threads that run tasks in the order in which they were submitted; started when they are needed.

    If no thread can be started, because Python exits, a task runs in the caller's thread.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._is_closed = _is_exiting.is_set()
        _all_workers.add(self)

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run `task(*arguments)` in a thread; return its future."""
        future: Future[Any] = Future()
        with self._lock:
            if not self._is_closed and self._has_thread():
                self._tasks.put((future, task, arguments))
                return future
        _run(future, task, arguments)
        return future

    def close(self) -> None:
        """End the threads after the submitted tasks; do not wait for it. Later tasks run in the caller's thread."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                # Their last tasks can outlive this object.
                _ending_threads.update(self._threads)
                for _ in self._threads:
                    self._tasks.put(None)

    def _has_thread(self) -> bool:
        """Start a thread unless one is idle or there are enough; return whether a thread will run the next task."""
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._count:
            thread = threading.Thread(
                target=_work, args=(self._tasks, self._idle), name=f"{self._name}_{len(self._threads)}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # Python exits, or the system has no more threads.
                return bool(self._threads)
            self._threads.append(thread)
        return True


def _work(tasks: SimpleQueue[Task | None], idle: threading.Semaphore) -> None:
    """Run tasks until None comes. It has no reference to its Workers."""
    while (task := tasks.get()) is not None:
        _run(*task)
        # The next task is awaited without a reference to the result of this one.
        del task
        idle.release()
    _ending_threads.discard(threading.current_thread())


def _run(future: Future[Any], task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Run a task unless its future was canceled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(task(*arguments))
    except BaseException as error:  # noqa: BLE001 the future raises it
        future.set_exception(error)
        # The traceback of the exception refers to this frame: a cycle that holds memory until collected.
        del future


_all_workers: weakref.WeakSet[Workers] = weakref.WeakSet()
_ending_threads: set[threading.Thread] = set()
"""The threads of closed workers that have not ended."""
_is_exiting = threading.Event()

if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork.
    os.register_at_fork(after_in_child=_all_workers.clear)
    os.register_at_fork(after_in_child=_ending_threads.clear)


@atexit.register
def _finish() -> None:
    """Wait for tasks in progress: a daemon thread inside a C++ library would abort the process when the interpreter is gone."""
    _is_exiting.set()
    for each in list(_all_workers):
        each.close()
    for thread in _ending_threads - {threading.current_thread()}:
        thread.join()
