# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""MurmurHash3 (Austin Appleby, public domain; x86, 32 bits) of `group:identifier`, without a string in between.

The same number as mmh3's, which `routing.hashing` takes where this is not compiled.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

cdef enum:
    ROOM = 512


cdef inline uint32_t turned(uint32_t word, int by) noexcept nogil:
    return word << by | word >> (32 - by)


cdef inline uint32_t mixed(uint32_t word) noexcept nogil:
    return turned(word * <uint32_t>0xCC9E2D51, 15) * <uint32_t>0x1B873593


cdef uint32_t murmur(const unsigned char* at, Py_ssize_t size, uint32_t seed) noexcept nogil:
    cdef uint32_t state = seed
    cdef uint32_t word
    cdef Py_ssize_t index
    for index in range(size // 4):
        word = at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24
        state = turned(state ^ mixed(word), 13) * 5 + <uint32_t>0xE6546B64
        at += 4
    word = 0
    for index in range(size & 3):
        word |= <uint32_t>at[index] << 8 * index
    if size & 3:
        state ^= mixed(word)
    state ^= <uint32_t>size
    state = (state ^ state >> 16) * <uint32_t>0x85EBCA6B
    state = (state ^ state >> 13) * <uint32_t>0xC2B2AE35
    return state ^ state >> 16


def hashed(str group, str identifier, seed):
    """The hash of `group:identifier` as UTF-8, its lone surrogates by their bytes; `seed` in 0..2**32-1."""
    cdef unsigned char text[ROOM]
    cdef Py_ssize_t before, after
    cdef const char* first = NULL
    cdef const char* second = NULL
    cdef bytes whole
    cdef uint32_t start = seed
    try:
        first = PyUnicode_AsUTF8AndSize(group, &before)
        second = PyUnicode_AsUTF8AndSize(identifier, &after)
    except UnicodeEncodeError:
        before = ROOM
        after = 0
    if before + 1 + after > ROOM:
        whole = f"{group}:{identifier}".encode("utf-8", "surrogatepass")
        return murmur(<const unsigned char*>PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole), start)
    memcpy(text, first, before)
    text[before] = 58
    memcpy(text + before + 1, second, after)
    return murmur(text, before + 1 + after, start)
