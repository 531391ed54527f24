/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine asks of the place it runs in. Implemented in port/: host (OpenSSL's libcrypto) and OP-TEE
 * (ciphers for Armv8 for pages, the TEE Internal Core API for nearly everything small).
 * No function keeps a pointer after it returns.
 */
#ifndef UC_PORT_H
#define UC_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not removable by the compiler. */
void uc_port_wipe(void *memory, size_t len);

/* A counter for profiles, and its frequency; 0 and 0 where there is none
 * and in release builds. */
uint64_t uc_port_ticks(void);
uint64_t uc_port_tick_hz(void);

/* ---- pages: bulk AEAD, decrypted in place ---- */

#define UC_PORT_AEAD_BYTES 1024

/* Room for a key schedule; lives inside the engine's context. */
struct uc_port_aead {
	_Alignas(16) uint8_t opaque[UC_PORT_AEAD_BYTES];
};

/* False for a suite that this port does not have. */
bool uc_port_aead_init(struct uc_port_aead *aead, uint32_t suite,
		       const uint8_t key[32]);
/*
 * Verifies tag over the whole of data and decrypts it in place. On false the
 * data was wiped: no unverified plaintext is ever left behind.
 * data is secure memory that nobody else can write.
 */
bool uc_port_aead_open(const struct uc_port_aead *aead, const uint8_t nonce[12],
		       uint8_t *data, size_t len, const uint8_t tag[16]);
/*
 * The same from memory that others may write meanwhile, without a copy first:
 * each byte of ns_data is read exactly once. Only for a cipher that can: false
 * for others, so ask before.
 */
bool uc_port_aead_reads_once(const struct uc_port_aead *aead);
bool uc_port_aead_open_shared(const struct uc_port_aead *aead,
			      const uint8_t nonce[12], const uint8_t *ns_data,
			      uint8_t *data, size_t len, const uint8_t tag[16]);
/*
 * Encrypts data in place and writes its tag: what leaves the secure world, so
 * a nonce must never come twice under a key. len is a multiple of 16. On false
 * data and tag were wiped.
 */
bool uc_port_aead_seal(const struct uc_port_aead *aead, const uint8_t nonce[12],
		       uint8_t *data, size_t len, uint8_t tag[16]);

/* Random bytes for keys. On false out was wiped. */
bool uc_port_random(uint8_t *out, size_t len);

/* ---- small cryptography: license, header, keys ---- */

bool uc_port_sha256(const uint8_t *data, size_t len, uint8_t digest[32]);
bool uc_port_hmac_sha256(const uint8_t *key, size_t key_len,
			 const uint8_t *data, size_t len, uint8_t mac[32]);
/* Ed25519 (RFC 8032), pure. */
bool uc_port_ed25519_verify(const uint8_t public_key[32],
			    const uint8_t *message, size_t len,
			    const uint8_t signature[64]);
/* AES-128-GCM of a few hundred bytes: data is decrypted in place. */
bool uc_port_aes128gcm_open(const uint8_t key[16], const uint8_t nonce[12],
			    const uint8_t *aad, size_t aad_len, uint8_t *data,
			    size_t len, const uint8_t tag[16]);

/* ---- this device's X25519 key pair (made on first use, kept) ---- */

bool uc_port_device_public_key(uint8_t public_key[32]);
/* X25519 of the device's private key and a peer's public key; false too when
 * the shared secret is all zero (RFC 7748 section 6.1). */
bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32]);
/*
 * Keep the key pair that this command has used at hand for the next ones: to find
 * it in storage may cost more than all else that a question does. The two
 * functions above then use it in commands that do not load the state, so it is for
 * questions alone. Storage is not asked again until it is forgotten.
 */
void uc_port_device_keep(void);
/* True when there was one. */
bool uc_port_device_forget(void);

/* ---- what this device says of itself ---- */

struct uc_port_facts {
	uint32_t hardware_key; /* UC_HARDWARE_KEY_* */
	uint8_t build_id[32];
};

void uc_port_facts(struct uc_port_facts *facts);
/* The device's Ed25519 key pair, made on first use, and a signature by it. */
bool uc_port_attestation_public_key(uint8_t public_key[32]);
bool uc_port_attestation_sign(const uint8_t *message, size_t len,
			      uint8_t signature[64]);
/* What the platform measured of this program, for this nonce; the length of
 * it, or 0 where the platform does no such thing. */
size_t uc_port_measurement(const uint8_t *nonce, size_t nonce_len, uint8_t *out,
			   size_t room);

/* ---- what this device keeps (uc_state.h) ---- */

/*
 * All of it, len bytes; zeros when nothing was stored yet. It shares the fate
 * of the device's key pair: whoever removes or damages one loses both. The key
 * pair is made when there is none.
 */
bool uc_port_state_load(uint8_t *data, size_t len);
/* Write a part of it. Whole or not at all, and on the medium when it returns. */
bool uc_port_state_store(const uint8_t *data, size_t offset, size_t len);
/* The command ends: nothing of this is needed before the next one. */
void uc_port_state_end(void);
/* Milliseconds since the device was started. Nobody outside sets it back. */
bool uc_port_clock_ms(uint64_t *clock_ms);

/* ---- policy ---- */

/* May this provider's key (thumbprint and raw Ed25519 key) open models here?
 * A development build answers true to all, a release build to its list. */
bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32]);
/* 0 development, 1 release. */
uint32_t uc_port_build(void);

#endif /* UC_PORT_H */
