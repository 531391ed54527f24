/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens or seals one message with the page ciphers of engine/port, for tests/helpers/aead.py: on this machine, and those for
 * arm64 under user-mode emulation.
 *
 * Standard input: u32 suite, u32 1 to seal and 0 to open, key (32), nonce (12), tag (16), u32 length, data. Argument: how often
 * to do it (default 1; only the last is printed, the others are for counting instructions). Standard output: one byte, 1 or 0,
 * the tag, then the buffer as it was left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uc_port.h"
#include "uc_spec.h"

#ifdef __aarch64__
/* The host's port has its own. */
void uc_port_wipe(void *memory, size_t len)
{
	volatile uint8_t *bytes = memory;

	while (len-- > 0)
		*bytes++ = 0;
}
#endif

int main(int argc, char **argv)
{
	struct uc_port_aead aead = {0};
	uint8_t head[72] = {0};
	uint8_t *tag = head + 52;
	uint8_t good = 0;
	uint32_t suite = 0;
	uint32_t seals = 0;
	uint32_t len = 0;
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 1;

	if (fread(head, 1, sizeof(head), stdin) != sizeof(head))
		return 2;
	memcpy(&suite, head, 4);
	memcpy(&seals, head + 4, 4);
	memcpy(&len, head + 68, 4);

	uint8_t *input = calloc(1, (size_t)len + 1);
	uint8_t *data = calloc(1, (size_t)len + 1);

	if (!input || !data || fread(input, 1, len, stdin) != len)
		return 2;
	if (!uc_port_aead_init(&aead, suite, head + 8))
		return 3;
	for (long i = 0; i < rounds; i++) {
		memcpy(data, input, len);
		if (seals)
			good = uc_port_aead_seal(&aead, head + 40, data, len,
						 tag);
		else
			good = uc_port_aead_open(&aead, head + 40, data, len,
						 tag);
	}
	fwrite(&good, 1, 1, stdout);
	fwrite(tag, 1, 16, stdout);
	fwrite(data, 1, len, stdout);
	free(input);
	free(data);
	return 0;
}
