/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between program.c, which knows the bytes, and program_check.c, which knows
 * the rules.
 */
#ifndef UC_PROGRAM_PRIVATE_H
#define UC_PROGRAM_PRIVATE_H

#include <stdbool.h>

#include "uc_program.h"

/* False when the header is malformed or its records do not fit bytes_len. */
bool uc_program_decode_header(struct uc_program *program, const uint8_t *bytes,
			      size_t bytes_len);

/* Only offset and bytes of a tensor. */
void uc_program_tensor_place(const struct uc_program *program, uint32_t index,
			     struct uc_tensor *tensor);

/* Unused places of the io table, and all bytes after the last record. */
bool uc_program_reserved_is_zero(const struct uc_program *program,
				 size_t bytes_len);
bool uc_program_tensor_reserved_is_zero(const struct uc_program *program,
					uint32_t index);
bool uc_program_op_reserved_is_zero(const struct uc_program *program,
				    uint32_t index);

#endif /* UC_PROGRAM_PRIVATE_H */
