/* A streaming hash of 128 bits for cache keys: two lanes of 64 bits that take 16 bytes a step.
 *
 * A step multiplies each half of the block, xors it into its lane, rotates, multiplies, and adds the other lane. For a
 * given block it is a bijection of the state, and for a given state a bijection of the block: two inputs that differ
 * in one block only never collide before the end, and no entropy is lost on the way. The end pads with zeros, mixes
 * the length in (so that padding is no collision) and stirs until each input bit reaches each output bit.
 * Invariants: the result depends on the bytes alone, not on how they were split over calls nor on the byte order of
 * the machine; it is pinned by tests/unit/test_hash.c, because cached files carry it in their names.
 * Called by the module cache from the loop's thread. It guards nothing: an adversary can build collisions. */
#include "core/hash.h"

#include <string.h>

enum { BLOCK = 16 };

/* The fractions of the square roots of 2, 3, 5, 7, 11, 13, 17 and 19, made odd: nothing up the sleeve. */
static const uint64_t K1 = 0x6a09e667f3bcc909, K2 = 0xbb67ae8584caa73b, K3 = 0x3c6ef372fe94f82b,
                      K4 = 0xa54ff53a5f1d36f1, K5 = 0x510e527fade682d1, K6 = 0x9b05688c2b3e6c1f,
                      K7 = 0x1f83d9abfb41bd6b, K8 = 0x5be0cd19137e2179;

static uint64_t rotate(uint64_t x, unsigned bits) { return x << bits | x >> (64 - bits); }

static uint64_t load(const unsigned char *p) /* little-endian on every machine */
{
    uint64_t x = 0;
    for (unsigned k = 0; k < 8; k++)
        x |= (uint64_t)p[k] << 8 * k;
    return x;
}

static void step(struct mm_hash *hash, const unsigned char block[BLOCK])
{
    hash->a = rotate(hash->a ^ load(block) * K1, 31) * K2 + hash->b;
    hash->b = rotate(hash->b ^ load(block + 8) * K3, 29) * K4 + hash->a;
}

static uint64_t stir(uint64_t x)
{
    x = (x ^ x >> 32) * K5;
    x = (x ^ x >> 29) * K6;
    return x ^ x >> 32;
}

void mm_hash_init(struct mm_hash *hash)
{
    memset(hash, 0, sizeof *hash);
    hash->a = K7;
    hash->b = K8;
}

void mm_hash_add(struct mm_hash *hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    size_t held = hash->length % BLOCK;
    hash->length += bytes;
    if (bytes && held) {
        size_t part = bytes < BLOCK - held ? bytes : BLOCK - held;
        memcpy(hash->tail + held, p, part);
        p += part;
        bytes -= part;
        if (held + part < BLOCK)
            return;
        step(hash, hash->tail);
    }
    for (; bytes >= BLOCK; bytes -= BLOCK, p += BLOCK)
        step(hash, p);
    if (bytes)
        memcpy(hash->tail, p, bytes);
}

void mm_hash_add_text(struct mm_hash *hash, const char *text) { mm_hash_add(hash, text, strlen(text) + 1); }

static void write_hex(char *hex, uint64_t x)
{
    for (unsigned k = 0; k < 16; k++)
        hex[k] = "0123456789abcdef"[x >> (60 - 4 * k) & 15];
}

void mm_hash_hex(const struct mm_hash *hash, char hex[33])
{
    struct mm_hash end = *hash;
    size_t held = hash->length % BLOCK;
    if (held) {
        memset(end.tail + held, 0, BLOCK - held);
        step(&end, end.tail);
    }
    end.a = stir(end.a ^ hash->length);
    end.b = stir(end.b + end.a);
    end.a = stir(end.a + rotate(end.b, 32));
    end.b += end.a * K7;
    write_hex(hex, end.a);
    write_hex(hex + 16, end.b);
    hex[32] = '\0';
}
