// SPDX-License-Identifier: Apache-2.0
#include "writer.h"

#include <string.h>

#define CBOR_BSTR 0x40U
#define CBOR_ONE_BYTE_FOLLOWS 24U
#define CBOR_TWO_BYTES_FOLLOW 25U

void uc_writer_init(struct uc_writer *writer, uint8_t *data, size_t room)
{
	writer->data = data;
	writer->room = room;
	writer->len = 0;
	writer->ok = true;
}

void uc_writer_bytes(struct uc_writer *writer, const void *data, size_t len)
{
	if (!writer->ok || len > writer->room - writer->len) {
		writer->ok = false;
		return;
	}
	if (len > 0)
		memcpy(writer->data + writer->len, data, len);
	writer->len += len;
}

void uc_writer_byte(struct uc_writer *writer, uint8_t byte)
{
	uc_writer_bytes(writer, &byte, 1);
}

void uc_writer_text(struct uc_writer *writer, const char *text)
{
	uc_writer_bytes(writer, text, strlen(text));
}

void uc_writer_bstr(struct uc_writer *writer, const uint8_t *data, size_t len)
{
	if (len < CBOR_ONE_BYTE_FOLLOWS) {
		uc_writer_byte(writer, (uint8_t)(CBOR_BSTR | len));
	} else if (len <= UINT8_MAX) {
		uc_writer_byte(writer, CBOR_BSTR | CBOR_ONE_BYTE_FOLLOWS);
		uc_writer_byte(writer, (uint8_t)len);
	} else if (len <= UINT16_MAX) {
		uc_writer_byte(writer, CBOR_BSTR | CBOR_TWO_BYTES_FOLLOW);
		uc_writer_byte(writer, (uint8_t)(len >> 8));
		uc_writer_byte(writer, (uint8_t)(len & 0xFFU));
	} else {
		writer->ok = false;
	}
	uc_writer_bytes(writer, data, len);
}
