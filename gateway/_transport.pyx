# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Plain connections without an event loop's machinery between the socket and its protocol. Linux.

The problem: for each read an event loop asks for a buffer, takes the interpreter's lock twice and enters a
context, and for each write it keeps lists; measured, a sixth of what the gateway's process runs in user mode.
Here one epoll of our own holds all plain connections, and the event loop watches only that: what is ready is
read in one go and handed to its protocol; what is written is sent at once.

The guarantee: to its protocol a `PlainTransport` is what asyncio says of a transport (docs.python.org, library/
asyncio-protocol). `connection_made` comes first; `connection_lost` comes last, once, and never from within a call
of the protocol's own. What was written leaves in order and whole, or the connection is lost. Nothing is read while
reading is paused.
"""
from collections import deque
from os import strerror

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close as close_descriptor

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int fd, void* buffer, size_t length, int flags)
    ssize_t c_send "send"(int fd, const void* buffer, size_t length, int flags)
    int c_shutdown "shutdown"(int fd, int how)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        SHUT_WR

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int timeout)
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP

cdef enum:
    AT_ONCE = 256
    MOST_READ = 262144
    # Bytes unsent over which a protocol is asked to pause writing, and down to which to resume: asyncio's.
    HIGH = 65536
    LOW = 16384

cdef char READ[MOST_READ]


cdef object last_error():
    number = errno
    return OSError(number, strerror(number))


cdef class Readiness:
    """The epoll that holds the plain connections of one event loop."""
    cdef int descriptor
    cdef object loop
    cdef set watched  # keeps alive what the epoll points to
    cdef epoll_event events[AT_ONCE]

    def __cinit__(self):
        self.descriptor = -1

    def __init__(self, loop):
        """Raises OSError when there is no file descriptor left."""
        self.loop = loop
        self.watched = set()
        self.descriptor = epoll_create1(EPOLL_CLOEXEC)
        if self.descriptor < 0:
            raise last_error()
        loop.add_reader(self.descriptor, self.look)

    def __len__(self):
        """Connections not lost yet."""
        return len(self.watched)

    def close(self):
        """Look no more; what is still connected stays so and hears nothing."""
        if self.descriptor >= 0:
            self.loop.remove_reader(self.descriptor)
            close_descriptor(self.descriptor)
            self.descriptor = -1

    def look(self):
        """Let everybody read and write whose socket is ready: servers' connections before clients', so that what
        a server said unasked is heard before a client's request is sent to it."""
        cdef int count = epoll_wait(self.descriptor, self.events, AT_ONCE, 0)
        self.serve(count, True)
        self.serve(count, False)

    cdef int serve(self, int count, bint ahead) except -1:
        cdef int index
        cdef uint32_t ready
        cdef PlainTransport transport
        for index in range(count):
            # Whoever was lost meanwhile is let go by a callback of its own, so what is pointed to is there.
            transport = <PlainTransport>self.events[index].data.ptr
            if transport.ahead != ahead:
                continue
            ready = self.events[index].events
            try:
                if ready & EPOLLOUT and transport.interest & EPOLLOUT:
                    transport.send_on()
                if ready & (EPOLLIN | EPOLLERR | EPOLLHUP):
                    if transport.interest & EPOLLIN:
                        transport.read()
                    elif transport.interest & EPOLLOUT and not ready & EPOLLOUT:
                        transport.send_on()
            except Exception as error:
                transport.fail(error)
                self.loop.call_exception_handler(
                    {"message": "a protocol failed", "exception": error, "transport": transport}
                )
        return 0


cdef class PlainTransport:
    """A socket's transport: `protocol` is told of it before the constructor returns.

    `connected` is a non-blocking stream socket, which is the transport's from now on; `ahead` of others it is
    read when several are ready. Raises OSError when it cannot be watched; the socket is closed then, and the
    protocol was told nothing.
    """
    cdef Readiness readiness
    cdef object socket, protocol, received, unsent
    cdef int descriptor
    cdef uint32_t interest
    cdef Py_ssize_t backlog, sent
    cdef bint ahead, closing, ending, over, ended, finishing

    def __init__(self, Readiness readiness, protocol, connected, *, bint ahead=False):
        self.readiness = readiness
        self.ahead = ahead
        self.socket = connected
        self.protocol = protocol
        self.received = protocol.data_received
        self.descriptor = connected.fileno()
        self.unsent = deque()
        readiness.watched.add(self)
        try:
            self.watch(EPOLLIN)
        except OSError:
            readiness.watched.discard(self)
            self.closing = self.ending = True
            connected.close()
            raise
        try:
            protocol.connection_made(self)
        except BaseException:
            self.abort()
            raise

    def __repr__(self):
        state = "closing" if self.closing else "open"
        return f"<PlainTransport {self.descriptor} {state} unsent={self.backlog}>"

    cdef int watch(self, uint32_t interest) except -1:
        """Hear of `interest` from now on. Of none: of nothing, not even of errors, which epoll would repeat."""
        cdef epoll_event event
        cdef int what
        if interest == self.interest:
            return 0
        what = EPOLL_CTL_ADD if not self.interest else EPOLL_CTL_MOD if interest else EPOLL_CTL_DEL
        event.events = interest
        event.data.ptr = <void*>self
        if epoll_ctl(self.readiness.descriptor, what, self.descriptor, &event) < 0:
            raise last_error()
        self.interest = interest
        return 0

    # ---- in -------------------------------------------------------------------------------------------

    cdef int read(self) except -1:
        cdef ssize_t size = c_recv(self.descriptor, READ, MOST_READ, MSG_DONTWAIT)
        if size > 0:
            self.received(PyBytes_FromStringAndSize(READ, size))
        elif size == 0:
            self.watch(self.interest & ~EPOLLIN)
            self.ended = True
            if not self.protocol.eof_received():
                self.close()
        elif errno != EAGAIN and errno != EINTR:
            self.fail(last_error())
        return 0

    def pause_reading(self):
        if not self.ending:
            self.watch(self.interest & ~EPOLLIN)

    def resume_reading(self):
        if not (self.ending or self.ended):
            self.watch(self.interest | EPOLLIN)

    def is_reading(self):
        return bool(self.interest & EPOLLIN)

    # ---- out ------------------------------------------------------------------------------------------

    def write(self, bytes data):
        cdef ssize_t size = PyBytes_GET_SIZE(data)
        cdef ssize_t sent = 0
        if self.closing:
            return
        if self.finishing:
            raise RuntimeError("nothing can be written after write_eof")
        if not self.backlog:
            sent = c_send(self.descriptor, PyBytes_AS_STRING(data), size, MSG_NOSIGNAL | MSG_DONTWAIT)
            if sent == size:
                return
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.fail(last_error())
                    return
                sent = 0
            self.sent = sent
            self.watch(self.interest | EPOLLOUT)
        self.unsent.append(data)
        self.backlog += size - sent
        if self.backlog > HIGH and not self.over:
            self.over = True
            self.protocol.pause_writing()

    def writelines(self, lines):
        self.write(b"".join(lines))

    cdef int send_on(self) except -1:
        cdef bytes data
        cdef ssize_t size, sent
        while self.backlog:
            data = self.unsent[0]
            size = PyBytes_GET_SIZE(data) - self.sent
            sent = c_send(
                self.descriptor, PyBytes_AS_STRING(data) + self.sent, size, MSG_NOSIGNAL | MSG_DONTWAIT
            )
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.fail(last_error())
                    return 0
                break
            self.backlog -= sent
            if sent < size:
                self.sent += sent
                break
            self.sent = 0
            self.unsent.popleft()
        if not self.backlog:
            self.watch(self.interest & ~EPOLLOUT)
            if self.closing:
                self.end(None)
            elif self.finishing:
                c_shutdown(self.descriptor, SHUT_WR)
        if self.over and self.backlog <= LOW and not self.closing:
            self.over = False
            self.protocol.resume_writing()
        return 0

    def get_write_buffer_size(self):
        """Bytes."""
        return self.backlog

    def can_write_eof(self):
        return True

    def write_eof(self):
        if not (self.closing or self.finishing):
            self.finishing = True
            if not self.backlog:
                c_shutdown(self.descriptor, SHUT_WR)

    # ---- the end --------------------------------------------------------------------------------------

    def is_closing(self):
        return self.closing

    def close(self):
        """Once everything is sent; nothing is read any more."""
        if self.closing:
            return
        self.closing = True
        if self.backlog:
            self.watch(EPOLLOUT)
        else:
            self.end(None)

    def abort(self):
        """Now; what is unsent is lost."""
        self.end(None)

    cdef int fail(self, error) except -1:
        self.end(error)
        return 0

    cdef int end(self, error) except -1:
        if self.ending:
            return 0
        self.closing = self.ending = True
        self.backlog = 0
        self.unsent.clear()
        if self.readiness.descriptor >= 0:
            self.watch(0)
        self.readiness.loop.call_soon(self.lose, error)
        return 0

    def lose(self, error):
        """Called by the event loop once, after `end`."""
        try:
            self.protocol.connection_lost(error)
        finally:
            self.socket.close()
            self.readiness.watched.discard(self)
            self.received = self.protocol = None

    def get_extra_info(self, name, default=None):
        """`socket`; `peername` and `sockname` while the connection is there."""
        if name == "socket":
            return self.socket
        if name == "peername" or name == "sockname":
            try:
                return self.socket.getpeername() if name == "peername" else self.socket.getsockname()
            except OSError:
                return default
        return default

    def get_protocol(self):
        return self.protocol
