/* A fold against the function whose results it folds. Pure. */
#ifndef MM_CORE_FOLD_H
#define MM_CORE_FOLD_H

#include "core/run.h"

/* Is it "T, T -> T", of fixed size? ESIGNATURE. */
int mm_fold_check_form(const struct mm_function *fold, mamuto_error_t *err);
/* Is T what the function returns with these dims? Binds the fold's own. ESIGNATURE. */
int mm_fold_bind(const struct mm_function *fold, const struct mm_function *function, const size_t *dims,
                 size_t *fold_dims, mamuto_error_t *err);

#endif
