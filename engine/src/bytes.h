/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian records and arithmetic that cannot wrap.
 */
#ifndef UC_BYTES_H
#define UC_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors and panels lie in memory as they are sealed: little-endian"
#endif

static inline uint16_t uc_load_u16(const uint8_t *from)
{
	uint16_t value = 0;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint32_t uc_load_u32(const uint8_t *from)
{
	uint32_t value = 0;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint64_t uc_load_u64(const uint8_t *from)
{
	uint64_t value = 0;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline float uc_load_f32(const uint8_t *from)
{
	float value = 0;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline void uc_store_u32(uint8_t *to, uint32_t value)
{
	memcpy(to, &value, sizeof(value));
}

static inline void uc_store_u64(uint8_t *to, uint64_t value)
{
	memcpy(to, &value, sizeof(value));
}

static inline bool uc_is_zero(const uint8_t *bytes, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= bytes[i];
	return any == 0;
}

/* Is [offset, offset + len) inside [0, end)? */
static inline bool uc_range_fits(uint64_t offset, uint64_t len, uint64_t end)
{
	return offset <= end && len <= end - offset;
}

/* Have two ranges, neither of which wraps, a byte in common? */
static inline bool uc_ranges_meet(uint64_t offset, uint64_t len, uint64_t other,
				  uint64_t other_len)
{
	return len != 0 && other_len != 0 && offset < other + other_len &&
	       other < offset + len;
}

/* How many units of `unit` bytes hold len bytes; unit is not 0. */
static inline uint64_t uc_units(uint64_t len, uint64_t unit)
{
	return len / unit + (len % unit != 0);
}

#endif /* UC_BYTES_H */
