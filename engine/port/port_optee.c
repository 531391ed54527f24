/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine asks of OP-TEE besides keys and policy: wiping, the clock
 * and small cryptography through the TEE Internal Core API. Slow is fine
 * here: these run a few times for each model that is opened. Pages go through
 * aes_gcm_armv8.c instead.
 *
 * The TEE Internal Core API panics on wrong arguments, so every length that
 * comes from outside is settled before it gets there.
 */
#include <string.h>
#include <tee_internal_api.h>

#include "uc_port.h"

#define SHA256_BYTES 32U
#define HMAC_BLOCK_BYTES 64U
#define GCM_NONCE_BYTES 12U
#define GCM_TAG_BYTES 16U
#define AES_128_BYTES 16U

void uc_port_wipe(void *memory, size_t len)
{
	/* The compiler must believe that somebody looks at the zeros. */
	if (len != 0)
		memset(memory, 0, len);
	__asm__ volatile("" : : "r"(memory) : "memory");
}

bool uc_port_random(uint8_t *out, size_t len)
{
	/* It has no failure but a panic. */
	if (len != 0)
		TEE_GenerateRandom(out, len);
	return true;
}

/*
 * A TA may read the virtual counter where CNTKCTL_EL1 says so. OP-TEE leaves
 * that register alone and Linux sets it; firmware built with NS_TIMER_SWITCH=0
 * keeps it when worlds change, as the emulated board's does. Elsewhere the read
 * would end the TA, hence the build option; release builds never have it.
 */
#ifdef UC_TICKS
uint64_t uc_port_ticks(void)
{
	uint64_t ticks = 0;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return ticks;
}

uint64_t uc_port_tick_hz(void)
{
	uint64_t hz = 0;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	return hz;
}
#else
uint64_t uc_port_ticks(void)
{
	return 0;
}

uint64_t uc_port_tick_hz(void)
{
	return 0;
}
#endif

/* An operation with a key of its own; NULL when OP-TEE has no memory left. */
static TEE_OperationHandle keyed_operation(uint32_t algorithm, uint32_t mode,
					   uint32_t type, uint32_t attribute,
					   const uint8_t *key, size_t key_len)
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Attribute value = {0};
	uint32_t bits = (uint32_t)key_len * 8U;
	TEE_Result result = TEE_ERROR_GENERIC;

	TEE_InitRefAttribute(&value, attribute, key, key_len);
	result = TEE_AllocateTransientObject(type, bits, &object);
	if (result == TEE_SUCCESS)
		result = TEE_PopulateTransientObject(object, &value, 1);
	if (result == TEE_SUCCESS)
		result = TEE_AllocateOperation(&operation, algorithm, mode,
					       bits);
	if (result == TEE_SUCCESS)
		result = TEE_SetOperationKey(operation, object);
	TEE_FreeTransientObject(object);
	if (result != TEE_SUCCESS) {
		TEE_FreeOperation(operation);
		operation = TEE_HANDLE_NULL;
	}
	return operation;
}

bool uc_port_sha256(const uint8_t *data, size_t len, uint8_t digest[32])
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	size_t digest_len = SHA256_BYTES;
	TEE_Result result = TEE_ERROR_GENERIC;

	result = TEE_AllocateOperation(&operation, TEE_ALG_SHA256,
				       TEE_MODE_DIGEST, 0);
	if (result == TEE_SUCCESS)
		result = TEE_DigestDoFinal(operation, data, len, digest,
					   &digest_len);
	TEE_FreeOperation(operation);
	return result == TEE_SUCCESS && digest_len == SHA256_BYTES;
}

/*
 * OP-TEE 4.5 gives its memory back as it is: the context of an operation with
 * the key in it, and the buffers in which a system call copies what it brings
 * and takes. So each operation on secrets is done twice: the second time finds
 * the same memory and has nothing to hide. tests/device/test_wiping.py looks.
 */
static const uint8_t nothing[256];

static bool hmac(const uint8_t block[HMAC_BLOCK_BYTES], const uint8_t *data,
		 size_t len, uint8_t mac[SHA256_BYTES])
{
	TEE_OperationHandle operation = keyed_operation(
		TEE_ALG_HMAC_SHA256, TEE_MODE_MAC, TEE_TYPE_HMAC_SHA256,
		TEE_ATTR_SECRET_VALUE, block, HMAC_BLOCK_BYTES);
	size_t mac_len = SHA256_BYTES;
	bool good = false;

	if (operation == TEE_HANDLE_NULL)
		return false;
	TEE_MACInit(operation, NULL, 0);
	good = TEE_MACComputeFinal(operation, data, len, mac, &mac_len) ==
		       TEE_SUCCESS &&
	       mac_len == SHA256_BYTES;
	TEE_FreeOperation(operation);
	return good;
}

bool uc_port_hmac_sha256(const uint8_t *key, size_t key_len,
			 const uint8_t *data, size_t len, uint8_t mac[32])
{
	/*
	 * OP-TEE takes keys of 24 to 128 bytes only. HMAC pads a shorter key
	 * with zeros to the hash's block, and hashes a longer one; done here,
	 * every key is one block.
	 */
	uint8_t block[HMAC_BLOCK_BYTES] = {0};
	uint8_t unused[SHA256_BYTES] = {0};
	bool good = true;

	if (key_len > sizeof(block))
		good = uc_port_sha256(key, key_len, block);
	else if (key_len != 0)
		memcpy(block, key, key_len);
	good = good && hmac(block, data, len, mac);
	uc_port_wipe(block, sizeof(block));
	(void)hmac(nothing, nothing,
		   len < sizeof(nothing) ? len : sizeof(nothing), unused);
	return good;
}

/* Data is encrypted at source and goes to out; not the same, because OP-TEE 4.5
 * then finds a wrong tag when the last block is not a whole one. */
static bool gcm_open(const uint8_t key[AES_128_BYTES],
		     const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad,
		     size_t aad_len, const uint8_t *source, size_t len,
		     uint8_t *out, uint8_t tag[GCM_TAG_BYTES])
{
	TEE_OperationHandle operation =
		keyed_operation(TEE_ALG_AES_GCM, TEE_MODE_DECRYPT, TEE_TYPE_AES,
				TEE_ATTR_SECRET_VALUE, key, AES_128_BYTES);
	TEE_Result result = TEE_ERROR_GENERIC;
	size_t out_len = len;

	if (operation != TEE_HANDLE_NULL)
		result = TEE_AEInit(operation, nonce, GCM_NONCE_BYTES,
				    GCM_TAG_BYTES * 8U, 0, 0);
	if (result == TEE_SUCCESS) {
		if (aad_len != 0)
			TEE_AEUpdateAAD(operation, aad, aad_len);
		result = TEE_AEDecryptFinal(operation, source, len, out,
					    &out_len, tag, GCM_TAG_BYTES);
	}
	TEE_FreeOperation(operation);
	return result == TEE_SUCCESS && out_len == len;
}

bool uc_port_aes128gcm_open(const uint8_t key[16], const uint8_t nonce[12],
			    const uint8_t *aad, size_t aad_len, uint8_t *data,
			    size_t len, const uint8_t tag[16])
{
	uint8_t sec_tag[GCM_TAG_BYTES] = {0};
	/* One byte more, because 0 may give NULL. */
	uint8_t *source = TEE_Malloc(len + 1U, TEE_MALLOC_FILL_ZERO);
	uint8_t *unused = TEE_Malloc(len + 1U, TEE_MALLOC_FILL_ZERO);
	bool good = source && unused;

	if (good) {
		memcpy(source, data, len);
		memcpy(sec_tag, tag, sizeof(sec_tag));
		good = gcm_open(key, nonce, aad, aad_len, source, len, data,
				sec_tag);
		/* It has the wrong tag, after as much work. */
		memset(source, 0, len);
		(void)gcm_open(nothing, nothing, NULL, 0, source, len, unused,
			       sec_tag);
	}
	TEE_Free(source);
	TEE_Free(unused);
	if (!good)
		uc_port_wipe(data, len);
	return good;
}

/* XNNPACK's kernels end here when one of their own assertions fails. */
void __assert_fail(const char *assertion, const char *file, unsigned int line,
		   const char *function) __attribute__((noreturn));

void __assert_fail(const char *assertion, const char *file, unsigned int line,
		   const char *function)
{
	(void)assertion;
	(void)file;
	(void)line;
	(void)function;
	TEE_Panic(TEE_ERROR_BAD_STATE);
	while (true)
		;
}
