/* Words of the launch script and of the agent: lines that begin with the magic word and the nonce. What comes before the first
 * of them is some start-up file's, and is passed over; then each line must be one of ours. Called with all bytes that have
 * not been used yet, again and again.
 */
#include "net/deliver.h"

#include "net/launch_words.h"

#include <stdio.h>
#include <string.h>

void mm_deliver_begin(struct mm_deliver *d, const char *nonce)
{
    memset(d, 0, sizeof *d);
    snprintf(d->key, sizeof d->key, MM_LAUNCH_MAGIC_A MM_LAUNCH_MAGIC_B " %.64s ", nonce);
}

static enum mm_delivered wrong(struct mm_deliver *d, const char *why)
{
    snprintf(d->why, sizeof d->why, "%s", why);
    return MM_DELIVERED_WRONG;
}

static enum mm_delivered take_line(struct mm_deliver *d, const char *line)
{
    if (strncmp(line, "agent ", 6) == 0)
        return MM_DELIVERED_AGENT;
    if (strcmp(line, "got") == 0)
        return MM_DELIVERED_GOT;
    if (sscanf(line, "need %63s %63s %63s", d->system, d->machine, d->libc) == 3)
        return MM_DELIVERED_NEED;
    if (strncmp(line, "bad ", 4) == 0) {
        snprintf(d->why, sizeof d->why, "%s", line + 4);
        return MM_DELIVERED_BAD;
    }
    return wrong(d, "its answer is not understood");
}

/* Nothing of ours in all of it: passed over, but for what may be the beginning. */
static enum mm_delivered pass(struct mm_deliver *d, size_t n, size_t *used)
{
    size_t key = strlen(d->key), keep = n < key ? n : key - 1;
    *used = n - keep;
    d->foreign += *used;
    return d->foreign > MM_DELIVER_FOREIGN ? wrong(d, "it prints more than 64 KiB before it answers: is it a shell?")
                                           : MM_DELIVERED_NOTHING;
}

enum mm_delivered mm_deliver_take(struct mm_deliver *d, const void *bytes, size_t n, size_t *used)
{
    size_t key = strlen(d->key);
    char line[MM_DELIVER_LINE];
    const char *begin = bytes, *at = memmem(begin, n, d->key, key);
    *used = 0;
    if (d->spoken && n >= key && at != begin)
        return wrong(d, "something else answers, too: do two agents share the channel?");
    if (!at)
        return d->spoken ? MM_DELIVERED_NOTHING : pass(d, n, used);
    const char *text = at + key, *end = memchr(text, '\n', n - (size_t)(text - begin));
    size_t length = end ? (size_t)(end - text) : n - (size_t)(text - begin);
    if (length >= sizeof line)
        return wrong(d, "its answer is too long");
    if (!end)
        return MM_DELIVERED_NOTHING;
    memcpy(line, text, length);
    line[length] = '\0';
    if (length && line[length - 1] == '\r') /* a terminal in between */
        return wrong(d, "its answer comes through a terminal: it would not be whole (ssh -T)");
    d->spoken = true;
    *used = (size_t)(end - begin) + 1;
    return take_line(d, line);
}
