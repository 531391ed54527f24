/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels come from an archive that no sanitizer instrumented. So the
 * registry is wrapped at link time: each operator runs between two looks at
 * the whole memory.
 */
#include "help_check.h"
#include "help_model.h"

#include <string.h>

char help_context[256] = "start";

static uint8_t *guarded;
static size_t guarded_len;
static uint8_t *before;

const struct uc_op_type *__real_uc_op_find(uint16_t code);
const struct uc_op_type *__wrap_uc_op_find(uint16_t code);

void help_guard(uint8_t *memory, size_t len)
{
	free(before);
	before = memory ? malloc(len) : NULL;
	guarded = memory;
	guarded_len = len;
}

__attribute__((no_sanitize("address"))) static void look(void)
{
	const volatile uint64_t *from = (const volatile uint64_t *)guarded;
	uint64_t *to = (uint64_t *)before;

	for (size_t i = 0; i < guarded_len / 8; i++)
		to[i] = from[i];
}

__attribute__((no_sanitize("address"))) static void
compare(const struct uc_op_step *step, uint64_t scratch_bytes)
{
	const volatile uint8_t *after = guarded;
	const uint8_t *out = (const uint8_t *)step->out;
	const uint8_t *scratch = step->scratch;

	for (size_t i = 0; i < guarded_len; i++) {
		const uint8_t *at = guarded + i;

		if (at == out && step->s.out->bytes != 0)
			i += step->s.out->bytes - 1;
		else if (at == scratch && scratch_bytes != 0)
			i += scratch_bytes - 1;
		else if (after[i] != before[i]) {
			fprintf(stderr,
				"operator %u wrote byte %zu of the memory\n",
				step->s.op->code, i);
			abort();
		}
	}
}

static void guarded_run(const struct uc_op_step *step)
{
	const struct uc_op_type *type = __real_uc_op_find(step->s.op->code);

	if (!guarded) {
		type->run(step);
		return;
	}
	look();
	type->run(step);
	compare(step, type->scratch(&step->s));
}

const struct uc_op_type *__wrap_uc_op_find(uint16_t code)
{
	static struct uc_op_type types[64];
	const struct uc_op_type *real = __real_uc_op_find(code);

	if (!real || code >= sizeof(types) / sizeof(types[0]))
		return real;
	types[code] = *real;
	types[code].run = guarded_run;
	return &types[code];
}
