/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU's user-mode emulation: between two marks (getppid) it hashes
 * the address of every instruction that is executed and of every byte of memory
 * that is read or written, in order, and prints a line on standard error:
 * "trace HASH INSTRUCTIONS ACCESSES". Two runs that print the same took the same
 * branches and touched the same addresses.
 */
#include "qemu_plugin.h"

static uint64_t hash;
static uint64_t executed;
static uint64_t accesses;

/* FNV-1a, in steps of 64 bits. */
static void mix(uint64_t value)
{
	hash = (hash ^ value) * 0x100000001B3U;
	hash ^= hash >> 29;
}

static void on_execute(unsigned int vcpu, void *data)
{
	(void)vcpu;
	executed++;
	mix((uintptr_t)data);
}

static void on_access(unsigned int vcpu, uint32_t info, uint64_t address,
		      void *data)
{
	(void)vcpu, (void)data;
	accesses++;
	mix(address);
	mix(info);
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_insn_exec_cb(
			insn, on_execute, NO_REGISTERS,
			(void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
		qemu_plugin_register_vcpu_mem_cb(insn, on_access, NO_REGISTERS,
						 READS_AND_WRITES, NULL);
	}
}

static void mark(uint64_t first_argument, uint64_t second_argument)
{
	(void)first_argument, (void)second_argument;
	fprintf(stderr, "trace %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n", hash,
		executed, accesses);
	hash = 0xCBF29CE484222325U;
	executed = 0;
	accesses = 0;
}
