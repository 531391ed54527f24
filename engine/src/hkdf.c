// SPDX-License-Identifier: Apache-2.0
#include "hkdf.h"

#include <string.h>

#include "uc_port.h"
#include "writer.h"

bool uc_hkdf_extract(const uint8_t *salt, const uint8_t *ikm, size_t ikm_len,
		     uint8_t prk[UC_HKDF_BYTES])
{
	/* Zero bytes make the same HMAC as an empty key, which some TEEs do
	 * not take. */
	static const uint8_t no_salt[UC_HKDF_BYTES] = {0};

	return uc_port_hmac_sha256(salt ? salt : no_salt, UC_HKDF_BYTES, ikm,
				   ikm_len, prk);
}

bool uc_hkdf_expand(const uint8_t prk[UC_HKDF_BYTES], const uint8_t *info,
		    size_t info_len, uint8_t *out, size_t len)
{
	uint8_t message[UC_HKDF_MAX_INFO + 1] = {0};
	uint8_t block[UC_HKDF_BYTES] = {0};
	struct uc_writer writer = {0};
	bool ok = false;

	uc_writer_init(&writer, message, sizeof(message));
	uc_writer_bytes(&writer, info, info_len);
	uc_writer_byte(&writer, 1); /* the number of the only block */
	ok = writer.ok && len >= 1 && len <= sizeof(block) &&
	     uc_port_hmac_sha256(prk, UC_HKDF_BYTES, message, writer.len,
				 block);
	if (ok)
		memcpy(out, block, len);
	uc_port_wipe(block, sizeof(block));
	uc_port_wipe(message, sizeof(message));
	return ok;
}
