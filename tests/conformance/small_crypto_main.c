// SPDX-License-Identifier: Apache-2.0
/*
 * The engine's small cryptography and the host port's against published
 * vectors, and their limits. Prints nothing when all is well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cose.h"
#include "fake_device.h"
#include "hkdf.h"
#include "hpke.h"
#include "uc_license.h"
#include "uc_port.h"
#include "writer.h"

#define CHECK(condition) check((condition), #condition, __LINE__)

static void check(bool ok, const char *condition, int line)
{
	if (ok)
		return;
	fprintf(stderr, "line %d: %s\n", line, condition);
	exit(1);
}

static size_t unhex(const char *text, uint8_t *out)
{
	size_t len = strlen(text) / 2;

	for (size_t i = 0; i < len; i++) {
		char byte[3] = {text[2 * i], text[2 * i + 1], 0};

		out[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return len;
}

static bool equals(const uint8_t *data, const char *hex)
{
	uint8_t expected[256] = {0};
	size_t len = unhex(hex, expected);

	return memcmp(data, expected, len) == 0;
}

/* FIPS 180-4 example "abc"; RFC 4231, test cases 1 and 2. */
static void test_hashes(void)
{
	uint8_t key[20] = {0};
	uint8_t out[32] = {0};

	CHECK(uc_port_sha256((const uint8_t *)"abc", 3, out));
	CHECK(equals(out, "ba7816bf8f01cfea414140de5dae2223"
			  "b00361a396177a9cb410ff61f20015ad"));
	memset(key, 0x0b, sizeof(key));
	CHECK(uc_port_hmac_sha256(key, sizeof(key), (const uint8_t *)"Hi There",
				  8, out));
	CHECK(equals(out, "b0344c61d8db38535ca8afceaf0bf12b"
			  "881dc200c9833da726e9376c2e32cff7"));
	CHECK(uc_port_hmac_sha256(
		(const uint8_t *)"Jefe", 4,
		(const uint8_t *)"what do ya want for nothing?", 28, out));
	CHECK(equals(out, "5bdcc146bf60754e6a042426089575c7"
			  "5a003f089d2739839dec58b964ec3843"));
}

/* RFC 5869, test cases 1 and 3: the first block of their output. */
static void test_hkdf(void)
{
	uint8_t ikm[22] = {0};
	uint8_t info[10] = {0};
	uint8_t prk[32] = {0};
	uint8_t okm[32] = {0};

	memset(ikm, 0x0b, sizeof(ikm));
	CHECK(unhex("f0f1f2f3f4f5f6f7f8f9", info) == sizeof(info));
	CHECK(uc_hkdf_extract(NULL, ikm, sizeof(ikm), prk));
	CHECK(equals(prk, "19ef24a32c717b167f33a91d6f648bdf"
			  "96596776afdb6377ac434c1c293ccb04"));
	CHECK(uc_hkdf_expand(prk, NULL, 0, okm, 32));
	CHECK(equals(okm, "8da4e775a563c18f715f802a063c5a31"
			  "b8a11f5c5ee1879ec3454e5f3c738d2d"));
	/* The salt of test case 1 has 13 bytes; ours have 32, so its PRK. */
	CHECK(unhex("077709362c2e32df0ddc3f0dc47bba63"
		    "90b6c73bb50f9c3122ec844ad7c2b3e5",
		    prk) == 32);
	CHECK(uc_hkdf_expand(prk, info, sizeof(info), okm, 32));
	CHECK(equals(okm, "3cb25f25faacd57a90434f64d0362f2a"
			  "2d2d0a90cf1a5a4c5db02d56ecc4c5bf"));
	CHECK(!uc_hkdf_expand(prk, info, sizeof(info), okm, 0));
	CHECK(!uc_hkdf_expand(prk, info, sizeof(info), okm, 33));
}

/* RFC 9180, appendix A.1.1.2. */
static void test_hpke_exports(const uint8_t enc[32],
			      const uint8_t public_key[32],
			      const uint8_t info[20])
{
	struct uc_hpke_context context = {0};
	uint8_t long_context[UC_HPKE_MAX_INFO + 1] = {0};
	uint8_t secret[32] = {0};

	CHECK(uc_hpke_begin(&context, enc, public_key, info, 20));
	CHECK(uc_hpke_export(&context, NULL, 0, secret));
	CHECK(equals(secret, "3853fe2b4035195a573ffc53856e7705"
			     "8e15d9ea064de3e59f4961d0095250ee"));
	CHECK(uc_hpke_export(&context, long_context, 1, secret));
	CHECK(equals(secret, "2e8f0b54673c7029649d4eb9d5e33bf1"
			     "872cf76d623ff164ac185da9e88c21a5"));
	CHECK(uc_hpke_export(&context, (const uint8_t *)"TestContext", 11,
			     secret));
	CHECK(equals(secret, "e9e43065102c3836401bed8c3c3c75ae"
			     "46be1639869391d62c61f1ec7af54931"));
	CHECK(!uc_hpke_export(&context, long_context, sizeof(long_context),
			      secret));
	uc_hpke_end(&context);
	for (size_t i = 0; i < sizeof(context); i++)
		CHECK(((const uint8_t *)&context)[i] == 0);
}

/* RFC 9180, appendix A.1.1, sequence number 0. */
static void test_hpke(void)
{
	uint8_t enc[32] = {0};
	uint8_t public_key[32] = {0};
	uint8_t info[20] = {0};
	uint8_t aad[7] = {0};
	uint8_t ciphertext[45] = {0};
	uint8_t plaintext[29] = {0};
	uint8_t blank[32] = {0};

	unhex("4612c550263fc8ad58375df3f557aac5"
	      "31d26850903e55a9f23f21d8534e8ac8",
	      fake_device_key);
	unhex("37fda3567bdbd628e88668c3c8d7e97d"
	      "1d1253b6d4ea6d44c150f741f1bf4431",
	      enc);
	CHECK(uc_port_device_public_key(public_key));
	CHECK(equals(public_key, "3948cfe0ad1ddb695d780e59077195da"
				 "6c56506b027329794ab02bca80815c4d"));
	CHECK(unhex("4f6465206f6e2061204772656369616e2055726e", info) == 20);
	CHECK(unhex("436f756e742d30", aad) == 7);
	CHECK(unhex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc5"
		    "3a52ae8218a355a96d8770ac83d07bea87e13c512a",
		    ciphertext) == 45);
	CHECK(uc_hpke_open(enc, public_key, info, 20, aad, 7, ciphertext, 45,
			   plaintext));
	CHECK(memcmp(plaintext, "Beauty is truth, truth beauty", 29) == 0);
	for (size_t i = 0; i < sizeof(ciphertext); i++) {
		ciphertext[i] ^= 1;
		CHECK(!uc_hpke_open(enc, public_key, info, 20, aad, 7,
				    ciphertext, 45, plaintext));
		CHECK(memcmp(plaintext, blank, sizeof(plaintext)) == 0);
		ciphertext[i] ^= 1;
	}
	CHECK(!uc_hpke_open(enc, public_key, info, 19, aad, 7, ciphertext, 45,
			    plaintext));
	CHECK(!uc_hpke_open(enc, public_key, info, 20, aad, 6, ciphertext, 45,
			    plaintext));
	CHECK(!uc_hpke_open(enc, public_key, info, 20, aad, 7, ciphertext, 15,
			    plaintext));
	test_hpke_exports(enc, public_key, info);
	/* A peer of order one gives an all-zero secret (RFC 7748, 6.1). */
	CHECK(!uc_hpke_open(blank, public_key, info, 20, aad, 7, ciphertext, 45,
			    plaintext));
}

/* RFC 8032, section 7.1, tests 1 and 2. */
static void test_ed25519(void)
{
	uint8_t key[32] = {0};
	uint8_t signature[64] = {0};
	const uint8_t message = 0x72;

	unhex("d75a980182b10ab7d54bfed3c964073a"
	      "0ee172f3daa62325af021a68f707511a",
	      key);
	unhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
	      "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100"
	      "b",
	      signature);
	CHECK(uc_port_ed25519_verify(key, &message, 0, signature));
	CHECK(!uc_port_ed25519_verify(key, &message, 1, signature));
	unhex("3d4017c3e843895a92b70aa74d1b7ebc"
	      "9c982ccf2ec4968cc0cd55f12af4660c",
	      key);
	unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
	      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c0"
	      "0",
	      signature);
	CHECK(uc_port_ed25519_verify(key, &message, 1, signature));
	signature[0] ^= 1;
	CHECK(!uc_port_ed25519_verify(key, &message, 1, signature));
}

/* Vectors of the page ciphers are in tests/helpers/suites.py. */
static void test_pages(void)
{
	const uint32_t suites[] = {UC_SUITE_AES_256_GCM, UC_SUITE_AEGIS_128L,
				   UC_SUITE_CHACHA20_POLY1305};
	struct uc_port_aead aead = {0};
	uint8_t key[32] = {0};
	uint8_t nonce[12] = {0};
	uint8_t data[16] = {0};
	uint8_t tag[16] = {0};
	const uint8_t blank[16] = {0};

	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		CHECK(uc_port_aead_init(&aead, suites[i], key));
		CHECK(uc_port_aead_seal(&aead, nonce, data, sizeof(data), tag));
		CHECK(memcmp(data, blank, sizeof(blank)) != 0);
		CHECK(uc_port_aead_open(&aead, nonce, data, sizeof(data), tag));
		CHECK(memcmp(data, blank, sizeof(blank)) == 0);
		memset(data, 1, sizeof(data));
		CHECK(!uc_port_aead_open(&aead, nonce, data, sizeof(data),
					 tag));
		CHECK(memcmp(data, blank, sizeof(blank)) == 0);
	}
	/* Without a suite nothing opens, and what was there is gone. */
	CHECK(!uc_port_aead_init(&aead, 0, key));
	CHECK(!uc_port_aead_init(&aead, UC_SUITE_CHACHA20_POLY1305 + 1, key));
	CHECK(!uc_port_aead_init(&aead, UINT32_MAX, key));
	memset(data, 1, sizeof(data));
	memset(tag, 1, sizeof(tag));
	CHECK(!uc_port_aead_seal(&aead, nonce, data, sizeof(data), tag));
	CHECK(memcmp(data, blank, sizeof(blank)) == 0);
	CHECK(memcmp(tag, blank, sizeof(blank)) == 0);
}

static void test_random(void)
{
	uint8_t first[64] = {0};
	uint8_t second[64] = {0};

	CHECK(uc_port_random(first, 0));
	CHECK(uc_port_random(first, sizeof(first)));
	CHECK(uc_port_random(second, sizeof(second)));
	CHECK(memcmp(first, second, sizeof(first)) != 0);
}

static void test_writer(void)
{
	static uint8_t data[70000];
	static uint8_t out[70000];
	struct uc_writer writer = {0};

	uc_writer_init(&writer, out, sizeof(out));
	uc_writer_bstr(&writer, data, 23);
	CHECK(writer.ok && writer.len == 24 && out[0] == 0x57);
	uc_writer_init(&writer, out, sizeof(out));
	uc_writer_bstr(&writer, data, 24);
	CHECK(writer.ok && writer.len == 26 && out[0] == 0x58 && out[1] == 24);
	uc_writer_init(&writer, out, sizeof(out));
	uc_writer_bstr(&writer, data, 256);
	CHECK(writer.ok && writer.len == 259 && out[0] == 0x59 && out[1] == 1 &&
	      out[2] == 0);
	uc_writer_init(&writer, out, sizeof(out));
	uc_writer_bstr(&writer, data, 65536);
	CHECK(!writer.ok);
	uc_writer_init(&writer, out, 4);
	uc_writer_text(&writer, "four");
	CHECK(writer.ok);
	uc_writer_byte(&writer, 0);
	CHECK(!writer.ok && writer.len == 4);
	uc_writer_bytes(&writer, NULL, 0);
	CHECK(!writer.ok);
}

static void test_device_key(void)
{
	uint8_t key[UC_COSE_KEY_BYTES + 8] = {0};
	size_t len = sizeof(key);

	CHECK(uc_device_cose_key(key, &len) == UC_ST_OK);
	CHECK(len == UC_COSE_KEY_BYTES);
	CHECK(equals(key, "a301012004215820"
			  "3948cfe0ad1ddb695d780e59077195da"
			  "6c56506b027329794ab02bca80815c4d"));
	len = UC_COSE_KEY_BYTES - 1;
	CHECK(uc_device_cose_key(key, &len) == UC_ST_SHORT_BUFFER);
	CHECK(len == UC_COSE_KEY_BYTES);
}

int main(void)
{
	test_hashes();
	test_hkdf();
	test_hpke();
	test_ed25519();
	test_pages();
	test_random();
	test_writer();
	test_device_key();
	return 0;
}
