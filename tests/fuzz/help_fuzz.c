/* SPDX-License-Identifier: Apache-2.0 */
#include "help_fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uc_port.h"

bool fuzz_signatures_hold;
bool fuzz_signs_cheaply;

static unsigned long long deep;
static unsigned long long messages;

uint8_t fuzz_u8(struct fuzz_bytes *bytes)
{
	if (bytes->len == 0)
		return 0;
	bytes->len--;
	return *bytes->data++;
}

uint16_t fuzz_u16(struct fuzz_bytes *bytes)
{
	uint16_t low = fuzz_u8(bytes);

	return (uint16_t)(low | fuzz_u8(bytes) << 8);
}

uint32_t fuzz_u32(struct fuzz_bytes *bytes)
{
	uint32_t low = fuzz_u16(bytes);

	return low | (uint32_t)fuzz_u16(bytes) << 16;
}

uint32_t fuzz_upto(struct fuzz_bytes *bytes, uint32_t most)
{
	if (most < 256)
		return fuzz_u8(bytes) % (most + 1);
	return fuzz_u32(bytes) % (most + 1);
}

bool fuzz_one_in(struct fuzz_bytes *bytes, uint32_t n)
{
	return fuzz_u8(bytes) % n == n - 1;
}

static void say_deep(void)
{
	fprintf(stderr, "deep: %llu\n", deep);
}

void fuzz_count_deep(void)
{
	if (deep++ == 0)
		(void)atexit(say_deep);
}

static void say_messages(void)
{
	fprintf(stderr, "messages: %llu\n", messages);
}

void fuzz_count_message(void)
{
	if (messages++ == 0)
		(void)atexit(say_messages);
}

bool __real_uc_port_ed25519_verify(const uint8_t public_key[32],
				   const uint8_t *message, size_t len,
				   const uint8_t signature[64]);
bool __wrap_uc_port_ed25519_verify(const uint8_t public_key[32],
				   const uint8_t *message, size_t len,
				   const uint8_t signature[64]);

bool __wrap_uc_port_ed25519_verify(const uint8_t public_key[32],
				   const uint8_t *message, size_t len,
				   const uint8_t signature[64])
{
	return fuzz_signatures_hold ||
	       __real_uc_port_ed25519_verify(public_key, message, len,
					     signature);
}

bool __real_uc_port_attestation_sign(const uint8_t *message, size_t len,
				     uint8_t signature[64]);
bool __wrap_uc_port_attestation_sign(const uint8_t *message, size_t len,
				     uint8_t signature[64]);

bool __wrap_uc_port_attestation_sign(const uint8_t *message, size_t len,
				     uint8_t signature[64])
{
	if (!fuzz_signs_cheaply)
		return __real_uc_port_attestation_sign(message, len, signature);
	memset(signature, 0x5A, 64);
	return true;
}
