/* CRC-32 (ISO 3309, the one of zip and Ethernet: reflected polynomial 0xEDB88320) of a block of 4 KiB. */
#include "mamuto.h"

enum { BLOCK = 4096 };

/* table[0] steps one byte; table[j] steps it past j more zero bytes, so that eight bytes go at once. */
static uint32_t table[8][256];

__attribute__((constructor)) static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xEDB88320) : 0);
        table[0][i] = crc;
    }
    for (int j = 1; j < 8; j++)
        for (uint32_t i = 0; i < 256; i++)
            table[j][i] = table[j - 1][i] >> 8 ^ table[0][table[j - 1][i] & 0xff];
}

MAMUTO_FUNCTION(crc32, "u1[4096] -> u4", "CRC-32 of a block of 4 KiB")
{
    const uint8_t *p = MAMUTO_IN(uint8_t[BLOCK], 0);
    uint32_t crc = UINT32_C(0xFFFFFFFF);
    for (int i = 0; i < BLOCK; i += 8) {
        uint32_t low =
            crc ^ ((uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 | (uint32_t)p[i + 3] << 24);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^
              table[3][p[i + 4]] ^ table[2][p[i + 5]] ^ table[1][p[i + 6]] ^ table[0][p[i + 7]];
    }
    MAMUTO_OUT(uint32_t) = ~crc;
    return 0;
}
