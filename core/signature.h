/* The signature language (mamuto.h, SIGNATURES): text to structure. Pure: no allocation, no I/O. */
#ifndef MM_CORE_SIGNATURE_H
#define MM_CORE_SIGNATURE_H

#include "core/mamuto.h"

#include <stdbool.h>

enum { MM_MAX_RANK = 8, MM_MAX_NAME = 31 };

struct mm_dim {
    uint64_t fixed; /* >= 1; 0: a named dim */
    int name;       /* index into mm_signature.dims, when fixed is 0 */
};

struct mm_type {
    char dtype[4];      /* "f8" */
    uint8_t elem_bytes; /* 16 for c16 */
    uint8_t elem_align; /* 8 for c16 */
    bool variable;      /* "*" */
    bool text;          /* written as "bytes" */
    int rank;           /* 0: one value */
    struct mm_dim shape[MM_MAX_RANK];
};

struct mm_signature {
    int n_in, n_dims;
    struct mm_type in[MAMUTO_MAX_ARGS], out;
    char dims[MAMUTO_MAX_DIMS][MM_MAX_NAME + 1]; /* in order of first appearance */
};

/* Parses text. On failure: MAMUTO_ESIGNATURE, a sentence with the 1-based column and what would be right; *sig is
 * untouched. */
int mm_signature_parse(struct mm_signature *sig, const char *text, mamuto_error_t *err);

/* Parses the text of one type into sig->in[0], its named dims into sig->dims; there is no output. As above. */
int mm_type_parse(struct mm_signature *sig, const char *text, mamuto_error_t *err);

/* Named dims become numbers. */
void mm_type_bind(struct mm_type *type, const size_t *dims);
/* Of bound types: the same elements, the same shape? "bytes" is u1[*]. */
bool mm_type_is_equal(const struct mm_type *a, const struct mm_type *b);
enum { MM_TYPE_TEXT = 8 + MM_MAX_RANK * 22 };
/* A bound type as it is written, "f8[3, 4]". */
void mm_type_show(const struct mm_type *type, char text[MM_TYPE_TEXT]);

/* Elements and bytes of one value of a type that is not variable, with dims bound. Fails with MAMUTO_ESIZE where a
 * product passes 2^63 - 1, MAMUTO_EARGS where a dim that the type names is 0. */
int mm_type_size(const struct mm_type *type, const struct mm_signature *sig, const size_t *dims, size_t *len,
                 size_t *bytes, mamuto_error_t *err);

/* A function's name: letter { letter | digit | "_" }, at most 63 characters. */
bool mm_is_identifier(const char *name);

#endif
