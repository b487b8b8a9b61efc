/* What an item of modules/once.c does: its input is ns << ONCE_ACT_BITS | what. */
#ifndef MM_TESTS_E2E_ONCE_H
#define MM_TESTS_E2E_ONCE_H

enum { ONCE_ACT_BITS = 3 };
enum { ONCE_WORK, ONCE_FAIL, ONCE_RETURN, ONCE_CRASH, ONCE_EXIT, ONCE_HANG };

#endif
