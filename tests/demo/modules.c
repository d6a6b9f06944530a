// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The second part of the demonstration: a process with only a descriptor uses the BAR, until the
 * owner revokes the buffer.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/peerbar.h>

#include "demo.h"
#include "testmod.h"

#define OFFSET (32 * MIB) /* of the exported range in the BAR */
#define SIZE   (2 * MIB)
#define LEN    3000

/* ---- the second process ---- */

struct second {
	pid_t pid;
	int ask, answer;
};

static volatile sig_atomic_t in_access;

static void on_bus_error(int sig)
{
	static const char words[] = "        second process                 SIGBUS\n";

	(void)sig;
	if (in_access && write(STDOUT_FILENO, words, sizeof(words) - 1) > 0)
		_exit(42);
	_exit(1);
}

/* Write a pattern on each request. The process has the descriptor, another UID, and no device. */
static void second_main(int fd, int ask, int answer)
{
	struct sigaction action = { .sa_handler = on_bus_error };
	struct pb_buffer *buffer;
	uint8_t pattern[LEN];
	uint32_t seed;
	void *p;
	int i;

	for (i = 3; i < 200; i++)
		if (i != fd && i != ask && i != answer)
			close(i);
	if (setgid(65534) || setuid(65534))
		_exit(1);
	must(pb_buffer_from_fd(fd, &buffer, &err));
	must(pb_buffer_mmap(buffer, 0, SIZE, true, &p, &err));
	sigaction(SIGBUS, &action, NULL);
	while (read(ask, &seed, sizeof(seed)) == sizeof(seed)) {
		lab_pattern(pattern, LEN, seed);
		in_access = 1;
		lab_copy(p, pattern, LEN);
		in_access = 0;
		if (write(answer, "w", 1) != 1)
			break;
	}
	_exit(0);
}

static void second_start(struct second *s, int fd)
{
	int ask[2], answer[2];

	if (pipe(ask) || pipe(answer))
		lab_die("cannot make a pipe");
	s->pid = fork();
	if (!s->pid)
		second_main(fd, ask[0], answer[1]);
	close(ask[0]);
	close(answer[1]);
	s->ask = ask[1];
	s->answer = answer[0];
}

/* Request a write. Return false if the process has ended. */
static bool second_writes(struct second *s, uint32_t seed)
{
	char c;

	return write(s->ask, &seed, sizeof(seed)) == sizeof(seed) && read(s->answer, &c, 1) == 1;
}

/* ---- peerbar watch, in the background ---- */

static FILE *watch_start(pid_t *pid)
{
	int out[2], said[2];
	char c;
	FILE *f;

	if (pipe(out) || pipe(said))
		lab_die("cannot make a pipe");
	*pid = fork();
	if (!*pid) {
		dup2(out[1], STDOUT_FILENO);
		dup2(said[1], STDERR_FILENO);
		execlp("peerbar", "peerbar", "watch", "--count", "2", "--timeout", "60",
		       (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	close(said[1]);
	/* It prints a message when it listens. */
	if (read(said[0], &c, 1) != 1)
		lab_die("'peerbar watch' does not start");
	close(said[0]);
	f = fdopen(out[0], "r");
	if (!f)
		lab_die("no memory");
	return f;
}

static bool watch_says(FILE *f, const char *word)
{
	char line[300];

	if (!fgets(line, sizeof(line), f))
		return false;
	printf("        peerbar watch                  %s", line);
	return strstr(line, word);
}

void demo_modules(void)
{
	static const char *const cache[] = { "?", "NC", "WC", "WB" };
	const enum pb_memattr wish[] = { PB_WC, PB_NC };
	struct pb_range range = { OFFSET, SIZE };
	struct pb_device *gpu, *edu_dev;
	struct pb_buffer *buffer, *dynamic;
	struct pb_mapping *mapping, *none = NULL;
	struct pb_buffer_info info;
	struct peerbar_test_pte pte;
	uint8_t pattern[LEN], before[LEN], after[LEN];
	struct lab_memory memory;
	enum pb_memattr chosen;
	struct second second;
	struct pb_iommu *iommu;
	struct pb_ioas *ioas;
	unsigned int faults;
	int exporter, importer, fd, status, ret;
	pid_t watcher;
	struct edu edu;
	FILE *watch;
	void *p;

	step("The GPU on peerbar-vfio-pci");
	if (system("modprobe -a peerbar-vfio-pci peerbar-iommufd peerbar-test-exporter peerbar-test-importer"))
		lab_die("the modules cannot be loaded");
	setenv("LAB_DRIVER", "peerbar-vfio-pci", 1);
	must(pb_iommu_open(&iommu, &err));
	gpu = lab_open(iommu, LAB_GPU);
	edu_dev = lab_open(iommu, LAB_EDU);
	must(pb_ioas_create(iommu, &ioas, &err));
	must(pb_ioas_attach(ioas, edu_dev, &err));
	must(pb_device_set_decoding(gpu, true, &err));
	watch = watch_start(&watcher);
	must(pb_buffer_export(gpu, GPU_BAR, &range, 1, 0, &buffer, &err));
	must(pb_buffer_query(buffer, &info, &err));
	printf("        fd %d, exporter %s, model %s (%s), state %s\n", pb_buffer_fd(buffer),
	       info.exporter, pb_model_name(info.model), pb_model_basis_name(info.basis),
	       pb_buffer_state_name(info.state));
	check(watch_says(watch, "created"), "'peerbar watch' saw it being made");

	step("A second process, another user, is given the descriptor and nothing else, and writes to the BAR");
	second_start(&second, pb_buffer_fd(buffer));
	lab_pattern(pattern, LEN, 7);
	check(second_writes(&second, 7), "it can map and write");
	lab_host_read(OFFSET, after, LEN);
	show("the second process's pattern", pattern);
	show("the host's backing file", after);
	check(!memcmp(after, pattern, LEN), "the host sees its bytes in the BAR");

	step("Write-combining, where it can be had: the first of WC, NC that is supported");
	must(pb_buffer_set_memattr(gpu, buffer, wish, 2, &chosen, &err));
	must(pb_buffer_mmap(buffer, 0, SIZE, true, &p, &err));
	*(volatile uint8_t *)p = pattern[0];
	importer = test_importer_open();
	ret = test_pte(importer, 0, p, &pte);
	printf("        chosen %s; the page table's entry of a new mapping is %s\n",
	       pb_memattr_name(chosen), ret ? "not there" : cache[pte.cache]);
	check(chosen == PB_WC && !ret && pte.cache == PEERBAR_TEST_CACHE_WC,
	      "the new mapping is write-combining");

	step("DMA into it, beside the two processes");
	must(pb_map_buffer(ioas, buffer, 0, 0, PB_MAP_READ | PB_MAP_WRITE, 0, &mapping, &err));
	edu_start(&edu, edu_dev);
	lab_memory(ioas, 0, PAGE, &memory);
	lab_pattern(memory.p, LEN, 8);
	edu_copy(&edu, memory.iova, pb_mapping_iova(mapping), LEN);
	check(lab_host_sees(OFFSET, memory.p, LEN),
	      "iommufd, unmodified, maps our buffer: the DMA arrives");

	step("The owner revokes the buffer permanently");
	lab_host_read(OFFSET, before, LEN);
	must(pb_buffer_revoke(gpu, buffer, &err));
	check(watch_says(watch, "revoked"), "'peerbar watch' saw it");
	must(pb_buffer_query(buffer, &info, &err));
	printf("        state %s\n", pb_buffer_state_name(info.state));
	check(!second_writes(&second, 9), "the second process cannot write any more");
	if (waitpid(second.pid, &status, 0) != second.pid)
		lab_die("the second process is lost");
	check(WIFEXITED(status) && WEXITSTATUS(status) == 42, "it got SIGBUS");
	lab_pattern(memory.p, LEN, 10);
	edu_load(&edu, memory.iova, LEN);
	faults = lab_faults();
	edu_store(&edu, pb_mapping_iova(mapping), LEN);
	faults = lab_faults() - faults;
	lab_expect_faults(faults, "demo: DMA into a buffer that was revoked permanently");
	printf("        the same DMA: %u faults\n", faults);
	lab_host_read(OFFSET, after, LEN);
	check(faults > 0 && !memcmp(before, after, LEN),
	      "DMA faults in the IOMMU, and no byte of the BAR changed");
	must(pb_device_set_decoding(gpu, false, &err));
	must(pb_device_set_decoding(gpu, true, &err));
	must(pb_unmap(mapping, &err));
	ret = pb_map_buffer(ioas, buffer, 0, 0, PB_MAP_READ, 0, &none, &err);
	printf("        mapping it again: %s\n", ret ? err.text : "worked");
	check(ret == -19, "nothing brings it back (ENODEV)");

	step("A buffer that moves, in system memory");
	exporter = test_exporter_open();
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, 16 * PAGE);
	if (fd < 0)
		lab_die("the test exporter does not work");
	must(pb_buffer_from_fd(fd, &dynamic, &err));
	must(pb_buffer_query(dynamic, &info, &err));
	printf("        model %s (%s)\n", pb_model_name(info.model),
	       pb_model_basis_name(info.basis));
	ret = pb_map_buffer(ioas, dynamic, 0, 0, PB_MAP_READ, 0, &none, &err);
	printf("        mapping it for DMA: %s\n", ret ? err.text : "worked");
	check(info.model == PB_DYNAMIC && ret == -95 && strstr(err.text, "system memory"),
	      "it is refused, with its reason (EOPNOTSUPP)");

	pb_buffer_close(dynamic);
	close(fd);
	close(exporter);
	close(importer);
	munmap(p, SIZE);
	close(second.ask);
	close(second.answer);
	fclose(watch);
	waitpid(watcher, &status, 0);
	check(WIFEXITED(status) && !WEXITSTATUS(status),
	      "'peerbar watch --count 2' ended by itself");
	edu_stop(&edu);
	lab_memory_free(&memory);
	pb_ioas_destroy(ioas);
	pb_buffer_close(buffer);
	pb_device_close(edu_dev);
	pb_device_close(gpu);
	pb_iommu_close(iommu);
}
