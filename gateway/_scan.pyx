# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""One strict pass over an ordinary head, in C: what `gateway.head` does, for the heads that are nearly all.

A head is ordinary when nothing in it needs a second thought. Whatever is not (a head that is not whole, any
error, chunks, an expectation, a Connection field that says anything but keep-alive, HTTP/1.0 ...) is
answered with None and left to the grammar in Python, which alone refuses. So this file can be wrong in one
way only: by taking for ordinary what the grammar would read otherwise; the conformance suite compares the two.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    MAX_HEAD = 65536
    MAX_FIELDS = 100
    MAX_TARGET = 16384
    MAX_DIGITS = 15
    MAX_REQUEST_ID = 128

cdef enum:
    IS_TOKEN = 1
    IS_VALUE = 2
    IS_TARGET = 4
    IS_HOST = 8
    IS_ID = 16
    IS_DIGIT = 32

cdef enum Kind:
    PASS, HOST, LENGTH, CONNECTION, REQUEST_ID, DROP, UNUSUAL, MEDIA_TYPE, VIA

cdef unsigned char CLASS[256]
cdef unsigned char LOWER[256]
cdef unsigned char FOLDED[256]  # lower case, and '_' as '-'


cdef void classify() noexcept:
    cdef int byte
    for byte in range(256):
        CLASS[byte] = 0
        LOWER[byte] = byte + 32 if 65 <= byte <= 90 else byte
        FOLDED[byte] = 45 if byte == 95 else LOWER[byte]
        if byte == 9 or 32 <= byte < 127 or byte >= 128:
            CLASS[byte] |= IS_VALUE
        if 0x21 <= byte <= 0x7E and byte != 35:
            CLASS[byte] |= IS_TARGET
        if 48 <= byte <= 57:
            CLASS[byte] |= IS_DIGIT
        if 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122:
            CLASS[byte] |= IS_TOKEN | IS_HOST | IS_ID
    for byte in b"!#$%&'*+-.^_`|~":
        CLASS[byte] |= IS_TOKEN
    for byte in b"._~-%!$&'()*+,;=":
        CLASS[byte] |= IS_HOST
    for byte in b"._~:-":
        CLASS[byte] |= IS_ID


classify()


cdef inline bint folds_to(const unsigned char* at, const char* name, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if FOLDED[at[i]] != <unsigned char>name[i]:
            return False
    return True


cdef inline bint lowers_to(const unsigned char* at, const unsigned char* name, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if LOWER[at[i]] != name[i]:
            return False
    return True


cdef inline bint has_underscore(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if at[i] == 95:
            return True
    return False


cdef inline Kind meaning(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """Of a name that means the same in requests and responses, '_' read as '-'."""
    if length == 2:
        if folds_to(at, b"te", 2):
            return DROP
    elif length == 7:
        if folds_to(at, b"trailer", 7) or folds_to(at, b"upgrade", 7):
            return DROP
    elif length == 10:
        if folds_to(at, b"keep-alive", 10):
            return DROP
        if folds_to(at, b"connection", 10):
            return CONNECTION
    elif length == 14:
        if folds_to(at, b"content-length", 14):
            return LENGTH
    elif length == 16:
        if folds_to(at, b"proxy-connection", 16):
            return DROP
    elif length == 17:
        if folds_to(at, b"transfer-encoding", 17):
            return UNUSUAL
    return PASS


cdef inline Kind request_meaning(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    cdef Kind kind = meaning(at, length)
    cdef unsigned char first = FOLDED[at[0]]
    if kind == PASS:
        if first == 120:  # x
            if length >= 8 and folds_to(at, b"x-envoy-", 8):
                return DROP
            if length >= 12 and (folds_to(at, b"x-pointsman-", 12) or folds_to(at, b"x-forwarded-", 12)):
                return DROP
            if length == 9 and folds_to(at, b"x-real-ip", 9):
                return DROP
            if length == 12 and folds_to(at, b"x-request-id", 12):
                kind = REQUEST_ID
        elif length == 3:
            if folds_to(at, b"via", 3):
                kind = VIA
        elif length == 4:
            if folds_to(at, b"host", 4):
                kind = HOST
        elif length == 6:
            if folds_to(at, b"expect", 6):
                return UNUSUAL
        elif length == 9:
            if folds_to(at, b"forwarded", 9):
                return DROP
    if kind != PASS and has_underscore(at, length):
        return DROP
    return kind


cdef inline Py_ssize_t number(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """Of a Content-Length; -1 when it is none."""
    cdef Py_ssize_t value = 0
    cdef Py_ssize_t i
    if length == 0 or length > MAX_DIGITS:
        return -1
    for i in range(length):
        if not CLASS[at[i]] & IS_DIGIT:
            return -1
        value = value * 10 + (at[i] - 48)
    return value


cdef inline bint is_host(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """A registered name or IPv4 address with or without a port; others are not ordinary."""
    cdef Py_ssize_t i = 0
    while i < length and CLASS[at[i]] & IS_HOST:
        i += 1
    if i < length and at[i] == 58:
        i += 1
        while i < length and CLASS[at[i]] & IS_DIGIT:
            i += 1
    return i == length


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif

    /* The first byte from `at` on that no value has, or `end`: a control byte other than a tab, or DEL. */
    static const unsigned char *value_end(const unsigned char *at, const unsigned char *end) {
    #ifdef __SSE2__
        for (; at + 16 <= end; at += 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at);
            __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(31)), bytes);
            __m128i tabs = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(9));
            __m128i dels = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(127));
            int foreign = _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tabs, low), dels));
            if (foreign) return at + __builtin_ctz(foreign);
        }
    #endif
        while (at < end && ((*at >= 32 && *at != 127) || *at == 9)) at++;
        return at;
    }

    /* How many bytes stand before the first colon of the 17 bytes from `at` on; 0 when there is no colon. */
    static int before_colon(const unsigned char *at) {
        int width = 0;
    #ifdef __SSE2__
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        int colons = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(58)));
        if (colons) return __builtin_ctz(colons);
        width = 16;
    #endif
        while (width < 16 && at[width] != 58) width++;
        return at[width] == 58 ? width : 0;
    }

    /* Up to 16 bytes as two numbers, which tell them apart together with their width. */
    static void as_numbers(const unsigned char *at, int width, uint64_t *first, uint64_t *last) {
        *first = *last = 0;
        if (width < 8) {
            memcpy(first, at, width);
        } else {
            memcpy(first, at, 8);
            memcpy(last, at + width - 8, 8);
        }
    }
    """
    const unsigned char* value_end(const unsigned char* at, const unsigned char* end) nogil
    int before_colon(const unsigned char* at) nogil
    void as_numbers(const unsigned char* at, int width, uint64_t* first, uint64_t* last) nogil

cdef enum:
    LONGEST_KNOWN = 16
    KNOWN = 256

cdef struct Name:
    # A name that was seen, in the letters it was written in, and what it means. Clients send the same names for ever.
    uint64_t first
    uint64_t last
    int width
    Kind kind
    int wanted  # which of the wanted names it is, or -1


cdef inline int place(uint64_t first, uint64_t last) noexcept nogil:
    return ((first ^ last * <uint64_t>0x9E3779B97F4A7C15) * <uint64_t>0xD6E8FEB86659FD93) >> 56


cdef struct Line:
    Py_ssize_t name
    Py_ssize_t name_end
    Py_ssize_t value
    Py_ssize_t value_end
    Py_ssize_t end
    bint known  # `met` is the name
    Name* met  # where the name is kept, or is to be; NULL when it is too long


cdef inline Py_ssize_t name_end(const unsigned char* data, Py_ssize_t size, Line* line, Name* names) noexcept nogil:
    """Where the name ends that starts at `line.name`, if it is one seen before; else -1."""
    cdef uint64_t first, last
    cdef int width
    line.known = False
    line.met = NULL
    if names == NULL or line.name + LONGEST_KNOWN + 1 > size:
        return -1
    width = before_colon(data + line.name)
    if width == 0:
        return -1
    as_numbers(data + line.name, width, &first, &last)
    line.met = &names[place(first, last)]
    if line.met.width != width or line.met.first != first or line.met.last != last:
        return -1
    line.known = True
    return line.name + width


cdef inline int next_line(
    const unsigned char* data, Py_ssize_t size, Py_ssize_t at, Line* line, Name* names
) noexcept nogil:
    """Read the field line whose CRLF is at `at`: 1 a line, 0 the head's end, -1 not ordinary. `names`: those
    seen before, of which there are KNOWN places, or NULL."""
    if at + 3 >= size or data[at] != 13 or data[at + 1] != 10:
        return -1
    at += 2
    if data[at] == 13:
        return 0 if data[at + 1] == 10 else -1
    line.name = at
    at = name_end(data, size, line, names)
    if at < 0:
        at = line.name
        while at < size and CLASS[data[at]] & IS_TOKEN:
            at += 1
        if at == line.name or at >= size or data[at] != 58:
            return -1
    line.name_end = at
    at += 1
    while at < size and (data[at] == 32 or data[at] == 9):
        at += 1
    line.value = at
    at = value_end(data + at, data + size) - data
    if at == size or data[at] != 13:
        return -1
    line.end = at
    while at > line.value and (data[at - 1] == 32 or data[at - 1] == 9):
        at -= 1
    line.value_end = at
    return 1


cdef struct Kept:
    # The bytes of the lines that pass on, gathered in as few copies as there are gaps.
    Py_ssize_t size
    unsigned char data[MAX_HEAD]


cdef inline void keep(Kept* kept, const unsigned char* data, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    memcpy(kept.data + kept.size, data + start, end - start)
    kept.size += end - start


cdef inline bytes piece(const unsigned char* data, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(<const char*>data + start, end - start)


cdef class RequestScan:
    """Reads ordinary request heads; `wanted` are the lower-case names whose values are read."""
    cdef tuple wanted
    cdef Name names[KNOWN]
    cdef bytes last  # the target read last: mostly it comes again, and is looked up by

    def __init__(self, tuple wanted):
        self.wanted = wanted
        self.last = b""
        memset(self.names, 0, sizeof(self.names))

    cdef int which(self, const unsigned char* at, Py_ssize_t width) noexcept:
        """Of the wanted names that one, or -1."""
        cdef int index = 0
        cdef bytes name
        for name in self.wanted:
            if PyBytes_GET_SIZE(name) == width and lowers_to(
                at, <const unsigned char*>PyBytes_AS_STRING(name), width
            ):
                return index
            index += 1
        return -1

    def read(self, bytes source):
        """(method, target, path, fields, content length, request id, end, values, via), of which the names
        are those of gateway.message; None when the head is not ordinary."""
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(source)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(source)
        cdef Py_ssize_t width
        cdef Py_ssize_t at = 0, target, target_end, query = -1, start, length = -1, id_start = -1, id_end = 0
        cdef int fields = 0, hosts = 0, found, wanted
        cdef bint via = False
        cdef Kind kind
        cdef Line line
        cdef dict values = None
        cdef bytes name
        cdef bytes method
        cdef bytes whole
        cdef Kept kept
        while at < size and CLASS[data[at]] & IS_TOKEN:
            at += 1
        if at == 0 or at + 1 >= size or data[at] != 32 or data[at + 1] != 47:
            return None
        target = at + 1
        at += 2
        while at < size and CLASS[data[at]] & IS_TARGET:
            if data[at] == 63 and query < 0:
                query = at
            at += 1
        target_end = at
        at += 9
        if at > MAX_TARGET or at >= size or memcmp(data + target_end, b" HTTP/1.1", 9) != 0:
            return None
        kept.size = 0
        start = at
        while True:
            found = next_line(data, size, at, &line, self.names)
            if found < 0 or at > MAX_HEAD:
                return None
            if found == 0:
                break
            fields += 1
            if fields > MAX_FIELDS:
                return None
            if line.known:
                kind = line.met.kind
                wanted = line.met.wanted
            else:
                width = line.name_end - line.name
                kind = request_meaning(data + line.name, width)
                wanted = self.which(data + line.name, width)
                if line.met != NULL:
                    as_numbers(data + line.name, width, &line.met.first, &line.met.last)
                    line.met.width = width
                    line.met.kind = kind
                    line.met.wanted = wanted
            if wanted >= 0:
                name = self.wanted[wanted]
                if values is None:
                    values = {}
                if name not in values:
                    values[name] = piece(data, line.value, line.value_end)
            if kind == VIA:
                via = True
            elif kind != PASS:
                if at > start:
                    keep(&kept, data, start, at)
                start = line.end
                if kind == HOST:
                    hosts += 1
                    if hosts > 1 or not is_host(data + line.value, line.value_end - line.value):
                        return None
                elif kind == LENGTH:
                    if length >= 0:
                        return None
                    length = number(data + line.value, line.value_end - line.value)
                    if length < 0:
                        return None
                elif kind == CONNECTION:
                    if line.value_end - line.value != 10 or memcmp(data + line.value, b"keep-alive", 10) != 0:
                        return None
                elif kind == REQUEST_ID:
                    if id_start >= 0:
                        return None
                    id_start = line.value
                    id_end = id_start
                    while CLASS[data[id_end]] & IS_ID:
                        id_end += 1
                    if id_end != line.value_end or not 0 < id_end - id_start <= MAX_REQUEST_ID:
                        return None
                elif kind == UNUSUAL:
                    return None
            at = line.end
        if hosts != 1 or at > MAX_HEAD:
            return None
        if at > start:
            keep(&kept, data, start, at)
        at += 4
        if target == 5 and memcmp(data, b"POST", 4) == 0:
            method = b"POST"
        else:
            method = piece(data, 0, target - 1)
        whole = self.last
        width = target_end - target
        if PyBytes_GET_SIZE(whole) != width or memcmp(PyBytes_AS_STRING(whole), data + target, width) != 0:
            self.last = whole = piece(data, target, target_end)
        return (
            method, whole, whole if query < 0 else piece(data, target, query), piece(kept.data, 0, kept.size),
            length, b"" if id_start < 0 else piece(data, id_start, id_end), at, values, via,
        )


cdef class ResponseScan:
    """Makes a `form` of an ordinary response head."""
    cdef object form

    def __init__(self, form):
        self.form = form

    def read(self, bytes source):
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(source)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(source)
        cdef Py_ssize_t at, start, length = -1, width
        cdef int fields = 0, found, status
        cdef Kind kind
        cdef Line line
        cdef Kept kept
        if size < 16 or memcmp(data, b"HTTP/1.1 ", 9) != 0 or not 50 <= data[9] <= 53:
            return None
        if not (CLASS[data[10]] & IS_DIGIT and CLASS[data[11]] & IS_DIGIT):
            return None
        status = (data[9] - 48) * 100 + (data[10] - 48) * 10 + data[11] - 48
        at = 12
        if data[at] == 32:
            while at < size and CLASS[data[at]] & IS_VALUE:
                at += 1
        kept.size = 0
        start = width = at
        while True:
            found = next_line(data, size, at, &line, NULL)
            if found < 0 or at > MAX_HEAD:
                return None
            if found == 0:
                break
            fields += 1
            if fields > MAX_FIELDS:
                return None
            kind = response_meaning(data + line.name, line.name_end - line.name)
            if kind == LENGTH:
                if length >= 0:
                    return None
                length = number(data + line.value, line.value_end - line.value)
                if length < 0 or status == 204:
                    return None
            elif kind == MEDIA_TYPE:
                if not is_json(data + line.value, line.value_end - line.value):
                    return None
            elif kind == UNUSUAL:
                return None
            elif kind != PASS:
                if kind == CONNECTION and (
                    line.value_end - line.value != 10 or memcmp(data + line.value, b"keep-alive", 10) != 0
                ):
                    return None
                if at > start:
                    keep(&kept, data, start, at)
                start = line.end
            at = line.end
        if at > MAX_HEAD:
            return None
        if at > start:
            keep(&kept, data, start, at)
        at += 4
        head = self.form()
        head.status = status
        head.reason = piece(data, 9, width)
        head.minor = 1
        head.fields = piece(kept.data, 0, kept.size)
        head.content_length = length
        head.final_length = -1 if status == 204 or status == 304 else length
        head.chunked = False
        head.keep_alive = True
        head.media = ""
        head.raw = piece(data, 0, at)
        head.end = at
        return head


cdef inline Kind response_meaning(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """No twins here: a '_' is itself."""
    cdef Kind kind = meaning(at, length)
    if kind == PASS:
        if length == 12:
            if folds_to(at, b"content-type", 12):
                kind = MEDIA_TYPE
            elif folds_to(at, b"x-request-id", 12):
                kind = DROP
        elif length == 16:
            if folds_to(at, b"content-encoding", 16):
                kind = UNUSUAL
        elif length == 31:
            if folds_to(at, b"inference-header-content-length", 31):
                kind = UNUSUAL
        if kind == PASS and length >= 12 and folds_to(at, b"x-pointsman-", 12):
            kind = DROP
    if kind != PASS and has_underscore(at, length):
        return PASS if length < 12 or not lowers_to(at, b"x-pointsman-", 12) else DROP
    return kind


cdef inline bint is_json(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """`application/json`, with parameters or without; the last Content-Type would stand, so one is let by."""
    if length < 16 or not lowers_to(at, <const unsigned char*>b"application/json", 16):
        return False
    return length == 16 or at[16] == 59
