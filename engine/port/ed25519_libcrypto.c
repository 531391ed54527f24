/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 verification by OpenSSL's own code: the objects curve25519, sha512 and sha512-armv8 of libcrypto.a (3.5), without
 * the rest of the library. A hundredth of the instructions that OP-TEE's verification takes, and the very code that the
 * host port runs, so that both accept the same signatures.
 *
 * curve25519.o hashes through the EVP interface. What it needs of that is here, over SHA-512 alone.
 */
#include <stddef.h>
#include <string.h>

#include "uc_port.h"

/* From libcrypto (include/crypto/ecx.h, openssl/sha.h). */
int ossl_ed25519_verify(const uint8_t *message, size_t len,
			const uint8_t signature[64],
			const uint8_t public_key[32], uint8_t dom2,
			uint8_t prehash, uint8_t with_context,
			const uint8_t *context, size_t context_len,
			void *library, const char *properties);
int SHA512_Init(void *hash);
int SHA512_Update(void *hash, const void *data, size_t len);
int SHA512_Final(uint8_t *digest, void *hash);

/* For libcrypto. */
void *EVP_MD_fetch(void *library, const char *name, const char *properties);
void EVP_MD_free(void *md);
void *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(void *context);
int EVP_DigestInit_ex(void *context, const void *md, void *engine);
int EVP_DigestUpdate(void *context, const void *data, size_t len);
int EVP_DigestFinal_ex(void *context, uint8_t *digest, unsigned int *len);
int EVP_Digest(const void *data, size_t data_len, uint8_t *digest,
	       unsigned int *len, const void *md, void *engine);
void OPENSSL_cleanse(void *memory, size_t len);
int CRYPTO_memcmp(const void *a, const void *b, size_t len);

#define SHA512_BYTES 64U

/* SHA512_CTX has 216 bytes. One is enough: a TA has one thread, and one
 * verification goes on at a time. */
static _Alignas(16) uint8_t only_hash[256];

/* What the processor has; bit 0 is NEON, bit 6 would be SHA-512. Another
 * object of libcrypto's may bring a better one. */
extern unsigned int OPENSSL_armcap_P;
__attribute__((weak)) unsigned int OPENSSL_armcap_P = 1;

void *EVP_MD_fetch(void *library, const char *name, const char *properties)
{
	(void)library;
	(void)name;
	(void)properties;
	return only_hash; /* anything but NULL */
}

void EVP_MD_free(void *md)
{
	(void)md;
}

void *EVP_MD_CTX_new(void)
{
	return only_hash;
}

void EVP_MD_CTX_free(void *context)
{
	(void)context;
	uc_port_wipe(only_hash, sizeof(only_hash));
}

int EVP_DigestInit_ex(void *context, const void *md, void *engine)
{
	(void)md;
	(void)engine;
	return SHA512_Init(context);
}

int EVP_DigestUpdate(void *context, const void *data, size_t len)
{
	return len == 0 ? 1 : SHA512_Update(context, data, len);
}

int EVP_DigestFinal_ex(void *context, uint8_t *digest, unsigned int *len)
{
	if (len)
		*len = SHA512_BYTES;
	return SHA512_Final(digest, context);
}

/* Signing asks for it, which happens elsewhere. */
int EVP_Digest(const void *data, size_t data_len, uint8_t *digest,
	       unsigned int *len, const void *md, void *engine)
{
	(void)data;
	(void)data_len;
	(void)digest;
	(void)len;
	(void)md;
	(void)engine;
	return 0;
}

void OPENSSL_cleanse(void *memory, size_t len)
{
	uc_port_wipe(memory, len);
}

int CRYPTO_memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *left = a;
	const uint8_t *right = b;
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < len; i++)
		difference = (uint8_t)(difference | (left[i] ^ right[i]));
	return difference;
}

bool uc_port_ed25519_verify(const uint8_t public_key[32],
			    const uint8_t *message, size_t len,
			    const uint8_t signature[64])
{
	return ossl_ed25519_verify(message, len, signature, public_key, 0, 0, 0,
				   NULL, 0, NULL, NULL) == 1;
}
