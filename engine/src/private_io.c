/* SPDX-License-Identifier: Apache-2.0 */
#include "private_io.h"

#include "engine.h"
#include "uc_secret.h"

#define PAGE_BYTES UC_PRIVATE_PAGE_BYTES
#define SLOT_BYTES (PAGE_BYTES + UC_PAGE_TAG_BYTES)
#define BLOCK_BYTES 16U /* ciphers take whole blocks */

_Static_assert(PAGE_BYTES % BLOCK_BYTES == 0, "a whole page needs no padding");

/* What one command moves: whole pages of one input or output. */
struct transfer {
	bool is_output;
	uint32_t index;	  /* of the input or output */
	uint32_t element; /* the next one */
	uint64_t page;	  /* its page, among those of all inputs or outputs */
	uint64_t bytes;	  /* of plaintext that are left */
};

static size_t padded(size_t len)
{
	return (len + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

/* How many bytes of plaintext `len` bytes of sealed pages hold, when `left` are
 * to come; 0 when there can be no such pages. */
static uint64_t plain_bytes(uint64_t left, size_t len)
{
	uint64_t before = (uc_units(len, SLOT_BYTES) - 1) * PAGE_BYTES;
	uint64_t bytes = before + PAGE_BYTES;
	size_t last = 0;

	if (len == 0 || before >= left)
		return 0;
	if (bytes > left)
		bytes = left;
	last = padded((size_t)(bytes - before)) + UC_PAGE_TAG_BYTES;
	return (len - 1) % SLOT_BYTES + 1 == last ? bytes : 0;
}

static void tensor_of(const struct uc_program *program, bool is_output,
		      uint32_t index, struct uc_tensor *tensor)
{
	uc_program_tensor(program,
			  is_output ? uc_program_output(program, index)
				    : uc_program_input(program, index),
			  tensor);
}

/* False when there is no such input or output, element or run of pages. */
static bool transfer_init(struct transfer *transfer,
			  const struct uc_program *program, size_t ns_len)
{
	uint64_t offset = 4 * (uint64_t)transfer->element;
	bool is_output = transfer->is_output;
	struct uc_tensor tensor = {0};

	if (transfer->index >=
	    (is_output ? program->output_count : program->input_count))
		return false;
	transfer->page = offset / PAGE_BYTES;
	for (uint32_t i = 0; i < transfer->index; i++) {
		tensor_of(program, is_output, i, &tensor);
		transfer->page += uc_units(tensor.bytes, PAGE_BYTES);
	}
	tensor_of(program, is_output, transfer->index, &tensor);
	if (offset % PAGE_BYTES != 0 || offset >= tensor.bytes)
		return false;
	transfer->bytes = plain_bytes(tensor.bytes - offset, ns_len);
	return transfer->bytes != 0;
}

static enum uc_status take_page(struct uc_engine *engine,
				const struct uc_port_aead *aead,
				const struct transfer *transfer, size_t len,
				const uint8_t *ns_page, uint8_t *staging)
{
	size_t sealed_len = padded(len);
	uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};
	uint8_t tag[UC_PAGE_TAG_BYTES] = {0};
	uint64_t begin = uc_port_ticks();

	memcpy(staging, ns_page, sealed_len);
	memcpy(tag, ns_page + sealed_len, sizeof(tag));
	uc_store_u64(nonce, transfer->page);
	if (!uc_port_aead_open(aead, nonce, staging, sealed_len, tag))
		return UC_ST_NOT_AUTHENTIC;
	/* It is computed with, which takes the time it takes. */
	uc_secret_is_public(staging, sealed_len);
	if (!uc_is_zero(staging + len, sealed_len - len))
		return UC_ST_BAD_QUESTION;
	engine->stats.ticks_decrypt += uc_port_ticks() - begin;
	return uc_engine_input(engine, transfer->index, transfer->element,
			       staging, len);
}

static enum uc_status give_page(struct uc_engine *engine,
				const struct uc_port_aead *aead,
				const struct transfer *transfer, size_t len,
				uint8_t *ns_page, uint8_t *staging)
{
	size_t sealed_len = padded(len);
	uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};
	uint8_t tag[UC_PAGE_TAG_BYTES] = {0};
	uint64_t begin = 0;
	enum uc_status status = uc_engine_output(
		engine, transfer->index, transfer->element, staging, len);

	if (status != UC_ST_OK)
		return status;
	begin = uc_port_ticks();
	memset(staging + len, 0, sealed_len - len);
	/* A page that is read twice is the same page, to the byte. */
	uc_store_u64(nonce, transfer->page);
	if (!uc_port_aead_seal(aead, nonce, staging, sealed_len, tag))
		return UC_ST_INTERNAL;
	memcpy(ns_page, staging, sealed_len);
	memcpy(ns_page + sealed_len, tag, sizeof(tag));
	engine->stats.ticks_decrypt += uc_port_ticks() - begin;
	return UC_ST_OK;
}

static enum uc_status move_pages(struct uc_engine *engine,
				 const uint8_t key[32],
				 struct transfer *transfer, uint8_t *ns_pages,
				 uint8_t *staging)
{
	struct uc_port_aead aead = {0};
	enum uc_status status = UC_ST_OK;

	if (!uc_port_aead_init(&aead, engine->config.suite, key))
		return UC_ST_INTERNAL;
	while (status == UC_ST_OK && transfer->bytes != 0) {
		size_t len = transfer->bytes < PAGE_BYTES
				     ? (size_t)transfer->bytes
				     : PAGE_BYTES;
		size_t slot_len = padded(len) + UC_PAGE_TAG_BYTES;

		status = transfer->is_output
				 ? give_page(engine, &aead, transfer, len,
					     ns_pages, staging)
				 : take_page(engine, &aead, transfer, len,
					     ns_pages, staging);
		/* The engine has counted the plaintext. */
		engine->stats.moved_bytes += slot_len - len;
		ns_pages += slot_len;
		transfer->element += (uint32_t)(len / 4);
		transfer->page++;
		transfer->bytes -= len;
	}
	uc_port_wipe(&aead, sizeof(aead));
	return status;
}

enum uc_status uc_private_move(const struct uc_private_io *io,
			       struct uc_engine *engine, bool is_output,
			       uint32_t index, uint32_t first_element,
			       uint8_t *ns_pages, size_t ns_len,
			       uint8_t *staging)
{
	struct transfer transfer = {
		.is_output = is_output,
		.index = index,
		.element = first_element,
	};
	enum uc_status status = UC_ST_OK;

	if (engine->state != (is_output ? UC_STATE_DONE : UC_STATE_INPUT))
		status = UC_ST_BAD_STATE;
	else if (!ns_pages ||
		 !transfer_init(&transfer, &engine->program, ns_len))
		status = UC_ST_BAD_PARAMETERS;
	else
		status = move_pages(
			engine, is_output ? io->answer_key : io->question_key,
			&transfer, ns_pages, staging);
	uc_port_wipe(staging, PAGE_BYTES);
	if (status != UC_ST_OK)
		uc_engine_abort(engine);
	return status;
}
