// SPDX-License-Identifier: Apache-2.0
/*
 * Calls uc_model_open() on what comes in, with a fake device whose key the
 * caller chooses. Standard input: the device's X25519 private key (32 bytes),
 * then any number of requests; standard output: an answer to each.
 *
 * request: u8 provider trusted, u32 header_len, u32 license_len, both
 * answer:  u32 status, 32 page_key, 16 model_id, u32 x 7: model_version, suite,
 *          page_bytes, program_pages, resident_pages, streamed_pages, budget
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "uc_license.h"
#include "uc_port.h"

static uint8_t fake_private_key[32];
static bool fake_trust;

bool uc_port_device_public_key(uint8_t public_key[32])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						     fake_private_key, 32);
	size_t len = 32;
	bool ok = key && EVP_PKEY_get_raw_public_key(key, public_key, &len);

	EVP_PKEY_free(key);
	return ok;
}

bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						     fake_private_key, 32);
	EVP_PKEY *other =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	size_t len = 32;
	bool ok = context && other && EVP_PKEY_derive_init(context) == 1 &&
		  EVP_PKEY_derive_set_peer(context, other) == 1 &&
		  EVP_PKEY_derive(context, shared, &len) == 1 && len == 32;

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	return ok;
}

bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32])
{
	(void)key_id;
	(void)public_key;
	return fake_trust;
}

static bool take(void *data, size_t len)
{
	return fread(data, 1, len, stdin) == len;
}

/* Of exactly len bytes, so that a sanitizer sees any byte read beyond. */
static uint8_t *take_block(uint32_t len)
{
	uint8_t *block = malloc(len ? len : 1);

	if (!block || !take(block, len))
		exit(2);
	return block;
}

static void answer(uint32_t status, const struct uc_opened_model *opened)
{
	const uint32_t numbers[] = {
		opened->model_version,	opened->suite,
		opened->page_bytes,	opened->program_pages,
		opened->resident_pages, opened->streamed_pages,
		opened->budget_bytes,
	};

	fwrite(&status, sizeof(status), 1, stdout);
	fwrite(opened->page_key, sizeof(opened->page_key), 1, stdout);
	fwrite(opened->model_id, sizeof(opened->model_id), 1, stdout);
	fwrite(numbers, sizeof(numbers), 1, stdout);
}

int main(void)
{
	uint8_t trusted = 0;

	if (!take(fake_private_key, sizeof(fake_private_key)))
		return 2;
	while (take(&trusted, sizeof(trusted))) {
		struct uc_opened_model opened;
		uint32_t lens[2] = {0, 0};
		uint8_t *header = NULL;
		uint8_t *license = NULL;

		if (!take(lens, sizeof(lens)))
			return 2;
		header = take_block(lens[0]);
		license = take_block(lens[1]);
		fake_trust = trusted != 0;
		memset(&opened, 0xA5, sizeof(opened));
		answer(uc_model_open(header, lens[0], license, lens[1],
				     &opened),
		       &opened);
		free(header);
		free(license);
	}
	return fflush(stdout) == 0 ? 0 : 2;
}
