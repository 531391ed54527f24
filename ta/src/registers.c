/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vector registers hold what was computed with last. When the TA is
 * interrupted OP-TEE stores them in memory of its own, and leaves them there.
 */
#include "registers.h"

#include <tee_internal_api.h>

void uc_ta_forget_registers(void)
{
	__asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,"
			 "14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,"
			 "27, 28, 29, 30, 31\n\t"
			 "movi v\\n\\().16b, #0\n\t"
			 ".endr"
			 :
			 :
			 : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8",
			   "v9", "v10", "v11", "v12", "v13", "v14", "v15",
			   "v16", "v17", "v18", "v19", "v20", "v21", "v22",
			   "v23", "v24", "v25", "v26", "v27", "v28", "v29",
			   "v30", "v31");
	/* A call that passes through the normal world: only on the way there does
	 * OP-TEE store them again (thread_lazy_restore_ns_vfp). Waiting for
	 * nothing would not. */
	(void)TEE_Wait(1);
}
