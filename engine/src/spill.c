/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations that leave the secure world for a while, when nothing else makes
 * a network fit. They leave as pages, encrypted below a key that lives for one
 * inference and is never used for anything else; a page's nonce is its place
 * among all pages of the inference. So a page that comes back is the one that
 * left, from this inference and this place, or it does not verify.
 *
 * A page passes through the scratch region: shared memory never sees
 * plaintext, and what comes back is copied once before it is looked at.
 */
#include "engine.h"
#include "uc_secret.h"

struct slot {
	struct uc_op op;
	struct uc_tensor tensor;
	uint64_t offset; /* of the page under way, in the tensor */
	uint64_t len;	 /* bytes of the tensor in it */
	uint32_t pages;
};

static void slot_of(const struct uc_engine *engine, struct slot *slot)
{
	const struct uc_program *program = &engine->program;
	uint64_t page_bytes = program->page_bytes;

	uc_program_op(program, engine->run.op, &slot->op);
	uc_program_tensor(program,
			  slot->op.code == UC_OP_SPILL ? slot->op.input_a
						       : slot->op.output,
			  &slot->tensor);
	slot->pages = (uint32_t)uc_units(slot->tensor.bytes, page_bytes);
	slot->offset = engine->run.spill_part * page_bytes;
	slot->len = slot->tensor.bytes - slot->offset;
	if (slot->len > page_bytes)
		slot->len = page_bytes;
}

/* A key of its own for every inference that spills. */
static bool take_key(struct uc_engine *engine)
{
	uint8_t key[32] = {0};
	bool good = engine->spill_has_key;

	if (!good)
		good = uc_port_random(key, sizeof(key)) &&
		       uc_port_aead_init(&engine->spill_aead,
					 engine->config.suite, key);
	engine->spill_has_key = good;
	uc_port_wipe(key, sizeof(key));
	return good;
}

enum uc_status uc_spill_begin(struct uc_engine *engine, const struct uc_op *op)
{
	engine->run.spill_part = 0;
	if (op->code == UC_OP_FILL) {
		engine->state = UC_STATE_FILLING;
		return UC_ST_OK;
	}
	engine->state = UC_STATE_SPILLING;
	return take_key(engine) ? UC_ST_OK : UC_ST_INTERNAL;
}

void uc_spill_want(const struct uc_engine *engine, struct uc_want *want)
{
	struct slot slot = {0};

	slot_of(engine, &slot);
	want->first = slot.op.spill_page + engine->run.spill_part;
	want->count = slot.pages - engine->run.spill_part;
}

static enum uc_status page_done(struct uc_engine *engine,
				const struct slot *slot)
{
	engine->stats.moved_bytes +=
		engine->program.page_bytes + UC_PAGE_TAG_BYTES;
	if (++engine->run.spill_part < slot->pages)
		return UC_ST_OK;
	engine->run.spill_part = 0;
	engine->run.op++;
	return uc_run_on(engine);
}

enum uc_status uc_spill_page(struct uc_engine *engine, uint8_t *ns_page)
{
	size_t page_bytes = engine->program.page_bytes;
	uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};
	uint8_t tag[UC_PAGE_TAG_BYTES] = {0};
	struct slot slot = {0};
	const uint8_t *stored = NULL;
	uint8_t *page = NULL;
	uint64_t begin = uc_port_ticks();

	slot_of(engine, &slot);
	stored = uc_arena_use(&engine->arena, slot.tensor.offset + slot.offset,
			      slot.len);
	page = uc_arena_use(&engine->arena, engine->program.scratch_offset,
			    page_bytes);
	if (!stored || !page)
		return UC_ST_INTERNAL;
	memcpy(page, stored, (size_t)slot.len);
	memset(page + slot.len, 0, page_bytes - (size_t)slot.len);
	uc_store_u64(nonce, slot.op.spill_page + engine->run.spill_part);
	if (!uc_port_aead_seal(&engine->spill_aead, nonce, page, page_bytes,
			       tag))
		return UC_ST_INTERNAL;
	memcpy(ns_page, page, page_bytes);
	memcpy(ns_page + page_bytes, tag, sizeof(tag));
	engine->stats.spilled_bytes += page_bytes;
	engine->stats.ticks_decrypt += uc_port_ticks() - begin;
	return page_done(engine, &slot);
}

enum uc_status uc_fill_page(struct uc_engine *engine, const uint8_t *ns_page)
{
	size_t page_bytes = engine->program.page_bytes;
	uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};
	uint8_t tag[UC_PAGE_TAG_BYTES] = {0};
	struct slot slot = {0};
	uint8_t *stored = NULL;
	uint8_t *page = NULL;
	uint64_t begin = uc_port_ticks();

	slot_of(engine, &slot);
	stored = uc_arena_use(&engine->arena, slot.tensor.offset + slot.offset,
			      slot.len);
	page = uc_arena_use(&engine->arena, engine->program.scratch_offset,
			    page_bytes);
	if (!stored || !page)
		return UC_ST_INTERNAL;
	memcpy(page, ns_page, page_bytes);
	memcpy(tag, ns_page + page_bytes, sizeof(tag));
	uc_store_u64(nonce, slot.op.spill_page + engine->run.spill_part);
	if (!uc_port_aead_open(&engine->spill_aead, nonce, page, page_bytes,
			       tag))
		return UC_ST_NOT_AUTHENTIC;
	uc_secret_is_public(page, page_bytes);
	memcpy(stored, page, (size_t)slot.len);
	engine->stats.ticks_decrypt += uc_port_ticks() - begin;
	return page_done(engine, &slot);
}
