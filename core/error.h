/* Filling the caller's mamuto_error_t. Plain C11 + POSIX. */
#ifndef MM_CORE_ERROR_H
#define MM_CORE_ERROR_H

#include "core/mamuto.h"

/* Fills err with code and a formatted sentence, unless it already holds an error: the first one wins. err may be NULL.
 * Returns code, so that `return mm_error_set(…)` reads well. */
__attribute__((format(printf, 3, 4))) int mm_error_set(mamuto_error_t *err, int code, const char *format, ...);

/* MAMUTO_ESYSTEM with the formatted sentence followed by ": " and the text of errno_value. */
__attribute__((format(printf, 3, 4))) int mm_error_system(mamuto_error_t *err, int errno_value, const char *format,
                                                          ...);

/* Copies from to err under the same rule; returns from->code. */
int mm_error_copy(mamuto_error_t *err, const mamuto_error_t *from);

#endif
