/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appends to a buffer of fixed size. An append that does not fit clears `ok`
 * and writes nothing, so that a caller checks once, at the end.
 */
#ifndef UC_WRITER_H
#define UC_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uc_writer {
	uint8_t *data;
	size_t room;
	size_t len;
	bool ok;
};

void uc_writer_init(struct uc_writer *writer, uint8_t *data, size_t room);
void uc_writer_byte(struct uc_writer *writer, uint8_t byte);
void uc_writer_bytes(struct uc_writer *writer, const void *data, size_t len);
/* The text without its terminating zero. */
void uc_writer_text(struct uc_writer *writer, const char *text);
/* A CBOR byte string of at most 65535 bytes, in its shortest encoding. */
void uc_writer_bstr(struct uc_writer *writer, const uint8_t *data, size_t len);

#endif /* UC_WRITER_H */
