/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens or seals messages with the page ciphers of engine/port, for tests/helpers/aead.py: on this machine, and those for
 * arm64 under user-mode emulation.
 *
 * Standard input, until it ends: u32 suite, u32 1 to seal, 0 to open, 2 to open from memory that others may write, key (32), nonce (12), tag (16), u32 length, data.
 * Argument: how often to do each (default 1; only the last is printed, the others are for counting instructions). Standard
 * output, for each: one byte, 1 or 0, the tag, then the buffer as it was left. The buffer ends where memory ends, and, if
 * whole pages of the system fit, begins there as well: a cipher that leaves it ends this program.
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uc_port.h"
#include "uc_spec.h"

enum { OPEN, SEAL, FROM_SHARED };

#define GUARD_BYTES 65536U /* at least a page of any system */

#ifdef __aarch64__
/* As that of OP-TEE's port; the host's port has its own. */
void uc_port_wipe(void *memory, size_t len)
{
	if (len != 0)
		memset(memory, 0, len);
	__asm__ volatile("" : : "r"(memory) : "memory");
}
#endif

struct buffer {
	uint8_t *mapped;
	size_t mapped_bytes;
	size_t len;
	uint8_t *data;
};

static struct buffer guarded(size_t len)
{
	size_t whole = (len + GUARD_BYTES - 1) / GUARD_BYTES * GUARD_BYTES;
	struct buffer buffer = {
		.len = len, .mapped_bytes = whole + 2 * (size_t)GUARD_BYTES};

	buffer.mapped = mmap(NULL, buffer.mapped_bytes, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer.mapped == MAP_FAILED ||
	    (whole != 0 && mprotect(buffer.mapped + GUARD_BYTES, whole,
				    PROT_READ | PROT_WRITE) != 0))
		abort();
	buffer.data = buffer.mapped + GUARD_BYTES + (whole - len);
	return buffer;
}

int main(int argc, char **argv)
{
	uint8_t head[72] = {0};
	uint8_t *tag = head + 52;
	struct buffer buffer = {0};
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 1;

	while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
		struct uc_port_aead aead = {0};
		uint8_t good = 0;
		uint32_t suite = 0;
		uint32_t mode = 0;
		uint32_t len = 0;

		memcpy(&suite, head, 4);
		memcpy(&mode, head + 4, 4);
		memcpy(&len, head + 68, 4);

		/* Messages of one length lie in one place: traces are compared. */
		if (!buffer.mapped || buffer.len != len) {
			if (buffer.mapped)
				munmap(buffer.mapped, buffer.mapped_bytes);
			buffer = guarded(len);
		}
		uint8_t *data = buffer.data;
		uint8_t *input = calloc(1, (size_t)len + 1);

		if (!input || fread(input, 1, len, stdin) != len)
			return 2;
		/* A mark, for tests/constant_time/trace.c and once.c. */
		(void)syscall(SYS_getppid, input, (size_t)len);
		if (!uc_port_aead_init(&aead, suite, head + 8))
			return 3;
		for (long i = 0; i < rounds; i++) {
			if (mode == FROM_SHARED)
				memset(data, 0xA5, len);
			else
				memcpy(data, input, len);
			if (mode == FROM_SHARED)
				good = uc_port_aead_open_shared(
					&aead, head + 40, input, data, len,
					tag);
			else if (mode == SEAL)
				good = uc_port_aead_seal(&aead, head + 40, data,
							 len, tag);
			else
				good = uc_port_aead_open(&aead, head + 40, data,
							 len, tag);
		}
		(void)syscall(SYS_getppid, NULL, (size_t)0);
		fwrite(&good, 1, 1, stdout);
		fwrite(tag, 1, 16, stdout);
		fwrite(data, 1, len, stdout);
		free(input);
	}
	return 0;
}
