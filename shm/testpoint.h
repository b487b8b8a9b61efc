/* Test builds only: what a worker is to do at a point between two stores to the board. */
#ifndef MM_SHM_TESTPOINT_H
#define MM_SHM_TESTPOINT_H

#include <stdatomic.h>
#include <stdint.h>

/* A file of this form, mapped by test and workers, holds specifications that change while workers run. */
struct mm_test_orders {
    _Atomic uint32_t version; /* odd while the text is written: nothing is to be done then */
    char text[4092];
};

/* Takes $MAMUTO_TEST_POINT into account in this worker. */
void mm_test_point_init(void);

#endif
