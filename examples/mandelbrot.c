/* Items that differ: an image of the Mandelbrot set, a row an item. Some rows take a thousand times as long as others; who
 * is done first takes rows from the others.
 *
 * Writes the image as a PGM file, which most viewers know, and compares it with a serial loop's.
 *
 *   mandelbrot [FILE [CONFIG]]      FILE "-": no file
 */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WIDTH = 960, HEIGHT = 640, MOST_STEPS = 500 };

static const double view[3] = { -2.2, 1.1, 2.2 / HEIGHT }; /* left, top, step */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same as examples/modules/fractal.c, as a program without mamuto would do it. */
static void serial(uint16_t (*image)[WIDTH])
{
    for (int row = 0; row < HEIGHT; row++)
        for (int i = 0; i < WIDTH; i++) {
            double x = view[0] + view[2] * i, y = view[1] - view[2] * row, a = 0, b = 0;
            uint16_t n = 0;
            for (; n < MOST_STEPS && a * a + b * b <= 4; n++) {
                double t = a * a - b * b + x;
                b = 2 * a * b + y;
                a = t;
            }
            image[row][i] = n;
        }
}

/* Binary PGM, 8 bits a pixel: the set itself is black, what leaves late is bright. */
static int write_image(const char *path, uint16_t (*image)[WIDTH])
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return -1;
    fprintf(file, "P5\n%d %d\n255\n", WIDTH, HEIGHT);
    for (int row = 0; row < HEIGHT; row++)
        for (int i = 0; i < WIDTH; i++) {
            int n = image[row][i];
            putc(n == MOST_STEPS ? 0 : n > 255 ? 255 : n, file);
        }
    return fclose(file);
}

static int compute(mamuto_t *m, uint16_t (*image)[WIDTH], mamuto_error_t *err)
{
    mamuto_call_t call = { .function = "fractal.row",
                           .args = { mamuto_broadcast(view) },
                           .count = HEIGHT,
                           .dims = { WIDTH },
                           .result = image };
    return mamuto_map_wait(m, &call, err);
}

static int run(mamuto_t *m, uint16_t (*image)[WIDTH], uint16_t (*expected)[WIDTH], mamuto_error_t *err)
{
    double start = seconds();
    if (compute(m, image, err) != 0)
        return 1;
    double middle = seconds();
    serial(expected);
    double end = seconds();
    printf("%d x %d pixels: %.0f ms by mamuto, %.0f ms by a serial loop\n", WIDTH, HEIGHT, (middle - start) * 1e3,
           (end - middle) * 1e3);
    if (memcmp(image, expected, sizeof(uint16_t[HEIGHT][WIDTH])) != 0) {
        fprintf(stderr, "mandelbrot: the two images differ\n");
        return 1;
    }
    printf("both images are the same\n");
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "mandelbrot.pgm";
    mamuto_options_t options = { .config = argc > 2 ? argv[2] : NULL,
                                 .modules = (const char *[]){ EXAMPLE_MODULES "/fractal.c", NULL } };
    mamuto_error_t err = { 0 };
    mamuto_t *m;
    uint16_t(*image)[WIDTH] = malloc(sizeof(uint16_t[HEIGHT][WIDTH]));
    uint16_t(*expected)[WIDTH] = malloc(sizeof(uint16_t[HEIGHT][WIDTH]));
    int status = 1;
    if (image && expected && mamuto_open_wait(&m, &options, &err) == 0) {
        status = run(m, image, expected, &err);
        mamuto_close_wait(m);
    }
    if (err.code)
        fprintf(stderr, "mandelbrot: %s\n", err.text);
    if (status == 0 && strcmp(path, "-") != 0 && write_image(path, image) != 0) {
        fprintf(stderr, "mandelbrot: cannot write %s\n", path);
        status = 1;
    }
    free(image);
    free(expected);
    return status;
}
