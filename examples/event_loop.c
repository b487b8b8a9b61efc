/* A server that computes and stays responsive: one libuv loop has a TCP server and a mapper on it.
 *
 *   "ping"     is answered at once, with "pong"
 *   "work N"   maps over N items, and is answered when the results are there, with their sum
 *
 * For the show two clients live in threads of this program: one asks for work again and again, the other pings all the
 * time. What is printed at the end is how long a ping took at worst.
 */
#include <mamuto.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { REQUESTS = 20, ITEMS = 200000, LINE = 64 };

static struct server {
    uv_loop_t loop;
    uv_tcp_t listener;
    mamuto_t *m;
    struct sockaddr_in address;
    int clients_left;
} server;

struct client {
    uv_tcp_t socket; /* first */
    char line[LINE];
    size_t length;
    double *results; /* of the map in flight */
    size_t n;
    int gone; /* it has hung up; freed when its map has ended */
};

/* --- the server's side: nothing here blocks ----------------------------------------------------------------------- */

struct answer {
    uv_write_t request; /* first */
    char text[LINE];
};

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void answer(struct client *client, const char *text)
{
    struct answer *a = calloc(1, sizeof *a);
    if (!a)
        return;
    snprintf(a->text, sizeof a->text, "%.*s\n", LINE - 2, text);
    uv_buf_t buffer = uv_buf_init(a->text, (unsigned)strlen(a->text));
    if (uv_write(&a->request, (uv_stream_t *)&client->socket, &buffer, 1, on_written) != 0)
        free(a);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = (struct client *)handle;
    client->gone = 1;
    if (!client->results)
        free(client);
}

static void on_mapper_closed(void *data) { (void)data; }

/* The last client has gone: so do the listener and the mapper, and with them the loop's work. */
static void hang_up(struct client *client)
{
    uv_close((uv_handle_t *)&client->socket, on_client_closed);
    if (--server.clients_left == 0) {
        uv_close((uv_handle_t *)&server.listener, NULL);
        mamuto_close(server.m, on_mapper_closed);
    }
}

static void on_done(mamuto_map_t *map, int status, const mamuto_error_t *err)
{
    struct client *client = mamuto_map_data(map);
    char text[LINE];
    double sum = 0;
    for (size_t i = 0; i < client->n; i++)
        sum += client->results[i];
    free(client->results);
    client->results = NULL;
    if (status)
        snprintf(text, sizeof text, "error %.50s", err->text);
    else
        snprintf(text, sizeof text, "sum %.6f", sum);
    if (client->gone)
        free(client);
    else
        answer(client, text);
}

static void work(struct client *client, size_t n)
{
    mamuto_error_t err = { 0 };
    client->n = n;
    client->results = malloc((n ? n : 1) * sizeof *client->results);
    mamuto_call_t call = {
        .function = "waves.wave", .count = n, .result = client->results, .data = client, .on_done = on_done
    };
    if (client->results && mamuto_map(server.m, &call, NULL, &err) == 0)
        return;
    free(client->results);
    client->results = NULL;
    answer(client, err.code ? err.text : "error no memory");
}

static void on_line(struct client *client)
{
    if (strcmp(client->line, "ping") == 0)
        answer(client, "pong");
    else if (strncmp(client->line, "work ", 5) == 0 && !client->results)
        work(client, strtoull(client->line + 5, NULL, 10));
    else
        answer(client, "error what?");
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct client *client = (struct client *)handle;
    (void)suggested;
    *buffer = uv_buf_init(client->line + client->length, (unsigned)(LINE - client->length));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct client *client = (struct client *)stream;
    (void)buffer;
    if (n > 0)
        client->length += (size_t)n;
    for (char *end; n > 0 && (end = memchr(client->line, '\n', client->length)) != NULL;) {
        *end = '\0';
        on_line(client);
        client->length -= (size_t)(end + 1 - client->line);
        memmove(client->line, end + 1, client->length);
    }
    if (n < 0 || client->length == LINE) /* hung up, or a line that is too long */
        hang_up(client);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct client *client = calloc(1, sizeof *client);
    if (status != 0 || !client) {
        free(client);
        return;
    }
    uv_tcp_init(&server.loop, &client->socket);
    if (uv_accept(listener, (uv_stream_t *)&client->socket) != 0) {
        uv_close((uv_handle_t *)&client->socket, on_client_closed);
        return;
    }
    uv_tcp_nodelay(&client->socket, 1);
    uv_read_start((uv_stream_t *)&client->socket, on_room, on_read);
}

/* --- the clients' side: threads that block ------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sends a line, waits for the answer. 0: it is there. */
static int ask(int fd, const char *question, char *text, size_t size)
{
    size_t n = 0;
    if (write(fd, question, strlen(question)) < 0)
        return -1;
    while (n + 1 < size && (n == 0 || text[n - 1] != '\n')) {
        ssize_t got = read(fd, text + n, 1);
        if (got <= 0)
            return -1;
        n += (size_t)got;
    }
    text[n] = '\0';
    return 0;
}

static int connect_to_server(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&server.address, sizeof server.address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct {
    int answers, pings, wrong;
    double worst_ms, first_sum;
    volatile int over;
} seen;

static void worker_client(void *data)
{
    (void)data;
    char question[LINE], text[LINE];
    int fd = connect_to_server();
    snprintf(question, sizeof question, "work %d\n", ITEMS);
    for (int i = 0; i < REQUESTS && ask(fd, question, text, sizeof text) == 0; i++) {
        char *end = text;
        double sum = strncmp(text, "sum ", 4) == 0 ? strtod(text + 4, &end) : 0;
        seen.wrong += end <= text + 4 || (i > 0 && sum != seen.first_sum);
        seen.first_sum = sum;
        seen.answers++;
    }
    seen.over = 1;
    close(fd);
}

static void pinging_client(void *data)
{
    (void)data;
    char text[LINE];
    int fd = connect_to_server();
    while (!seen.over) {
        double start = seconds();
        if (ask(fd, "ping\n", text, sizeof text) != 0)
            break;
        double ms = (seconds() - start) * 1e3;
        seen.worst_ms = ms > seen.worst_ms ? ms : seen.worst_ms;
        seen.wrong += strcmp(text, "pong\n") != 0;
        seen.pings++;
        usleep(1000);
    }
    close(fd);
}

/* --- together -------------------------------------------------------------------------------------------------------- */

static uv_thread_t threads[2];

static void on_open(mamuto_t *m, int status, const mamuto_error_t *err)
{
    if (status) {
        fprintf(stderr, "event_loop: %s\n", err->text);
        uv_close((uv_handle_t *)&server.listener, NULL);
        mamuto_close(m, on_mapper_closed);
        return;
    }
    server.clients_left = 2;
    uv_thread_create(&threads[0], worker_client, NULL);
    uv_thread_create(&threads[1], pinging_client, NULL);
}

static int listen_on_loopback(void)
{
    int size = sizeof server.address;
    uv_ip4_addr("127.0.0.1", 0, &server.address);
    int code = uv_tcp_init(&server.loop, &server.listener);
    if (code == 0)
        code = uv_tcp_bind(&server.listener, (const struct sockaddr *)&server.address, 0);
    if (code == 0)
        code = uv_listen((uv_stream_t *)&server.listener, 16, on_connection);
    return code ? code : uv_tcp_getsockname(&server.listener, (struct sockaddr *)&server.address, &size);
}

int main(void)
{
    mamuto_error_t err = { 0 };
    uv_loop_init(&server.loop);
    int code = listen_on_loopback();
    mamuto_options_t options = { .modules = (const char *[]){ EXAMPLE_MODULES "/waves.c", NULL },
                                 .loop = &server.loop,
                                 .on_open = on_open };
    if (code != 0 || mamuto_open(&server.m, &options, &err) != 0) {
        fprintf(stderr, "event_loop: %s\n", code ? uv_strerror(code) : err.text);
        return 1;
    }
    uv_run(&server.loop, UV_RUN_DEFAULT);
    for (int i = 0; server.clients_left == 0 && seen.answers && i < 2; i++)
        uv_thread_join(&threads[i]);
    uv_loop_close(&server.loop);
    printf("%d requests of %d items were answered; meanwhile %d pings, the worst took %.2f ms\n", seen.answers, ITEMS,
           seen.pings, seen.worst_ms);
    return seen.answers == REQUESTS && seen.pings > 0 && !seen.wrong ? 0 : 1;
}
