/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU's user-mode emulation: counts guest instructions between
 * the marks (getppid) that runner.c sets, a line each on standard error.
 */
#include "qemu_plugin.h"

static uint64_t executed;
static uint64_t marked;

static void on_execute(unsigned int vcpu, void *data)
{
	(void)vcpu;
	executed += (uintptr_t)data;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_cb(
		tb, on_execute, NO_REGISTERS,
		(void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void mark(uint64_t first_argument, uint64_t second_argument)
{
	(void)first_argument, (void)second_argument;
	fprintf(stderr, "instructions %" PRIu64 "\n", executed - marked);
	marked = executed;
}
