/* The master's side of options.on_output: reads the workers' pipes and tells their lines.
 *
 * A pipe is read once in a turn of the loop, into the room of one line: a worker that prints without end, or many of
 * them, take a bounded time of each turn, and are blocked by their full pipes meanwhile. Before a map's end is told, and
 * when a worker has died, its pipe is read empty, of no more than a pipe can hold. Lines are told while they are read:
 * a callback may do what a callback may, so nothing of a stream is changed behind its back but by its own reader.
 * Streams are heap objects, since a handle lives until its close callback. Called on the loop's thread.
 */
#include "shm/loop_output.h"

#include "core/alloc.h"

#include <errno.h>
#include <unistd.h>

enum { PIPE_BYTES = 64 * 1024 };

struct mm_stream {
    uv_poll_t poll; /* data: the stream */
    struct mm_outputs *outputs;
    int worker, fd; /* fd: as the worker sees it */
    int pipe;
    bool split;  /* a piece of the line was told already */
    size_t used; /* of text: a line that has not ended */
    char text[MM_OUTPUT_PIECE];
};

static void tell(struct mm_stream *stream, const char *line, size_t n)
{
    stream->outputs->on_line(stream->outputs->owner, stream->worker, stream->fd, line, n);
}

static void tell_lines(struct mm_stream *stream)
{
    size_t at = 0;
    for (const char *end; (end = memchr(stream->text + at, '\n', stream->used - at)) != NULL;) {
        const char *line = stream->text + at;
        size_t n = (size_t)(end - line);
        bool told = n == 0 && stream->split; /* what ends here was told as a whole piece */
        at += n + 1;
        stream->split = false;
        if (!told)
            tell(stream, line, n);
    }
    stream->used -= at;
    memmove(stream->text, stream->text + at, stream->used);
    if (stream->used < sizeof stream->text)
        return;
    stream->used = 0;
    stream->split = true;
    tell(stream, stream->text, sizeof stream->text);
}

/* Bytes that were read; 0: there is nothing now; -1: the pipe has ended. */
static ssize_t read_once(struct mm_stream *stream)
{
    ssize_t got;
    do
        got = read(stream->pipe, stream->text + stream->used, sizeof stream->text - stream->used);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    stream->used += (size_t)got;
    tell_lines(stream);
    return got;
}

static void drain(struct mm_stream *stream)
{
    ssize_t got = 1;
    for (size_t bytes = 0; bytes < PIPE_BYTES && got > 0; bytes += got > 0 ? (size_t)got : 0)
        got = read_once(stream);
}

/* What has no end yet will get none. */
static void flush(struct mm_stream *stream)
{
    size_t n = stream->used;
    stream->used = 0;
    stream->split = false;
    if (n)
        tell(stream, stream->text, n);
}

static void free_stream(uv_handle_t *handle) { mm_free(handle->data); }

static void end_stream(struct mm_stream **place)
{
    struct mm_stream *stream = *place;
    if (!stream)
        return;
    *place = NULL;
    drain(stream);
    flush(stream);
    uv_close((uv_handle_t *)&stream->poll, free_stream);
    close(stream->pipe);
}

static struct mm_stream **place_of(struct mm_outputs *outputs, uint32_t lane, int fd)
{
    return &outputs->streams[lane][fd == STDERR_FILENO];
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct mm_stream *stream = poll->data;
    (void)status, (void)events;
    if (read_once(stream) < 0)
        end_stream(place_of(stream->outputs, (uint32_t)stream->worker, stream->fd));
}

int mm_outputs_add(struct mm_outputs *outputs, uint32_t lane, int fd, int pipe, mamuto_error_t *err)
{
    struct mm_stream *stream = mm_alloc(sizeof *stream);
    int code = stream ? uv_poll_init(outputs->loop, &stream->poll, pipe) : UV_ENOMEM;
    if (code) {
        mm_free(stream);
        close(pipe);
        return mm_error_set(err, code == UV_ENOMEM ? MAMUTO_ENOMEM : MAMUTO_ESYSTEM,
                            "cannot take what worker %u prints: %s", lane, uv_strerror(code));
    }
    stream->poll.data = stream;
    stream->outputs = outputs;
    stream->worker = (int)lane;
    stream->fd = fd;
    stream->pipe = pipe;
    end_stream(place_of(outputs, lane, fd));
    *place_of(outputs, lane, fd) = stream;
    if (lane >= outputs->n_lanes)
        outputs->n_lanes = lane + 1;
    uv_poll_start(&stream->poll, UV_READABLE, on_ready);
    uv_unref((uv_handle_t *)&stream->poll);
    return 0;
}

void mm_outputs_drain(struct mm_outputs *outputs)
{
    for (uint32_t lane = 0; lane < outputs->n_lanes; lane++)
        for (int k = 0; k < 2; k++)
            if (outputs->streams[lane][k])
                drain(outputs->streams[lane][k]);
}

void mm_outputs_end_worker(struct mm_outputs *outputs, uint32_t lane)
{
    for (int k = 0; k < 2; k++)
        if (outputs->streams[lane][k]) {
            drain(outputs->streams[lane][k]);
            flush(outputs->streams[lane][k]);
        }
}

void mm_outputs_close(struct mm_outputs *outputs)
{
    for (uint32_t lane = 0; lane < outputs->n_lanes; lane++)
        for (int k = 0; k < 2; k++)
            end_stream(&outputs->streams[lane][k]);
}
