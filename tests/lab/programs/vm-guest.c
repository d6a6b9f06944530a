// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * PID 1 of a virtual machine inside the lab's, to which a VMM has assigned two of the lab's
 * devices. edu copies within the GPU's BAR, peer to peer, before and after typical guest operations
 * on devices. Reports its results on the console in TAP, and powers off.
 *
 * It boots twice: the first boot ends with a reset of the machine. The GPU's memory survives the
 * reset, and has a mark after the first boot.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define PCI    "/sys/bus/pci/devices/"
#define KIB    1024UL
#define MIB    (1024 * KIB)
#define LEN    (4 * KIB) /* of a DMA: all of edu's buffer */
#define MARK   (3 * MIB) /* offset of the mark in the BAR */
#define BOOTED 0x70656572626f6f74ULL

/* edu. */
#define EDU_BUFFER	0x40000
#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	1
#define EDU_FROM_BUFFER 2

/* Configuration space. */
#define COMMAND	       4
#define COMMAND_MEMORY 2
#define COMMAND_MASTER 4
#define BAR2	       0x18

struct function {
	char name[16];
	volatile uint8_t *bar;
	uint64_t address; /* of the BAR, in this machine's memory */
	uint64_t size;
	unsigned int nr; /* of the BAR */
};

static struct function edu = { .nr = 0 }, gpu = { .nr = 2 };
static unsigned int number, failures;

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *fmt, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\n", strerror(errno));
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void result(bool good, const char *what)
{
	printf("%sok %u - %s\n", good ? "" : "not ", ++number, what);
	failures += !good;
}

/* ---- functions, through sysfs ---- */

static void path_of(const struct function *f, const char *attribute, char path[128])
{
	snprintf(path, 128, PCI "%s/%s", f->name, attribute);
}

static void write_attribute(const struct function *f, const char *attribute, const char *text)
{
	char path[128];
	int fd;

	path_of(f, attribute, path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		give_up("%s", path);
	close(fd);
}

static uint64_t read_hex(const char *name, const char *attribute)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), PCI "%s/%s", name, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		give_up("%s", path);
	close(fd);
	return strtoull(text, NULL, 16);
}

static void config(const struct function *f, unsigned int at, void *value, size_t length,
		   bool write_it)
{
	char path[128];
	ssize_t n;
	int fd;

	path_of(f, "config", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		give_up("%s", path);
	n = write_it ? pwrite(fd, value, length, at) : pread(fd, value, length, at);
	if (n != (ssize_t)length)
		give_up("%s at 0x%x", path, at);
	close(fd);
}

static void set_command(const struct function *f, bool memory)
{
	uint16_t command;

	config(f, COMMAND, &command, sizeof(command), false);
	command |= COMMAND_MASTER | COMMAND_MEMORY;
	if (!memory)
		command &= (uint16_t)~COMMAND_MEMORY;
	config(f, COMMAND, &command, sizeof(command), true);
}

static void find(struct function *f, uint64_t vendor, uint64_t device)
{
	DIR *dir = opendir(PCI);
	struct dirent *entry;

	if (!dir)
		give_up(PCI);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || read_hex(entry->d_name, "vendor") != vendor ||
		    read_hex(entry->d_name, "device") != device)
			continue;
		snprintf(f->name, sizeof(f->name), "%.15s", entry->d_name);
	}
	closedir(dir);
	if (!f->name[0])
		give_up("no function %04llx:%04llx was assigned", (unsigned long long)vendor,
			(unsigned long long)device);
}

static void map(struct function *f)
{
	char path[128], attribute[16], line[80];
	unsigned long long start = 0, end = 0;
	unsigned int i;
	FILE *lines;
	void *p;
	int fd;

	path_of(f, "resource", path);
	lines = fopen(path, "re");
	for (i = 0; lines && i <= f->nr && fgets(line, sizeof(line), lines); i++)
		if (i == f->nr)
			sscanf(line, "%llx %llx", &start, &end);
	if (!lines || !start)
		give_up("BAR %u of %s has no address", f->nr, f->name);
	fclose(lines);
	f->address = start;
	f->size = end + 1 - start;
	snprintf(attribute, sizeof(attribute), "resource%u", f->nr);
	path_of(f, attribute, path);
	fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	p = fd < 0 ? MAP_FAILED :
		     mmap(NULL, f->size > 4 * MIB ? 4 * MIB : f->size, PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		give_up("%s", path);
	close(fd);
	f->bar = p;
}

/* ---- DMA ---- */

static void edu_write(unsigned int at, uint64_t value)
{
	*(volatile uint64_t *)(volatile void *)(edu.bar + at) = value;
}

static void edu_dma(uint64_t src, uint64_t dst, uint64_t command)
{
	struct timespec t = { .tv_nsec = 10000000 };

	edu_write(EDU_SRC, src);
	edu_write(EDU_DST, dst);
	edu_write(EDU_COUNT, LEN);
	edu_write(EDU_COMMAND, EDU_START | command);
	while (*(volatile uint64_t *)(volatile void *)(edu.bar + EDU_COMMAND) & EDU_START)
		nanosleep(&t, NULL);
}

/* Copy from the BAR into edu, and from there to the BAR at @address + 1 MiB. */
static bool peer_to_peer(uint64_t address)
{
	static uint64_t seed = 0x9e3779b97f4a7c15;
	volatile uint64_t *from = (volatile void *)gpu.bar, *to = (volatile void *)(gpu.bar + MIB);
	unsigned int i, same = 0;

	for (i = 0; i < LEN / 8; i++) {
		seed = seed * 6364136223846793005 + 1442695040888963407;
		from[i] = seed;
		to[i] = ~seed;
	}
	edu_dma(address, EDU_BUFFER, 0);
	edu_dma(EDU_BUFFER, address + MIB, EDU_FROM_BUFFER);
	for (i = 0; i < LEN / 8; i++)
		same += to[i] == from[i];
	if (same != LEN / 8)
		printf("# %u of %lu words arrived\n", same, LEN / 8);
	return same == LEN / 8;
}

/* ---- operations of guests ---- */

static void decoding(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		set_command(&gpu, false);
		set_command(&gpu, true);
	}
	result(peer_to_peer(gpu.address), "P2P after memory decoding was off and on, three times");
}

/*
 * Find out a BAR's size like firmware and kernels: write all ones, with decoding off or, as some
 * do, on.
 */
static void sizing(bool on)
{
	uint32_t old, size, ones = 0xffffffff;

	set_command(&gpu, on);
	config(&gpu, BAR2, &old, sizeof(old), false);
	config(&gpu, BAR2, &ones, sizeof(ones), true);
	config(&gpu, BAR2, &size, sizeof(size), false);
	config(&gpu, BAR2, &old, sizeof(old), true);
	set_command(&gpu, true);
	result((~(size & ~15U) + 1) == gpu.size, "the BAR says its size");
	result(peer_to_peer(gpu.address),
	       on ? "P2P after its size was asked for with decoding on" :
		    "P2P after its size was asked for");
}

static void reset(struct function *f, const char *what)
{
	write_attribute(f, "reset", "1");
	set_command(f, true);
	result(peer_to_peer(gpu.address), what);
}

int main(void)
{
	volatile uint64_t *mark;
	uint64_t booted;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (mount("sysfs", "/sys", "sysfs", 0, NULL))
		give_up("sysfs");
	find(&edu, 0x1234, 0x11e8);
	find(&gpu, 0x1af4, 0x1110);
	write_attribute(&edu, "enable", "1");
	write_attribute(&gpu, "enable", "1");
	set_command(&edu, true);
	set_command(&gpu, true);
	map(&edu);
	map(&gpu);
	mark = (volatile void *)(gpu.bar + MARK);
	booted = *mark == BOOTED;
	if (!booted) {
		result(peer_to_peer(gpu.address), "P2P");
		decoding();
		sizing(false);
		sizing(true);
		reset(&gpu, "P2P after a reset of the exporter");
		reset(&edu, "P2P after a reset of the importer");
		*mark = BOOTED;
		printf("# the machine is reset\n");
		fflush(stdout);
		sync();
		reboot(RB_AUTOBOOT);
		give_up("reboot");
	}
	number = 8;
	result(peer_to_peer(gpu.address), "P2P after a reset of the machine");
	*mark = 0;
	printf("1..%u\n", number);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	give_up("power off");
}
