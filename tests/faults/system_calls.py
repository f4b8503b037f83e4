"""Runs a command and asks, before each system call that changes a file, whether it may, fails, or is the last one.

Linux only, without privileges: a seccomp filter that the command inherits [1] hands those calls to this process, which
sees their paths, and lets them go on, answers with an error number, or kills the command. Threads and child processes
are included, C++ as well as Python. What is written through a shared mapping is not seen.

[1] seccomp_unotify(2), Linux 5.5.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import dataclasses
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# name: (number on x86_64, number on aarch64, arguments). D: directory descriptor and P: path, F: descriptor.
_CALLS = {
    "open": (2, None, "P"),
    "creat": (85, None, "P"),
    "openat": (257, 56, "DP"),
    "write": (1, 64, "F"),
    "pwrite64": (18, 68, "F"),
    "writev": (20, 66, "F"),
    "pwritev": (296, 70, "F"),
    "sendfile": (40, 71, "F"),
    "copy_file_range": (326, 285, "--F"),
    "fallocate": (285, 47, "F"),
    "ftruncate": (77, 46, "F"),
    "truncate": (76, 45, "P"),
    "fsync": (74, 82, "F"),
    "fdatasync": (75, 83, "F"),
    "mkdir": (83, None, "P"),
    "mkdirat": (258, 34, "DP"),
    "rmdir": (84, None, "P"),
    "unlink": (87, None, "P"),
    "unlinkat": (263, 35, "DP"),
    "rename": (82, None, "P"),
    "renameat": (264, 38, "DP"),
    "renameat2": (316, 276, "DP"),
    "link": (86, None, "-P"),
    "linkat": (265, 37, "--DP"),
    "symlink": (88, None, "-P"),
    "symlinkat": (266, 36, "-DP"),
    "chmod": (90, None, "P"),
    "fchmod": (91, 52, "F"),
    "fchmodat": (268, 53, "DP"),
    "utimensat": (280, 88, "DP"),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_FLAGS_AT = {"open": 1, "openat": 2}
_MODIFY = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_CONTINUE = 1
_AT_FDCWD = -100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A system call that is about to change something beneath the directory that is watched.

    Attributes:
      number: 1 for the first of the command.
      call: name of the system call.
      path: what it changes; of a rename, the source.
      process: id of the process or thread that calls.
    """

    number: int
    call: str
    path: str
    process: int


@dataclasses.dataclass(frozen=True, slots=True)
class Fail:
    """The call does nothing and returns this error number."""

    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Kill:
    """The whole process group of the command ends before the call."""

    signal: int = signal.SIGKILL


Verdict = Fail | Kill | None
Ended = subprocess.CompletedProcess[str]


def why_not() -> str | None:
    """Why calls cannot be watched here, or `None`."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return f"watches system calls of Linux on {' and '.join(_MACHINES)} alone"
    try:
        ended = run([sys.executable, "-S", "-c", "print(1)"], beneath=Path("/nowhere"), decide=lambda _: None)
    except OSError as error:
        return f"this system does not let a process watch its children: {error}"
    return None if ended.stdout == "1\n" else f"this system does not let a process watch its children: {ended.stderr}"


def run(
    command: Sequence[str],
    *,
    beneath: Path,
    decide: Callable[[Change], Verdict],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300.0,
) -> Ended:
    """Runs `command` to its end, with `decide` called for each change beneath a directory, in order, on another thread.

    Raises whatever `decide` raised, after the command was killed.
    """
    ours, theirs = socket.socketpair()
    launch = [sys.executable, "-S", "-E", str(Path(__file__)), str(theirs.fileno()), *command]
    with (
        ours,
        theirs,
        subprocess.Popen(
            launch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=None if env is None else dict(env),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        ) as process,
    ):
        theirs.close()
        listener = _receive_descriptor(ours)
        watcher = _Watcher(process.pid, listener, str(beneath.resolve()), decide)
        watcher.start()
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            watcher.join()
            os.close(listener)
    if watcher.error is not None:
        raise watcher.error
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


class _Watcher(threading.Thread):
    def __init__(self, group: int, listener: int, beneath: str, decide: Callable[[Change], Verdict]) -> None:
        super().__init__(name="system calls")
        self.error: BaseException | None = None
        self._group = group
        self._listener = listener
        self._beneath = beneath
        self._decide = decide
        self._seen = 0
        side, _ = _MACHINES[platform.machine()]
        self._names = {numbers[side]: name for name, numbers in _CALLS.items() if numbers[side] is not None}

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            ((_, events),) = poll.poll()
            if not events & select.POLLIN:
                return  # nobody is left whose calls come here
            notice = bytearray(80)
            try:
                fcntl.ioctl(self._listener, _RECEIVE, notice)
            except OSError:
                continue  # its caller has been killed meanwhile
            cookie, process, _, number = struct.unpack_from("<QIIi", notice)
            verdict = self._judge(process, self._names[number], struct.unpack_from("<6Q", notice, 32))
            if isinstance(verdict, Kill):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._group, verdict.signal)
            error, flags = (-verdict.number, 0) if isinstance(verdict, Fail) else (0, _CONTINUE)
            if not isinstance(verdict, Kill) or verdict.signal != signal.SIGKILL:
                with contextlib.suppress(OSError):
                    fcntl.ioctl(self._listener, _SEND, struct.pack("<QqiI", cookie, 0, error, flags))

    def _judge(self, process: int, call: str, arguments: tuple[int, ...]) -> Verdict:
        path = _path(process, _CALLS[call][2], arguments)
        if path is None or not (path == self._beneath or path.startswith(self._beneath + os.sep)):
            return None
        self._seen += 1
        try:
            return self._decide(Change(number=self._seen, call=call, path=path, process=process))
        except BaseException as error:  # noqa: BLE001  # raised by `run`
            self.error = error
            return Kill()


def _path(process: int, kinds: str, arguments: tuple[int, ...]) -> str | None:
    """The path that a call names, absolute; `None` if it is gone."""
    place = kinds.find("F")
    try:
        if place >= 0:
            return str(Path(f"/proc/{process}/fd/{arguments[place] & 0xFFFFFFFF}").readlink())
        place = kinds.index("P")
        name = os.fsdecode(_text(process, arguments[place]))
        given = arguments[kinds.index("D")] if "D" in kinds else _AT_FDCWD
        descriptor = ctypes.c_int(given & 0xFFFFFFFF).value
        at = "cwd" if descriptor == _AT_FDCWD else f"fd/{descriptor}"
        start = Path("/") if name.startswith("/") else Path(f"/proc/{process}/{at}").readlink()
    except (OSError, ValueError):
        return None
    return os.path.normpath(start / name)


def _text(process: int, address: int) -> bytes:
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        text = b""
        while b"\0" not in text:
            text += memory.read(256 - (address + len(text)) % 256)  # never beyond a page that may be the last
        return text.partition(b"\0")[0]


def _receive_descriptor(connection: socket.socket) -> int:
    text, ancillary, _, _ = connection.recvmsg(200, socket.CMSG_LEN(4))
    if not ancillary:
        raise OSError(text.decode() or "the filter could not be installed")
    return array.array("i", ancillary[0][2])[0]


def _program() -> bytes:
    """The filter, in BPF: `openat` and `open` only if they may write."""
    machine = platform.machine()
    side, audit = _MACHINES[machine]
    load, equal, bits, answer = 0x20, 0x15, 0x45, 0x06
    code = [(load, 0, 0, 4), (equal, 1, 0, audit), (answer, 0, 0, _ALLOW), (load, 0, 0, 0)]
    for name, numbers in _CALLS.items():
        if numbers[side] is None:
            continue
        if name in _FLAGS_AT:
            code += [
                (equal, 0, 4, numbers[side]),
                (load, 0, 0, 16 + 8 * _FLAGS_AT[name]),
                (bits, 0, 1, _MODIFY),
                (answer, 0, 0, _NOTIFY),
                (answer, 0, 0, _ALLOW),
            ]
        else:
            code += [(equal, 0, 1, numbers[side]), (answer, 0, 0, _NOTIFY)]
    code.append((answer, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *each) for each in code)


def _launch(descriptor: int, command: Sequence[str]) -> None:
    """In the child: installs the filter, hands the listener over, becomes the command."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program()
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    with socket.socket(fileno=descriptor) as connection:
        set_mode_filter, new_listener, no_new_privs = 1, 8, 38
        listener = -1
        if libc.prctl(no_new_privs, 1, 0, 0, 0) == 0:
            listener = libc.syscall(_SECCOMP[platform.machine()], set_mode_filter, new_listener, header)
        if listener < 0:
            connection.sendall(os.strerror(ctypes.get_errno()).encode())
            raise SystemExit(1)
        rights = array.array("i", [listener])
        connection.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    _launch(int(sys.argv[1]), sys.argv[2:])
