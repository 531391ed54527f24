/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs single operators for the parity tests: requests on standard input,
 * answers on standard output (tests/helpers/op_runner.py is the other end).
 * Every buffer ends UC_ARENA_SLACK_BYTES before a page that cannot be touched,
 * and what lies around a writable one is checked afterwards. Scratch and output
 * start as garbage, and panels move between steps, as in the arena.
 */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uc_kernels.h"
#include "uc_op.h"

#define REQUEST_MAGIC 0x5550434FU
#define GARBAGE 0xA5
#define MAX_BUFFERS 8
/* Space before a buffer that is checked as well. */
#define MARGIN 4096

/* Along which axes an operand is a view with gaps; bits of a request. */
enum gap { GAP_C = 1, GAP_H = 2, GAP_W = 4, GAP_N = 8 };

enum answer { REFUSED = 0, DONE = 1, BAD_WEIGHTS = 2, WROTE_OUTSIDE = 3 };
enum mode { CHECK_ONLY = 0, SEPARATE = 1, OVER_A = 2, OVER_B = 3 };

struct request {
	uint32_t magic;
	uint32_t mode;
	uint32_t has_a, has_b;
	uint32_t a[4], b[4], out[4];
	uint32_t code, flags;
	float act_min, act_max, alpha, beta;
	uint32_t window[10]; /* kernel_h ... pad_right */
	uint32_t groups;
	uint32_t permutation[4];
	uint32_t function;
	uint32_t panel_bytes; /* what CONSTANT asks for */
	uint32_t weights_format;
	uint32_t dtypes[3]; /* of a, b, out */
	float scales[3];
	int32_t zeros[3];
	uint32_t weights_bytes;
	uint32_t step_count;
	uint32_t repeat;
	uint32_t gaps, out_gaps;
};

struct answer_head {
	uint64_t answer;
	uint64_t panel_bytes, panel_count, scratch_bytes, out_bytes;
};

struct buffer {
	uint8_t *map;
	size_t map_len;
	uint8_t *data;
	size_t len;
};

static struct buffer buffers[MAX_BUFFERS];
static size_t buffer_count;

static void die(const char *why)
{
	fprintf(stderr, "runner: %s\n", why);
	exit(3);
}

static void read_all(void *to, size_t len)
{
	if (len && fread(to, len, 1, stdin) != 1)
		die("the request is cut short");
}

static struct buffer *make_buffer(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t need = MARGIN + len + UC_ARENA_SLACK_BYTES;
	struct buffer *buf = &buffers[buffer_count++];

	need = (need + page - 1) / page * page;
	if (buffer_count > MAX_BUFFERS)
		die("too many buffers");
	buf->map_len = need + page;
	buf->map = mmap(NULL, buf->map_len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf->map == MAP_FAILED ||
	    mprotect(buf->map + need, page, PROT_NONE))
		die("no memory");
	buf->data = buf->map + need - UC_ARENA_SLACK_BYTES - len;
	buf->len = len;
	memset(buf->map, GARBAGE, need);
	return buf;
}

static bool is_untouched(const struct buffer *buf)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const uint8_t *end = buf->map + buf->map_len - page;
	bool ok = true;

	for (const uint8_t *p = buf->map; p < buf->data; p++)
		ok = ok && *p == GARBAGE;
	for (const uint8_t *p = buf->data + buf->len; p < end; p++)
		ok = ok && *p == GARBAGE;
	return ok;
}

static void free_buffers(void)
{
	while (buffer_count) {
		buffer_count--;
		munmap(buffers[buffer_count].map,
		       buffers[buffer_count].map_len);
	}
}

/* With gaps, a box of a root that is larger on both sides. */
static struct uc_tensor tensor_of(const uint32_t dims[4], uint32_t gaps,
				  uint32_t dtype)
{
	struct uc_tensor t = {
		.n = dims[0],
		.h = dims[1],
		.w = dims[2],
		.c = dims[3],
		.dtype = (uint8_t)dtype,
	};

	t.bytes = (uint64_t)t.n * t.h * t.w * t.c * uc_dtype_bytes(t.dtype);
	t.parent = gaps ? 0 : UC_NO_TENSOR;
	uc_tensor_set_dense(&t);
	if (!gaps)
		return t;
	t.origin[0] = gaps & GAP_N ? 1 : 0;
	t.origin[1] = gaps & GAP_H ? 2 : 0;
	t.origin[2] = gaps & GAP_W ? 1 : 0;
	t.origin[3] = gaps & GAP_C ? 5 : 0;
	t.stride_w = t.c + 2 * t.origin[3];
	t.stride_h = (t.w + 2 * t.origin[2]) * t.stride_w;
	t.stride_n = (t.h + 2 * t.origin[1]) * t.stride_h;
	return t;
}

static size_t root_bytes(const struct uc_tensor *t)
{
	return uc_dtype_bytes(t->dtype) *
	       (size_t)((t->n + 2 * t->origin[0]) * t->stride_n);
}

static float *first_of(const struct uc_tensor *t, const struct buffer *root)
{
	size_t element = t->origin[0] * t->stride_n +
			 t->origin[1] * t->stride_h +
			 t->origin[2] * t->stride_w + t->origin[3];

	return (float *)(void *)(root->data +
				 uc_dtype_bytes(t->dtype) * element);
}

enum move { INTO_BOX, OUT_OF_BOX };

/* Between a tensor in its root and its elements without gaps. */
static void move_box(const struct uc_tensor *t, const struct buffer *root,
		     uint8_t *dense, enum move move)
{
	uint8_t *first = (uint8_t *)first_of(t, root);
	size_t size = uc_dtype_bytes(t->dtype);
	size_t run = size * t->c;

	for (uint64_t i = 0; i < (uint64_t)t->n * t->h * t->w; i++) {
		uint8_t *pixel = first + size * (i / t->w / t->h * t->stride_n +
						 i / t->w % t->h * t->stride_h +
						 i % t->w * t->stride_w);

		memcpy(move == INTO_BOX ? pixel : dense + i * run,
		       move == INTO_BOX ? dense + i * run : pixel, run);
	}
}

/* The root of an operand that is read, with what came in the request. */
static struct buffer *read_operand(const struct uc_tensor *t)
{
	struct buffer *root = make_buffer(root_bytes(t));
	uint8_t *dense = malloc(t->bytes + 1);

	if (!dense)
		die("no memory");
	read_all(dense, t->bytes);
	move_box(t, root, dense, INTO_BOX);
	free(dense);
	return root;
}

/* What lies in a root between the elements of a box is garbage still. */
static bool gaps_are_untouched(const struct uc_tensor *t,
			       const struct buffer *root)
{
	uint8_t *dense = malloc(t->bytes + 1);
	bool ok = true;

	if (!dense)
		die("no memory");
	memset(dense, GARBAGE, t->bytes);
	move_box(t, root, dense, INTO_BOX);
	for (size_t i = 0; i < root->len; i++)
		ok = ok && root->data[i] == GARBAGE;
	free(dense);
	return ok;
}

static struct uc_op op_of(const struct request *rq)
{
	struct uc_op op = {
		.code = (uint16_t)rq->code,
		.flags = (uint16_t)rq->flags,
		.act_min = rq->act_min,
		.act_max = rq->act_max,
		.alpha = rq->alpha,
		.beta = rq->beta,
		.kernel_h = (uint16_t)rq->window[0],
		.kernel_w = (uint16_t)rq->window[1],
		.stride_h = (uint16_t)rq->window[2],
		.stride_w = (uint16_t)rq->window[3],
		.dilation_h = (uint16_t)rq->window[4],
		.dilation_w = (uint16_t)rq->window[5],
		.pad_top = (uint16_t)rq->window[6],
		.pad_left = (uint16_t)rq->window[7],
		.pad_bottom = (uint16_t)rq->window[8],
		.pad_right = (uint16_t)rq->window[9],
		.groups = rq->groups,
		.function = (uint8_t)rq->function,
		.panel_bytes = rq->panel_bytes,
		.weights = UC_NO_TENSOR,
		.weights_format = (uint8_t)rq->weights_format,
		.a_quant = {rq->scales[0], rq->zeros[0]},
		.b_quant = {rq->scales[1], rq->zeros[1]},
		.out_quant = {rq->scales[2], rq->zeros[2]},
	};

	for (size_t i = 0; i < 4; i++)
		op.permutation[i] = (uint16_t)rq->permutation[i];
	return op;
}

/* The marks are for insn_count.c. */
static void run_marked(const struct uc_op_type *type,
		       const struct uc_op_step *step)
{
	(void)getppid();
	uc_op_run(type, step);
	(void)getppid();
}

static void run_steps(const struct uc_op_type *type, struct uc_op_step *step,
		      const uint8_t *weights, const uint32_t *steps,
		      uint32_t step_count, size_t panel_bytes)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < step_count; i++) {
		size_t len = steps[i] * panel_bytes;
		struct buffer *window = make_buffer(len);

		memcpy(window->data, weights + first * panel_bytes, len);
		step->panels = window->data;
		step->first_panel = first;
		step->panel_count = steps[i];
		run_marked(type, step);
		first += steps[i];
		buffer_count--;
		munmap(window->map, window->map_len);
	}
}

static void answer(const struct answer_head *head, const uint8_t *out)
{
	if (fwrite(head, sizeof(*head), 1, stdout) != 1 ||
	    (out && head->out_bytes &&
	     fwrite(out, head->out_bytes, 1, stdout) != 1) ||
	    fflush(stdout))
		die("cannot answer");
}

static void serve(const struct request *rq)
{
	struct uc_op op = op_of(rq);
	struct uc_tensor a = tensor_of(rq->a, rq->gaps, rq->dtypes[0]);
	struct uc_tensor b = tensor_of(rq->b, rq->gaps, rq->dtypes[1]);
	struct uc_tensor out = tensor_of(rq->out, rq->out_gaps, rq->dtypes[2]);
	uint8_t *answered = NULL;
	struct uc_op_shapes shapes = {
		.op = &op,
		.a = rq->has_a ? &a : NULL,
		.b = rq->has_b ? &b : NULL,
		.out = &out,
	};
	const struct uc_op_type *type = uc_op_find(op.code);
	struct answer_head head = {0};
	struct uc_op_step step = {.s = shapes};
	uint32_t *steps = calloc(rq->step_count + 1, sizeof(*steps));
	struct buffer *buf_a = NULL, *buf_b = NULL, *weights = NULL;
	struct buffer *out_buf = NULL, *scratch = NULL;

	if (!steps || !type)
		die("no such operator");
	if (!type->check(&shapes) ||
	    !uc_op_panels(type, &shapes, &head.panel_bytes,
			  &head.panel_count)) {
		head.answer = REFUSED;
		free(steps);
		answer(&head, NULL);
		return;
	}
	op.panel_bytes = (uint32_t)head.panel_bytes;
	op.panel_count = (uint32_t)head.panel_count;
	head.scratch_bytes = uc_op_scratch(type, &shapes);
	head.answer = DONE;
	if (rq->mode == CHECK_ONLY) {
		free(steps);
		answer(&head, NULL);
		return;
	}
	read_all(steps, rq->step_count * sizeof(*steps));
	buf_a = rq->has_a ? read_operand(&a) : make_buffer(0);
	buf_b = rq->has_b ? read_operand(&b) : make_buffer(0);
	weights = make_buffer(rq->weights_bytes);
	read_all(weights->data, weights->len);
	scratch = make_buffer((head.scratch_bytes + 63) & ~63ULL);
	out_buf = rq->mode == OVER_A   ? buf_a
		  : rq->mode == OVER_B ? buf_b
				       : make_buffer(root_bytes(&out));
	answered = malloc(out.bytes + 1);
	if (!answered)
		die("no memory");
	step.a = rq->has_a ? first_of(&a, buf_a) : NULL;
	step.b = rq->has_b ? first_of(&b, buf_b) : NULL;
	step.out = first_of(&out, out_buf);
	step.scratch = scratch->data;
	if (head.panel_bytes * head.panel_count != rq->weights_bytes) {
		head.answer = BAD_WEIGHTS;
	} else {
		for (uint32_t i = 0; i < rq->repeat; i++) {
			if (head.panel_count)
				run_steps(type, &step, weights->data, steps,
					  rq->step_count, head.panel_bytes);
			else
				run_marked(type, &step);
		}
		for (size_t i = 0; i < buffer_count; i++) {
			if (!is_untouched(&buffers[i]))
				head.answer = WROTE_OUTSIDE;
		}
	}
	move_box(&out, out_buf, answered, OUT_OF_BOX);
	if (rq->out_gaps && head.answer == DONE &&
	    !gaps_are_untouched(&out, out_buf))
		head.answer = WROTE_OUTSIDE;
	head.out_bytes = head.answer == DONE ? out.bytes : 0;
	answer(&head, answered);
	free(answered);
	free_buffers();
	free(steps);
}

int main(void)
{
	struct request rq = {0};

	fprintf(stderr, "kernels: %s\n", uc_kernels.name);
	while (fread(&rq, sizeof(rq), 1, stdin) == 1) {
		if (rq.magic != REQUEST_MAGIC)
			die("not a request");
		serve(&rq);
	}
	return 0;
}
