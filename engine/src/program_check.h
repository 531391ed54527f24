/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between program_check.c, which walks through a program, and program_life.c,
 * which knows what is written when and what may share bytes. Tensor records are
 * checked in ascending order; op records may say anything.
 */
#ifndef UC_PROGRAM_CHECK_H
#define UC_PROGRAM_CHECK_H

#include "program.h"

/* Is a view, whose own dimensions were checked, a box of its root? */
bool uc_life_view_is_inside(const struct uc_program *program, uint32_t index,
			    const struct uc_tensor *view);
/* Are first_op and last_op operators that use the tensor? */
bool uc_life_ends_are_uses(const struct uc_program *program, uint32_t index,
			   const struct uc_tensor *tensor, bool is_input,
			   bool is_output);

/* From here on all tensor records were checked. */

/* May the operator read, or write, this operand? *tensor is the operand. */
bool uc_life_is_readable(const struct uc_program *program, uint32_t op,
			 uint16_t index, struct uc_tensor *tensor);
bool uc_life_is_writable(const struct uc_program *program, uint32_t op,
			 uint16_t index, struct uc_tensor *tensor);
/* What is written under a root is disjoint, and an output is complete. */
bool uc_life_is_written_once(const struct uc_program *program, uint32_t index);
/* Does the tensor share bytes only with roots before it that it may? */
bool uc_life_shares_well(const struct uc_program *program, uint32_t index);

#endif /* UC_PROGRAM_CHECK_H */
