/* The article's function: the log-likelihood of a point x, given data with normal noise of sigma = 0.1. */
#include "mamuto.h"

/* Vectors of three: the length is part of the signature, so the loop over items vectorises. */
MAMUTO_FUNCTION(like3, "f8[3], f8[3] -> f8", "log-likelihood of a 3-vector")
{
    const double *x = MAMUTO_IN(double[3], 0), *data = MAMUTO_IN(double[3], 1);
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        double d = data[k] - x[k];
        sum -= d * d / 0.02;
    }
    MAMUTO_OUT(double) = sum;
    return 0;
}

/* Vectors of any length, named d and bound at the call. */
MAMUTO_FUNCTION(like, "f8[d], f8[d] -> f8", "log-likelihood of a vector")
{
    const double *x = MAMUTO_ARRAY(double, 0), *data = MAMUTO_ARRAY(double, 1);
    double sum = 0;
    for (size_t k = 0; k < MAMUTO_LEN(0); k++) {
        double d = data[k] - x[k];
        sum -= d * d / 0.02;
    }
    MAMUTO_OUT(double) = sum;
    return 0;
}
