/* A serial reference of mamuto_reduce, written from the header's text: blocks of 64 left to right, a binary tree above. */
#ifndef MM_TESTS_SUPPORT_REFERENCE_H
#define MM_TESTS_SUPPORT_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out may not be a or b. */
typedef void reference_fold(const void *a, const void *b, void *out, size_t dim);

struct reference {
    size_t size, dim; /* of a value; passed on to fold */
    reference_fold *fold;
    const uint8_t *absent; /* by item; NULL: all are there */
};

/* Folds n packed items into value. false: none is there. */
bool reference_reduce(const struct reference *reference, const void *items, size_t n, void *value);

#endif
