/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs and outputs in chunks of any size, against the plainest loop.
 */
#include <string.h>

#include "engine.h"
#include "help_check.h"
#include "help_model.h"

#define MAX_ELEMENTS 4096U

static size_t stored_index(const struct uc_tensor *t, uint32_t wire)
{
	uint32_t w = wire % t->w;
	uint32_t h = wire / t->w % t->h;
	uint32_t c = wire / t->w / t->h % t->c;
	uint32_t n = wire / t->w / t->h / t->c;

	if (t->wire_layout == UC_WIRE_AS_STORED)
		return wire;
	return ((size_t)(n * t->h + h) * t->w + w) * t->c + c;
}

static void check_shape(uint32_t n, uint32_t h, uint32_t w, uint32_t c,
			uint8_t layout, uint32_t seed)
{
	const struct uc_tensor tensor = {
		.n = n, .h = h, .w = w, .c = c, .wire_layout = layout};
	uint32_t elements = help_elements(&tensor);
	uint32_t random = seed;
	/* One byte off: the normal world aligns as it likes. */
	static uint8_t wire[4 * MAX_ELEMENTS + 1];
	static uint8_t back[4 * MAX_ELEMENTS + 1];
	static uint32_t stored[MAX_ELEMENTS];

	CONTEXT("%ux%ux%ux%u, layout %u, seed %u", n, h, w, c, layout, seed);
	CHECK(elements <= MAX_ELEMENTS);
	for (uint32_t i = 0; i < elements; i++) {
		/* Signalling NaNs among them. */
		uint32_t bits = 0x7F800001U + i;

		memcpy(wire + 1 + 4 * i, &bits, 4);
	}
	memset(stored, 0, sizeof(stored));
	memset(back, 0, sizeof(back));
	for (uint32_t i = 0, count = 0; i < elements; i += count) {
		count = 1 + help_random(&random) % elements;
		if (count > elements - i)
			count = elements - i;
		uc_io_scatter(&tensor, i, count, wire + 1 + 4 * i,
			      (uint8_t *)stored);
	}
	for (uint32_t i = 0; i < elements; i++)
		CHECK_EQUAL(stored[stored_index(&tensor, i)], 0x7F800001U + i);
	for (uint32_t i = 0, count = 0; i < elements; i += count) {
		count = 1 + help_random(&random) % elements;
		if (count > elements - i)
			count = elements - i;
		uc_io_gather(&tensor, i, count, (const uint8_t *)stored,
			     back + 1 + 4 * i);
	}
	CHECK(memcmp(wire + 1, back + 1, 4 * elements) == 0);
}

int main(void)
{
	static const uint32_t shapes[][4] = {
		{1, 1, 1, 1}, {1, 1, 1, 9}, {1, 5, 7, 1},  {1, 5, 7, 3},
		{2, 5, 7, 3}, {1, 3, 2, 4}, {3, 3, 2, 11}, {2, 8, 8, 16},
		{2, 1, 6, 5}, {5, 1, 1, 8}, {1, 2, 1, 13},
	};

	for (uint32_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (uint32_t seed = 0; seed < 20; seed++) {
			check_shape(shapes[i][0], shapes[i][1], shapes[i][2],
				    shapes[i][3], UC_WIRE_NCHW, seed);
			check_shape(shapes[i][0], shapes[i][1], shapes[i][2],
				    shapes[i][3], UC_WIRE_AS_STORED, seed);
		}
	}
	return 0;
}
