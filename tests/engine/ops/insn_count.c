/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU's user-mode emulation: counts guest instructions between
 * the marks (getppid) that runner.c sets, a line each on standard error. The
 * declarations are QEMU's plugin interface, of which no header is packaged; what
 * is used of it is the same in versions 1 (QEMU below 9) to 5. PLUGIN_VERSION is
 * given when compiling, since QEMU refuses numbers that it does not know.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define GETPPID_AARCH64 173
#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef uint64_t plugin_id;
typedef void tb_trans_fn(plugin_id id, struct qemu_plugin_tb *tb);
typedef void tb_exec_fn(unsigned int vcpu, void *data);
typedef void syscall_fn(plugin_id id, unsigned int vcpu, int64_t number,
			uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, tb_trans_fn *fn);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, syscall_fn *fn);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  tb_exec_fn *fn, int registers,
					  void *data);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc,
			       char **argv);

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
	/* 0: the callback reads no registers. */
	qemu_plugin_register_vcpu_tb_exec_cb(
		tb, on_execute, 0,
		(void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void on_syscall(plugin_id id, unsigned int vcpu, int64_t number,
		       uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	(void)id, (void)vcpu, (void)a1, (void)a2, (void)a3, (void)a4;
	(void)a5, (void)a6, (void)a7, (void)a8;
	if (number != GETPPID_AARCH64)
		return;
	fprintf(stderr, "instructions %" PRIu64 "\n", executed - marked);
	marked = executed;
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
	return 0;
}
