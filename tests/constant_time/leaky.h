/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing tags as nobody should, in place of uc_aead_tags_equal(): whoever looks
 * for leaks must find these. Included before a cipher's own source.
 */
#include "aead.h"

static inline bool leaky_tags_equal(const uint8_t *a, const uint8_t *b)
{
#ifdef LEAK_BY_INDEX
	static const volatile uint8_t table[256];

	return uc_aead_tags_equal(a, b) && table[a[0]] == 0;
#else
	volatile bool equal = true;

	for (size_t i = 0; i < UC_AEAD_TAG_BYTES && equal; i++)
		equal = a[i] == b[i];
	return equal;
#endif
}

#define uc_aead_tags_equal leaky_tags_equal
