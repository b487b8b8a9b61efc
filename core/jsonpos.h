/* Where a value stands in a JSON text: key path to line. Pure: no allocation, no recursion. Plain C11. */
#ifndef MM_CORE_JSONPOS_H
#define MM_CORE_JSONPOS_H

#include <stddef.h>

/* One step from a value to one of its members. */
struct mm_jsonpos_step {
    const char *key; /* of an object, as decoded (no escapes); NULL: an array */
    size_t index;    /* of an array's element, from 0 */
};

/* The 1-based line of what path leads to: of the key, for a member of an object; of the first byte, for an element of
 * an array and for the text's own value (n_steps 0). 0: the path leads nowhere, or the text is broken before it.
 * Finds every path of a text that a JSON parser accepts; of a doubled key, the first. */
int mm_jsonpos_line(const char *text, size_t length, const struct mm_jsonpos_step *path, size_t n_steps);

#endif
