/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HKDF (RFC 5869) with SHA-256, for at most one block of output, which is all
 * that page keys and HPKE need.
 */
#ifndef UC_HKDF_H
#define UC_HKDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UC_HKDF_BYTES 32 /* SHA-256 */
#define UC_HKDF_MAX_INFO 255

/* salt: 32 bytes; NULL is the salt of 32 zero bytes that RFC 5869 takes when
 * none is given. */
bool uc_hkdf_extract(const uint8_t *salt, const uint8_t *ikm, size_t ikm_len,
		     uint8_t prk[UC_HKDF_BYTES]);
/* len: 1 to 32 bytes. False too when info is over UC_HKDF_MAX_INFO. */
bool uc_hkdf_expand(const uint8_t prk[UC_HKDF_BYTES], const uint8_t *info,
		    size_t info_len, uint8_t *out, size_t len);

#endif /* UC_HKDF_H */
