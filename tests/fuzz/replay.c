/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzzer without libFuzzer, for machines that have none: runs the files that
 * are named, or so many inputs made up from a seed.
 *
 *   replay_program FILE...
 *   replay_program --random COUNT SEED
 */
#include <string.h>

#include "help_check.h"
#include "help_fuzz.h"
#include "help_model.h"

#define MAX_BYTES 4096U

static void run_file(const char *path)
{
	static uint8_t data[MAX_BYTES];
	FILE *file = fopen(path, "rb");
	size_t len = 0;

	CONTEXT("%s", path);
	CHECK(file);
	len = fread(data, 1, sizeof(data), file);
	(void)fclose(file);
	CHECK_EQUAL(LLVMFuzzerTestOneInput(data, len), 0);
}

static void run_random(uint32_t count, uint32_t seed)
{
	static uint8_t data[600];

	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < sizeof(data); j++)
			data[j] = (uint8_t)help_random(&seed);
		CHECK_EQUAL(LLVMFuzzerTestOneInput(data, sizeof(data)), 0);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--random") == 0) {
		run_random((uint32_t)strtoul(argv[2], NULL, 10),
			   (uint32_t)strtoul(argv[3], NULL, 10));
		return 0;
	}
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	return 0;
}
