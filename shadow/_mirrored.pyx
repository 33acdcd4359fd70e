# cython: language_level=3, boundscheck=False, wraparound=False
"""What each mirrored request makes, in C: named tuples, and the digest of its unit.

Both are what `shadow.pairing` and `shadow.units` make in Python, and where this is not compiled, do make.
"""
from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject* form, Py_ssize_t count)
    bint PyType_Check(object form)
    bint PyType_FastSubclass(PyTypeObject* form, unsigned long feature)
    unsigned long Py_TPFLAGS_TUPLE_SUBCLASS

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static const uint64_t blake2b_start[8] = {
        0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
        0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL
    };
    static const uint8_t blake2b_order[12][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}
    };

    static uint64_t blake2b_word(const uint8_t *at) {
        uint64_t word = 0;
        for (int i = 7; i >= 0; i--) word = word << 8 | at[i];
        return word;
    }

    #define BLAKE2B_TURN(x, by) ((x) >> (by) | (x) << (64 - (by)))
    #define BLAKE2B_MIX(a, b, c, d, x, y) \\
        a += b + x; d = BLAKE2B_TURN(d ^ a, 32); c += d; b = BLAKE2B_TURN(b ^ c, 24); \\
        a += b + y; d = BLAKE2B_TURN(d ^ a, 16); c += d; b = BLAKE2B_TURN(b ^ c, 63);

    /* RFC 7693, 3.2: one block of 128 bytes into the state; `so_far` counts it. */
    static void blake2b_compress(uint64_t state[8], const uint8_t block[128], uint64_t so_far, int last) {
        uint64_t m[16], v[16];
        for (int i = 0; i < 16; i++) m[i] = blake2b_word(block + 8 * i);
        for (int i = 0; i < 8; i++) { v[i] = state[i]; v[i + 8] = blake2b_start[i]; }
        v[12] ^= so_far;
        if (last) v[14] = ~v[14];
        for (int i = 0; i < 12; i++) {
            const uint8_t *s = blake2b_order[i];
            BLAKE2B_MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]])
            BLAKE2B_MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]])
            BLAKE2B_MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]])
            BLAKE2B_MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]])
            BLAKE2B_MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]])
            BLAKE2B_MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]])
            BLAKE2B_MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]])
            BLAKE2B_MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]])
        }
        for (int i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
    }
    """
    const uint64_t blake2b_start[8]
    void blake2b_compress(uint64_t* state, const unsigned char* block, uint64_t so_far, int last) nogil

cdef enum:
    BLOCK = 128
    LONGEST_KEY = 64
    DIGEST = 8


def named(form, tuple values):
    """`tuple.__new__(form, values)`, for a NamedTuple `form`."""
    cdef Py_ssize_t index, count = PyTuple_GET_SIZE(values)
    if not PyType_Check(form) or not PyType_FastSubclass(<PyTypeObject*>form, Py_TPFLAGS_TUPLE_SUBCLASS):
        raise TypeError(f"{form!r} is no NamedTuple")
    made = PyType_GenericAlloc(<PyTypeObject*>form, count)
    for index in range(count):
        value = <object>PyTuple_GET_ITEM(values, index)
        Py_INCREF(value)
        PyTuple_SET_ITEM(made, index, value)
    return made


cdef class UnitHash:
    """See shadow.units."""
    cdef uint64_t fresh[8]  # the state before the key
    cdef uint64_t keyed[8]  # … and after it, which is where every unit begins
    cdef unsigned char key[BLOCK]

    def __init__(self, bytes key):
        if not 0 < len(key) <= LONGEST_KEY:
            raise ValueError(f"a key has 1 to {LONGEST_KEY} bytes, not {len(key)}")
        memset(self.key, 0, BLOCK)
        memcpy(self.key, <const char*>key, len(key))
        memcpy(self.fresh, blake2b_start, sizeof(self.fresh))
        self.fresh[0] ^= 0x01010000 ^ <uint64_t>len(key) << 8 ^ DIGEST
        memcpy(self.keyed, self.fresh, sizeof(self.keyed))
        blake2b_compress(self.keyed, self.key, BLOCK, False)

    def digest(self, str unit):
        cdef uint64_t state[8]
        cdef unsigned char block[BLOCK]
        cdef uint64_t so_far = BLOCK
        cdef Py_ssize_t size
        cdef const char* text
        cdef bytes replaced
        cdef uint64_t word
        cdef int index
        try:
            text = PyUnicode_AsUTF8AndSize(unit, &size)
        except UnicodeEncodeError:
            replaced = unit.encode("utf-8", "replace")
            text = replaced
            size = len(replaced)
        if size == 0:
            memcpy(state, self.fresh, sizeof(state))
            blake2b_compress(state, self.key, BLOCK, True)
        else:
            memcpy(state, self.keyed, sizeof(state))
        while size > BLOCK:
            so_far += BLOCK
            blake2b_compress(state, <const unsigned char*>text, so_far, False)
            text += BLOCK
            size -= BLOCK
        if size > 0:
            memset(block, 0, BLOCK)
            memcpy(block, text, size)
            blake2b_compress(state, block, so_far + size, True)
        # The first eight bytes of the digest, read as a big-endian number.
        word = 0
        for index in range(8):
            word = word << 8 | (state[0] >> 8 * index & 0xFF)
        return word
