/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From shared memory to verified plaintext. Each byte of a page is read once:
 * copied to the place where it is used, and verified and decrypted there, or
 * decrypted on the way by a cipher that can. So what the normal world does to
 * its copy in the meantime has no effect.
 */
#include "engine.h"
#include "uc_secret.h"

enum uc_status uc_page_take(struct uc_engine *engine, uint32_t index,
			    const uint8_t *ns_page, uint64_t offset)
{
	size_t page_bytes = engine->config.page_bytes;
	uint8_t *page = uc_arena_use(&engine->arena, offset, page_bytes);
	uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};
	uint8_t tag[UC_PAGE_TAG_BYTES] = {0};
	uint64_t begin = uc_port_ticks();
	uint64_t moved = 0;
	bool on_the_way = uc_port_aead_reads_once(&engine->aead);
	bool good = false;

	if (!page)
		return UC_ST_INTERNAL;
	if (!on_the_way)
		memcpy(page, ns_page, page_bytes);
	memcpy(tag, ns_page + page_bytes, sizeof(tag));
	engine->stats.moved_bytes += page_bytes + sizeof(tag);
	moved = uc_port_ticks();
	uc_store_u64(nonce, index);
	if (on_the_way)
		good = uc_port_aead_open_shared(&engine->aead, nonce, ns_page,
						page, page_bytes, tag);
	else
		good = uc_port_aead_open(&engine->aead, nonce, page, page_bytes,
					 tag);
	/* A model is obeyed and computed with, which takes the time it takes. */
	uc_secret_is_public(page, page_bytes);
	engine->stats.ticks_move += moved - begin;
	engine->stats.ticks_decrypt += uc_port_ticks() - moved;
	return good ? UC_ST_OK : UC_ST_NOT_AUTHENTIC;
}

/* Make room for a page behind the unconsumed bytes. */
static bool window_make_room(struct uc_engine *engine)
{
	const struct uc_program *program = &engine->program;
	struct uc_window *window = &engine->run.window;
	uint64_t rest = window->end - window->begin;
	uint64_t begin = uc_port_ticks();
	uint8_t *memory = NULL;

	if (uc_range_fits(window->end, program->page_bytes,
			  program->window_bytes))
		return true;
	if (window->begin == 0 ||
	    !uc_range_fits(rest, program->page_bytes, program->window_bytes))
		return false;
	memory = uc_arena_use(&engine->arena, program->window_offset,
			      window->end);
	if (!memory)
		return false;
	memmove(memory, memory + window->begin, (size_t)rest);
	window->begin = 0;
	window->end = rest;
	engine->stats.ticks_move += uc_port_ticks() - begin;
	return true;
}

enum uc_status uc_window_take(struct uc_engine *engine, const uint8_t *ns_page)
{
	const struct uc_engine_config *config = &engine->config;
	const struct uc_program *program = &engine->program;
	struct uc_run *run = &engine->run;
	uint64_t taken = (uint64_t)run->streamed_pages * config->page_bytes;
	uint64_t rest = program->stream_bytes - taken;
	uint64_t offset = 0;
	const uint8_t *padding = NULL;
	enum uc_status status = UC_ST_INTERNAL;

	if (!window_make_room(engine))
		return UC_ST_INTERNAL;
	offset = program->window_offset + run->window.end;
	status = uc_page_take(engine,
			      config->program_pages + config->resident_pages +
				      run->streamed_pages,
			      ns_page, offset);
	if (status != UC_ST_OK)
		return status;
	run->streamed_pages++;
	engine->stats.decrypted_pages++;
	engine->stats.decrypted_bytes += config->page_bytes;
	if (rest >= config->page_bytes) {
		run->window.end += config->page_bytes;
		return UC_ST_OK;
	}
	/* The last page: behind the stream there are zeros only. */
	run->window.end += rest;
	padding = uc_arena_use(&engine->arena, offset + rest,
			       config->page_bytes - rest);
	if (!padding)
		return UC_ST_INTERNAL;
	return uc_is_zero(padding, (size_t)(config->page_bytes - rest))
		       ? UC_ST_OK
		       : UC_ST_BAD_PROGRAM;
}

const uint8_t *uc_window_peek(struct uc_engine *engine, uint64_t len)
{
	const struct uc_window *window = &engine->run.window;

	if (len > window->end - window->begin)
		return NULL;
	return uc_arena_use(&engine->arena,
			    engine->program.window_offset + window->begin, len);
}

void uc_window_consume(struct uc_engine *engine, uint64_t len)
{
	struct uc_window *window = &engine->run.window;

	window->begin += len;
	/* An empty window needs no move to make room. */
	if (window->begin == window->end) {
		window->begin = 0;
		window->end = 0;
	}
}
