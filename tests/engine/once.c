/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU's user-mode emulation: between two marks (getppid) it counts
 * how often each byte of the memory is accessed that the first mark names in its
 * first two arguments, and prints a line on standard error: "accesses LEAST MOST".
 * The declarations are QEMU's plugin interface, see tests/engine/ops/insn_count.c.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define GETPPID_AARCH64 173
#define NO_REGISTERS 0
#define READS_AND_WRITES 3
#define MAX_BYTES (1U << 20)
#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void tb_trans_fn(plugin_id id, struct qemu_plugin_tb *tb);
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
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, mem_fn *fn,
				      int registers, int which, void *data);
unsigned int qemu_plugin_mem_size_shift(uint32_t info);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc,
			       char **argv);

static uint64_t begin;
static uint64_t len;
static uint16_t times[MAX_BYTES];

static void on_access(unsigned int vcpu, uint32_t info, uint64_t address,
		      void *data)
{
	uint64_t size = 1U << qemu_plugin_mem_size_shift(info);

	(void)vcpu, (void)data;
	for (uint64_t i = 0; i < size; i++) {
		if (address + i - begin < len)
			times[address + i - begin]++;
	}
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i),
						 on_access, NO_REGISTERS,
						 READS_AND_WRITES, NULL);
}

static void print(void)
{
	uint16_t least = UINT16_MAX;
	uint16_t most = 0;

	for (uint64_t i = 0; i < len; i++) {
		least = times[i] < least ? times[i] : least;
		most = times[i] > most ? times[i] : most;
	}
	fprintf(stderr, "accesses %u %u\n", least, most);
}

static void on_syscall(plugin_id id, unsigned int vcpu, int64_t number,
		       uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	(void)id, (void)vcpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7;
	(void)a8;
	if (number != GETPPID_AARCH64)
		return;
	if (a2 == 0)
		print();
	begin = a1;
	len = a2 <= MAX_BYTES ? a2 : 0;
	memset(times, 0, sizeof(times));
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
	return 0;
}
