/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU's user-mode emulation: between two marks (getppid) it hashes
 * the address of every instruction that is executed and of every byte of memory
 * that is read or written, in order, and prints a line on standard error:
 * "trace HASH INSTRUCTIONS ACCESSES". Two runs that print the same took the same
 * branches and touched the same addresses. The declarations are QEMU's plugin
 * interface, see tests/engine/ops/insn_count.c.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define GETPPID_AARCH64 173
#define NO_REGISTERS 0
#define READS_AND_WRITES 3
#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void tb_trans_fn(plugin_id id, struct qemu_plugin_tb *tb);
typedef void insn_exec_fn(unsigned int vcpu, void *data);
typedef void mem_fn(unsigned int vcpu, uint32_t info, uint64_t address,
		    void *data);
typedef void syscall_fn(plugin_id id, unsigned int vcpu, int64_t number,
			uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, tb_trans_fn *fn);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, syscall_fn *fn);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *
qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    insn_exec_fn *fn, int registers,
					    void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, mem_fn *fn,
				      int registers, int which, void *data);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc,
			       char **argv);

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

static void on_syscall(plugin_id id, unsigned int vcpu, int64_t number,
		       uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	(void)id, (void)vcpu, (void)a1, (void)a2, (void)a3, (void)a4;
	(void)a5, (void)a6, (void)a7, (void)a8;
	if (number != GETPPID_AARCH64)
		return;
	fprintf(stderr,
		"trace %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n", hash,
		executed, accesses);
	hash = 0xCBF29CE484222325U;
	executed = 0;
	accesses = 0;
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
	return 0;
}
