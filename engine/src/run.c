/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators one after the other, each in steps: its resident panels at once,
 * then as many streamed panels at a time as the plan says; all panels at once
 * when a tensor holds them. When the window does not hold the next step, or an
 * activation has to leave or to come back (spill.c), the run is left where it
 * stands, and goes on when the normal world has done its part.
 */
#include "engine.h"
#include "uc_op.h"

struct operands {
	struct uc_op op;
	struct uc_tensor a, b, out, weights;
};

static bool load_operands(struct uc_engine *engine, struct operands *operands,
			  struct uc_op_step *step)
{
	const struct uc_program *program = &engine->program;
	struct uc_arena *arena = &engine->arena;
	const struct uc_op *op = &operands->op;

	step->s.op = op;
	if (op->input_a != UC_NO_TENSOR) {
		uc_program_tensor(program, op->input_a, &operands->a);
		step->s.a = &operands->a;
		step->a = uc_arena_use(arena, operands->a.offset,
				       uc_tensor_span(&operands->a));
		if (!step->a)
			return false;
	}
	if (op->input_b != UC_NO_TENSOR) {
		uc_program_tensor(program, op->input_b, &operands->b);
		step->s.b = &operands->b;
		step->b = uc_arena_use(arena, operands->b.offset,
				       uc_tensor_span(&operands->b));
		if (!step->b)
			return false;
	}
	uc_program_tensor(program, op->output, &operands->out);
	step->s.out = &operands->out;
	step->out = uc_arena_use(arena, operands->out.offset,
				 uc_tensor_span(&operands->out));
	return step->out != NULL;
}

static bool load_scratch(struct uc_engine *engine,
			 const struct uc_op_type *type, struct uc_op_step *step)
{
	uint64_t bytes = uc_op_scratch(type, &step->s);

	if (bytes == 0)
		return true;
	step->scratch = uc_arena_use(&engine->arena,
				     engine->program.scratch_offset, bytes);
	return step->scratch != NULL;
}

/* Panels of the next step; false when they have not arrived. */
static bool load_panels(struct uc_engine *engine, struct operands *operands,
			struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	uint32_t panel = engine->run.panel;
	uint64_t resident_offset = 0;

	step->first_panel = panel;
	if (op->panel_count == 0)
		return true;
	if (op->weights != UC_NO_TENSOR) {
		uc_program_tensor(&engine->program, op->weights,
				  &operands->weights);
		step->panel_count = op->panel_count;
		step->panels =
			uc_arena_use(&engine->arena, operands->weights.offset,
				     operands->weights.bytes);
		return step->panels != NULL;
	}
	if (panel < op->resident_panels) {
		step->panel_count = op->resident_panels - panel;
		resident_offset = engine->program.resident_offset +
				  op->resident_offset +
				  (uint64_t)panel * op->panel_bytes;
		step->panels = uc_arena_use(&engine->arena, resident_offset,
					    (uint64_t)step->panel_count *
						    op->panel_bytes);
		return step->panels != NULL;
	}
	step->panel_count = op->panel_count - panel;
	if (step->panel_count > op->step_panels)
		step->panel_count = op->step_panels;
	engine->run.step_bytes = (uint64_t)step->panel_count * op->panel_bytes;
	step->panels = uc_window_peek(engine, engine->run.step_bytes);
	return step->panels != NULL;
}

/* One step of the operator under way; false when it must wait for a page. */
static bool run_step(struct uc_engine *engine, enum uc_status *status)
{
	struct operands operands = {0};
	struct uc_op_step step = {0};
	const struct uc_op_type *type = NULL;
	struct uc_run *run = &engine->run;
	uint64_t begin = 0;

	uc_program_op(&engine->program, run->op, &operands.op);
	if (operands.op.code == UC_OP_SPILL || operands.op.code == UC_OP_FILL) {
		*status = uc_spill_begin(engine, &operands.op);
		return false;
	}
	uc_arena_close(&engine->arena,
		       UC_ENGINE_CONTEXT_BYTES +
			       (size_t)engine->config.program_pages *
				       engine->config.page_bytes);
	if (!load_operands(engine, &operands, &step)) {
		*status = UC_ST_INTERNAL;
		return false;
	}
	if (!load_panels(engine, &operands, &step))
		return false;
	type = uc_op_find(operands.op.code);
	if (!type || !load_scratch(engine, type, &step)) {
		*status = UC_ST_INTERNAL;
		return false;
	}

	begin = uc_port_ticks();
	uc_op_run(type, &step);
	engine->stats.ticks_compute += uc_port_ticks() - begin;

	if (operands.op.weights == UC_NO_TENSOR &&
	    step.first_panel >= operands.op.resident_panels)
		uc_window_consume(engine, (uint64_t)step.panel_count *
						  operands.op.panel_bytes);
	run->step_bytes = 0;
	run->panel += step.panel_count;
	if (run->panel == operands.op.panel_count) {
		run->op++;
		run->panel = 0;
	}
	return true;
}

enum uc_status uc_run_on(struct uc_engine *engine)
{
	enum uc_status status = UC_ST_OK;

	engine->state = UC_STATE_RUNNING;
	/* Most pages do not complete a step: nothing is decoded for those. */
	if (engine->run.step_bytes != 0 &&
	    !uc_window_peek(engine, engine->run.step_bytes))
		return UC_ST_OK;
	while (engine->run.op < engine->program.op_count &&
	       run_step(engine, &status))
		;
	if (engine->run.op == engine->program.op_count) {
		engine->state = UC_STATE_DONE;
		engine->stats.inferences++;
	}
	return status;
}
