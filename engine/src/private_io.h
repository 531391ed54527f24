/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed inputs and outputs (spec/private-io.md), between shared memory and the
 * engine. Pages pass through a staging area of UC_PRIVATE_PAGE_BYTES in secure
 * memory: shared memory is read once and never sees plaintext.
 */
#ifndef UC_PRIVATE_IO_PRIVATE_H
#define UC_PRIVATE_IO_PRIVATE_H

#include "uc_service.h"

/*
 * INPUT, or OUTPUT, of an inference in which these are sealed: whole pages of
 * one of them, from first_element on. Wipes the staging area; a failure ends
 * the inference.
 */
enum uc_status uc_private_move(const struct uc_private_io *io,
			       struct uc_engine *engine, bool is_output,
			       uint32_t index, uint32_t first_element,
			       uint8_t *ns_pages, size_t ns_len,
			       uint8_t *staging);

#endif /* UC_PRIVATE_IO_PRIVATE_H */
