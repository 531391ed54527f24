/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's plugin interface, as much of it as the tests' plugins use; no package has
 * its header. What is here is the same in versions 1 (QEMU below 9) to 5.
 * PLUGIN_VERSION is given when compiling, since QEMU refuses numbers that it does
 * not know. A plugin defines mark(), which is called at each getppid of the guest:
 * the programs under test set marks so, and ask for nothing else by it.
 */
#ifndef QEMU_PLUGIN_H
#define QEMU_PLUGIN_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NO_REGISTERS 0
#define READS_AND_WRITES 3

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void tb_trans_fn(plugin_id id, struct qemu_plugin_tb *tb);
typedef void exec_fn(unsigned int vcpu, void *data);
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
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  exec_fn *fn, int registers,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    exec_fn *fn, int registers,
					    void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, mem_fn *fn,
				      int registers, int which, void *data);
unsigned int qemu_plugin_mem_size_shift(uint32_t info);

/* ---- what each plugin is: a look at what is translated, and marks ---- */

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb);
static void mark(uint64_t first_argument, uint64_t second_argument);

static void on_syscall(plugin_id id, unsigned int vcpu, int64_t number,
		       uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	const int64_t getppid_aarch64 = 173;

	(void)id, (void)vcpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7;
	(void)a8;
	if (number == getppid_aarch64)
		mark(a1, a2);
}

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc,
			       char **argv);

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
	return 0;
}

#endif /* QEMU_PLUGIN_H */
