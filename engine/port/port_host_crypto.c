// SPDX-License-Identifier: Apache-2.0
/*
 * The cryptography of the host port, from OpenSSL's libcrypto (3.0 or later).
 * What belongs to a device (its key, its policy, its clock) is in port_host.c.
 */
#include "aead.h"

#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#define TAG_BYTES 16
#define SHA256_BYTES 32

void uc_port_wipe(void *memory, size_t len)
{
	OPENSSL_cleanse(memory, len);
}

bool uc_port_random(uint8_t *out, size_t len)
{
	bool ok = len <= INT_MAX && RAND_bytes(out, (int)len) == 1;

	if (!ok)
		OPENSSL_cleanse(out, len);
	return ok;
}

bool uc_port_sha256(const uint8_t *data, size_t len, uint8_t digest[32])
{
	return EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) == 1;
}

bool uc_port_hmac_sha256(const uint8_t *key, size_t key_len,
			 const uint8_t *data, size_t len, uint8_t mac[32])
{
	static const uint8_t none = 0;
	unsigned int written = 0;

	if (key_len > INT_MAX)
		return false;
	/* libcrypto takes a NULL key to mean "the key of the last call". */
	return HMAC(EVP_sha256(), key ? key : &none, (int)key_len, data, len,
		    mac, &written) != NULL &&
	       written == SHA256_BYTES;
}

bool uc_port_ed25519_verify(const uint8_t public_key[32],
			    const uint8_t *message, size_t len,
			    const uint8_t signature[64])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
						    public_key, 32);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool ok = key && context &&
		  EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestVerify(context, signature, 64, message, len) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return ok;
}

static bool evp_open(const EVP_CIPHER *cipher, const uint8_t *key,
		     const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		     uint8_t *data, size_t len, const uint8_t *tag)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t expected[TAG_BYTES] = {0};
	int written = 0;
	bool ok = false;

	/* EVP does not promise to leave the tag alone. */
	memcpy(expected, tag, sizeof(expected));
	ok = context && len <= INT_MAX && aad_len <= INT_MAX &&
	     EVP_DecryptInit_ex(context, cipher, NULL, key, nonce) == 1 &&
	     (aad_len == 0 || EVP_DecryptUpdate(context, NULL, &written, aad,
						(int)aad_len) == 1) &&
	     EVP_DecryptUpdate(context, data, &written, data, (int)len) == 1 &&
	     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES,
				 expected) == 1 &&
	     EVP_DecryptFinal_ex(context, data + len, &written) == 1;
	EVP_CIPHER_CTX_free(context);
	if (!ok)
		OPENSSL_cleanse(data, len);
	return ok;
}

/* Pages carry no additional data. */
static bool evp_seal(const EVP_CIPHER *cipher, const uint8_t *key,
		     const uint8_t *nonce, uint8_t *data, size_t len,
		     uint8_t *tag)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int written = 0;
	bool ok = context && len <= INT_MAX &&
		  EVP_EncryptInit_ex(context, cipher, NULL, key, nonce) == 1 &&
		  EVP_EncryptUpdate(context, data, &written, data, (int)len) ==
			  1 &&
		  EVP_EncryptFinal_ex(context, data + len, &written) == 1 &&
		  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES,
				      tag) == 1;

	EVP_CIPHER_CTX_free(context);
	if (!ok) {
		OPENSSL_cleanse(data, len);
		OPENSSL_cleanse(tag, TAG_BYTES);
	}
	return ok;
}

bool uc_port_aes128gcm_open(const uint8_t key[16], const uint8_t nonce[12],
			    const uint8_t *aad, size_t aad_len, uint8_t *data,
			    size_t len, const uint8_t tag[16])
{
	return evp_open(EVP_aes_128_gcm(), key, nonce, aad, aad_len, data, len,
			tag);
}

/* ---- pages: the key is all there is to keep ---- */

static bool init(void *state, const uint8_t key[32])
{
	memcpy(state, key, 32);
	return true;
}

static bool aes_open(const void *state, const uint8_t nonce[12], uint8_t *data,
		     size_t len, const uint8_t tag[16])
{
	return evp_open(EVP_aes_256_gcm(), state, nonce, NULL, 0, data, len,
			tag);
}

static bool aes_seal(const void *state, const uint8_t nonce[12], uint8_t *data,
		     size_t len, uint8_t tag[16])
{
	return evp_seal(EVP_aes_256_gcm(), state, nonce, data, len, tag);
}

const struct uc_aead_cipher uc_aead_aes_256_gcm = {
	.state_bytes = 32,
	.init = init,
	.open = aes_open,
	.seal = aes_seal,
};

static bool chacha_open(const void *state, const uint8_t nonce[12],
			uint8_t *data, size_t len, const uint8_t tag[16])
{
	return evp_open(EVP_chacha20_poly1305(), state, nonce, NULL, 0, data,
			len, tag);
}

static bool chacha_seal(const void *state, const uint8_t nonce[12],
			uint8_t *data, size_t len, uint8_t tag[16])
{
	return evp_seal(EVP_chacha20_poly1305(), state, nonce, data, len, tag);
}

const struct uc_aead_cipher uc_aead_chacha20_poly1305 = {
	.state_bytes = 32,
	.init = init,
	.open = chacha_open,
	.seal = chacha_seal,
};
