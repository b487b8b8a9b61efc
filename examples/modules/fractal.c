/* One row of an image of the Mandelbrot set: how many steps each of its points takes to leave the circle of radius 2. */
#include <mamuto.h>

enum { MOST_STEPS = 500 };

static uint16_t steps(double x, double y)
{
    double a = 0, b = 0;
    uint16_t n = 0;
    for (; n < MOST_STEPS && a * a + b * b <= 4; n++) {
        double t = a * a - b * b + x;
        b = 2 * a * b + y;
        a = t;
    }
    return n;
}

MAMUTO_FUNCTION(row, "f8[3] -> u2[w]", "view {left, top, step} -> a row of w pixels; the item's index is the row")
{
    const double *view = MAMUTO_IN(double[3], 0);
    double y = view[1] - view[2] * (double)MAMUTO_INDEX;
    for (size_t i = 0; i < MAMUTO_DIM(0); i++)
        MAMUTO_OUT_ARRAY(uint16_t)[i] = steps(view[0] + view[2] * (double)i, y);
    return 0;
}
