/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares engine/port/memory_armv8.c, compiled with its functions renamed,
 * with plain loops: every length up to LIMIT at every offset in 16 bytes, with
 * guard bytes around. Prints how many cases it compared, or where it failed.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 300U
#define ROOM 1024U

void *uc_test_memcpy(void *restrict dest, const void *restrict src, size_t len);
void *uc_test_memmove(void *dest, const void *src, size_t len);
void *uc_test_memset(void *dest, int value, size_t len);

static uint8_t got[ROOM];
static uint8_t want[ROOM];
static uint8_t source[ROOM];
static unsigned long cases;

static void begin(void)
{
	for (size_t i = 0; i < ROOM; i++) {
		got[i] = want[i] = (uint8_t)(i * 7U + 1U);
		source[i] = (uint8_t)(i * 13U + 5U);
	}
}

static void check(const char *name, size_t to, size_t from, size_t len)
{
	cases++;
	if (memcmp(got, want, ROOM) == 0)
		return;
	printf("%s: to %zu, from %zu, length %zu\n", name, to, from, len);
	exit(1);
}

static void try_copies(size_t to, size_t from, size_t len)
{
	begin();
	for (size_t i = 0; i < len; i++)
		want[64 + to + i] = source[64 + from + i];
	if (uc_test_memcpy(got + 64 + to, source + 64 + from, len) !=
	    got + 64 + to)
		exit(2);
	check("memcpy", to, from, len);
}

/* The two overlap, by any distance, either way round. */
static void try_moves(size_t to, size_t from, size_t len)
{
	uint8_t kept[LIMIT];

	begin();
	memcpy(kept, want + 64 + from, len);
	for (size_t i = 0; i < len; i++)
		want[64 + to + i] = kept[i];
	if (uc_test_memmove(got + 64 + to, got + 64 + from, len) !=
	    got + 64 + to)
		exit(2);
	check("memmove", to, from, len);
}

static void try_fills(size_t to, size_t len)
{
	begin();
	for (size_t i = 0; i < len; i++)
		want[64 + to + i] = 0xa5;
	/* Only the lowest byte of the value counts. */
	if (uc_test_memset(got + 64 + to, 0x7fffffa5, len) != got + 64 + to)
		exit(2);
	check("memset", to, 0, len);
}

int main(void)
{
	static const size_t distances[] = {0, 1, 7, 8, 9, 16, 63, 64, 65, 200};

	for (size_t len = 0; len < LIMIT; len++) {
		for (size_t to = 0; to < 16; to += 3)
			try_copies(to, (to * 5 + len) % 16, len);
		for (size_t i = 0; i < sizeof(distances) / sizeof(size_t);
		     i++) {
			try_moves(distances[i], 0, len);
			try_moves(0, distances[i], len);
			try_moves(distances[i] + 3, 5, len);
		}
		try_fills(len % 16, len);
	}
	printf("%lu\n", cases);
	return 0;
}
