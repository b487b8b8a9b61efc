/* What an item of modules/items.c does, by its input. */
#ifndef MM_TESTS_E2E_ITEMS_H
#define MM_TESTS_E2E_ITEMS_H

enum {
    ACT_WORK,
    ACT_RETURN,
    ACT_FAIL,
    ACT_ABORT,
    ACT_SEGFAULT,
    ACT_WRITE_INPUT,
    ACT_OVERFLOW,
    ACT_EXIT,
    ACT_EXIT_RENEW, /* with the code that the engine gives a meaning of its own */
    ACT_LOOP,
};

#endif
