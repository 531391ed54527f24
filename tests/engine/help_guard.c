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

/* Nothing in [from, to) has changed. By words, then by bytes, because this
 * takes most of a fuzzer's time. */
__attribute__((no_sanitize("address"))) static void
same(const struct uc_op_step *step, size_t from, size_t to)
{
	const volatile uint8_t *after = guarded;

	for (size_t i = from; i < to; i++) {
		while (i % 8 == 0 && to - i >= 8 &&
		       *(const volatile uint64_t *)(after + i) ==
			       *(const uint64_t *)(before + i))
			i += 8;
		if (i < to && after[i] != before[i]) {
			fprintf(stderr,
				"operator %u wrote byte %zu of the memory\n",
				step->s.op->code, i);
			abort();
		}
	}
}

/* The gaps of an output that is a view. */
static void compare_gaps(const struct uc_op_step *step)
{
	const struct uc_tensor *t = step->s.out;
	size_t size = uc_dtype_bytes(t->dtype);
	size_t at = (size_t)((const uint8_t *)step->out - guarded);
	size_t end = at;

	for (uint64_t i = 0; i < (uint64_t)t->n * t->h * t->w; i++) {
		uint64_t w = i % t->w;
		uint64_t h = i / t->w % t->h;
		uint64_t n = i / t->w / t->h;
		size_t pixel = at + size * (n * t->stride_n + h * t->stride_h +
					    w * t->stride_w);

		if (end < pixel && i != 0)
			same(step, end, pixel);
		end = pixel + size * t->c;
	}
}

/* Everything but the output and the scratch, which do not meet. */
static void compare(const struct uc_op_step *step, uint64_t scratch_bytes)
{
	size_t out = (size_t)((const uint8_t *)step->out - guarded);
	size_t out_end = out + uc_tensor_span(step->s.out);
	size_t scratch = guarded_len;
	size_t scratch_end = guarded_len;

	if (scratch_bytes != 0) {
		scratch = (size_t)(step->scratch - guarded);
		scratch_end = scratch + scratch_bytes;
	}
	compare_gaps(step);
	if (out < scratch) {
		same(step, 0, out);
		same(step, out_end, scratch);
		same(step, scratch_end, guarded_len);
	} else {
		same(step, 0, scratch);
		same(step, scratch_end, out);
		same(step, out_end, guarded_len);
	}
}

static void apart(const struct uc_op_step *step, const void *one,
		  uint64_t one_bytes, const void *other, uint64_t other_bytes)
{
	const uint8_t *a = one;
	const uint8_t *b = other;

	if (a && b && a < b + other_bytes && b < a + one_bytes) {
		fprintf(stderr, "operands of operator %u meet\n",
			step->s.op->code);
		abort();
	}
}

static bool same_root(const struct uc_tensor *one,
		      const struct uc_tensor *other)
{
	return one && one->parent != UC_NO_TENSOR &&
	       one->parent == other->parent;
}

/* What an operator writes is not what it still reads. */
static void operands_are_apart(const struct uc_op_step *step,
			       const struct uc_op_type *type)
{
	uint64_t a = step->s.a ? uc_tensor_span(step->s.a) : 0;
	uint64_t b = step->s.b ? uc_tensor_span(step->s.b) : 0;
	uint64_t out = uc_tensor_span(step->s.out);
	uint64_t scratch = type->scratch(&step->s);
	uint64_t panels = (uint64_t)step->panel_count * step->s.op->panel_bytes;

	apart(step, step->scratch, scratch, step->a, a);
	apart(step, step->scratch, scratch, step->b, b);
	apart(step, step->scratch, scratch, step->out, out);
	apart(step, step->scratch, scratch, step->panels, panels);
	apart(step, step->panels, panels, step->a, a);
	apart(step, step->panels, panels, step->b, b);
	apart(step, step->panels, panels, step->out, out);
	/* Boxes of one root may interleave; compare_gaps looks at those. */
	if (!same_root(step->s.a, step->s.out) &&
	    (!type->elementwise || step->a != step->out))
		apart(step, step->a, a, step->out, out);
	if (!same_root(step->s.b, step->s.out) &&
	    (!type->elementwise || step->b != step->out))
		apart(step, step->b, b, step->out, out);
}

static void guarded_run(const struct uc_op_step *step)
{
	const struct uc_op_type *type = __real_uc_op_find(step->s.op->code);

	if (!guarded) {
		type->run(step);
		return;
	}
	operands_are_apart(step, type);
	look();
	type->run(step);
	compare(step, type->scratch(&step->s));
}

const struct uc_op_type *__wrap_uc_op_find(uint16_t code)
{
	static struct uc_op_type types[128];
	const struct uc_op_type *real = __real_uc_op_find(code);

	if (!real || code >= sizeof(types) / sizeof(types[0]))
		return real;
	types[code] = *real;
	types[code].run = guarded_run;
	return &types[code];
}
