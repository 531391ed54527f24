/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What belongs to a device, on the host: a key that the caller gives, a
 * policy that trusts everybody, and a clock. There is no protection here.
 */
#include "port_host.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "uc_port.h"
#include "uc_secret.h"
#include "uc_spec.h"

static _Thread_local const uint8_t *device_private_key;

void uc_port_host_use_device(const uint8_t private_key[32])
{
	device_private_key = private_key;
}

static _Thread_local struct uc_port_host_state *device_state;

void uc_port_host_use_state(struct uc_port_host_state *state)
{
	device_state = state;
}

static EVP_PKEY *device_key(void)
{
	return device_private_key
		       ? EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						      device_private_key, 32)
		       : NULL;
}

bool uc_port_device_public_key(uint8_t public_key[32])
{
	EVP_PKEY *key = device_key();
	size_t len = 32;
	bool ok = key && EVP_PKEY_get_raw_public_key(key, public_key, &len) &&
		  len == 32;

	uc_secret_is_public(public_key, 32);
	EVP_PKEY_free(key);
	return ok;
}

bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32])
{
	EVP_PKEY *key = device_key();
	EVP_PKEY *other =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
	EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	size_t len = 32;
	/* libcrypto refuses a shared secret that is all zero. */
	bool ok = other && context && EVP_PKEY_derive_init(context) == 1 &&
		  EVP_PKEY_derive_set_peer(context, other) == 1 &&
		  EVP_PKEY_derive(context, shared, &len) == 1 && len == 32;

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	if (!ok)
		uc_port_wipe(shared, 32);
	return ok;
}

/* The caller's key is at hand anyway. */
void uc_port_device_keep(void)
{
}

bool uc_port_device_forget(void)
{
	return false;
}

/* ---- what this device says of itself ---- */

void uc_port_facts(struct uc_port_facts *facts)
{
	memset(facts, 0, sizeof(*facts));
	facts->hardware_key = UC_HARDWARE_KEY_NONE;
}

/* The seed is derived from the other key: the caller keeps one file. */
static EVP_PKEY *attestation_key(void)
{
	static const char label[] = "undercroft host attestation key";
	uint8_t seed[32] = {0};
	EVP_PKEY *key = NULL;

	if (device_private_key &&
	    uc_port_hmac_sha256(device_private_key, 32, (const uint8_t *)label,
				sizeof(label) - 1, seed))
		key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
						   sizeof(seed));
	uc_port_wipe(seed, sizeof(seed));
	return key;
}

bool uc_port_attestation_public_key(uint8_t public_key[32])
{
	EVP_PKEY *key = attestation_key();
	size_t len = 32;
	bool ok = key &&
		  EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 &&
		  len == 32;

	uc_secret_is_public(public_key, 32);
	EVP_PKEY_free(key);
	return ok;
}

bool uc_port_attestation_sign(const uint8_t *message, size_t len,
			      uint8_t signature[64])
{
	EVP_PKEY *key = attestation_key();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t written = 64;
	bool ok = key && context &&
		  EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestSign(context, signature, &written, message, len) ==
			  1 &&
		  written == 64;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return ok;
}

size_t uc_port_measurement(const uint8_t *nonce, size_t nonce_len, uint8_t *out,
			   size_t room)
{
	(void)nonce;
	(void)nonce_len;
	(void)out;
	(void)room;
	return 0;
}

/* ---- the device's state ---- */

static bool read_file(const char *path, uint8_t *data, size_t len)
{
	FILE *file = fopen(path, "rb");
	bool ok = false;

	/* One that is not there yet holds zeros. */
	memset(data, 0, len);
	if (!file)
		return access(path, F_OK) != 0;
	ok = fread(data, 1, len, file) == len && fgetc(file) == EOF;
	(void)fclose(file);
	return ok;
}

/* By a second file that takes the name of the first. */
static bool replace_file(const char *path, const uint8_t *data, size_t len)
{
	char scratch[4096] = {0};
	int written = snprintf(scratch, sizeof(scratch), "%s.%ld.new", path,
			       (long)getpid());
	FILE *file = NULL;
	bool ok = false;

	if (written < 0 || (size_t)written >= sizeof(scratch))
		return false;
	file = fopen(scratch, "wb");
	if (!file)
		return false;
	ok = fwrite(data, 1, len, file) == len && fflush(file) == 0 &&
	     fsync(fileno(file)) == 0;
	ok = fclose(file) == 0 && ok && rename(scratch, path) == 0;
	if (!ok)
		(void)remove(scratch);
	return ok;
}

bool uc_port_state_load(uint8_t *data, size_t len)
{
	struct uc_port_host_state *state = device_state;

	if (!state || !device_private_key || len != sizeof(state->data))
		return false;
	if (state->path &&
	    !read_file(state->path, state->data, sizeof(state->data)))
		return false;
	memcpy(data, state->data, len);
	return true;
}

bool uc_port_state_store(const uint8_t *data, size_t offset, size_t len)
{
	struct uc_port_host_state *state = device_state;
	uint8_t old[sizeof(state->data)];

	if (!state || state->stores_left == 0 || offset > sizeof(old) ||
	    len > sizeof(old) - offset)
		return false;
	if (state->stores_left > 0)
		state->stores_left--;
	memcpy(old, state->data, sizeof(old));
	memcpy(state->data + offset, data, len);
	if (!state->path ||
	    replace_file(state->path, state->data, sizeof(state->data)))
		return true;
	memcpy(state->data, old, sizeof(old));
	return false;
}

void uc_port_state_end(void)
{
}

bool uc_port_clock_ms(uint64_t *clock_ms)
{
	struct timespec now = {0};

	*clock_ms = device_state ? device_state->clock_ms : 0;
	if (*clock_ms != 0)
		return true;
	/* Since this machine was started, time asleep included. */
	if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
		return false;
	*clock_ms =
		(uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
	return true;
}

bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32])
{
	(void)key_id;
	(void)public_key;
	return true;
}

uint32_t uc_port_build(void)
{
	return 0;
}

uint64_t uc_port_ticks(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * uc_port_tick_hz() + (uint64_t)now.tv_nsec;
}

uint64_t uc_port_tick_hz(void)
{
	return 1000000000U;
}
