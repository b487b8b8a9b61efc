/* The log-likelihood of one measurement, for a normal distribution of mean p[0] and standard deviation p[1]. */
#include <mamuto.h>

#include <math.h>

MAMUTO_FUNCTION(log_likelihood, "f8, f8[2] -> f8", "measurement, {mean, deviation}")
{
    const double *p = MAMUTO_IN(double[2], 1);
    double d = (MAMUTO_IN(double, 0) - p[0]) / p[1];
    MAMUTO_OUT(double) = -0.5 * d * d - log(p[1]);
    return 0;
}

MAMUTO_FUNCTION(add, "f8, f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}
