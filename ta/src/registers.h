/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_TA_REGISTERS_H
#define UC_TA_REGISTERS_H

/* Clear the vector registers, and OP-TEE's copy of them. */
void uc_ta_forget_registers(void);

#endif /* UC_TA_REGISTERS_H */
