// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The common fixture, see fixture.h. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "raw-ioctl.h"

struct fixture fixture;

static unsigned int fds_before;
static unsigned int faults_before;
static unsigned int announced;
static uint32_t pattern_seed = 100;

int shell(const char *format, ...)
{
	char command[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return system(command);
}

unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", "..", and the directory itself */
}

void write_file(const char *path, const char *word)
{
	int ret = raw_write_file(path, word);

	ck_assert_msg(!ret, "cannot write '%s' to %s: %s", word, path, strerror(-ret));
}

int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

bool log_has(int fd, const char *words)
{
	char line[2048];
	bool found = false;
	ssize_t n;

	/* EPIPE: a message was overwritten before it was read. */
	while ((n = read(fd, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n < 0 ? 0 : n] = 0;
		found = found || strstr(line, words);
	}
	close(fd);
	return found;
}

void context_up(void)
{
	fds_before = count_fds();
	faults_before = lab_faults();
	ok(pb_iommu_open(&fixture.iommu, &err));
}

void context_down(void)
{
	pb_iommu_close(fixture.iommu);
	ck_assert_msg(count_fds() == fds_before,
		      "%u descriptors were open before the test, %u are now", fds_before,
		      count_fds());
	ck_assert_msg(lab_faults() - faults_before == announced,
		      "%u IOMMU faults happened, %u were expected", lab_faults() - faults_before,
		      announced);
}

static void edu_up(void)
{
	fixture.edu_device = lab_open(fixture.iommu, LAB_EDU);
	ok(pb_ioas_create(fixture.iommu, &fixture.ioas, &err));
	ok(pb_ioas_attach(fixture.ioas, fixture.edu_device, &err));
	edu_start(&fixture.edu, fixture.edu_device);
	lab_memory(fixture.ioas, MEMORY_IOVA, 4 * PAGE, &fixture.memory);
}

void fixture_up(void)
{
	context_up();
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	edu_up();
}

void fixture_up_without_gpu(void)
{
	context_up();
	fixture.gpu = NULL;
	edu_up();
}

void fixture_down(void)
{
	/* A test may have closed an object and set it to NULL. */
	edu_stop(&fixture.edu);
	if (fixture.ioas)
		lab_memory_free(&fixture.memory);
	pb_ioas_destroy(fixture.ioas);
	pb_device_close(fixture.edu_device);
	pb_device_close(fixture.gpu);
	context_down();
}

uint8_t *bar_mmap(uint64_t offset, size_t length)
{
	void *p;

	ok(pb_device_mmap(fixture.gpu, GPU_BAR, offset, length, true, &p, &err));
	return p;
}

bool decodes(struct pb_device *device)
{
	bool on;

	ok(pb_device_decoding(device, &on, &err));
	return on;
}

struct pb_buffer *export_ranges(const struct pb_range *ranges, unsigned int n)
{
	struct pb_buffer *buffer;

	ok(pb_buffer_export(fixture.gpu, GPU_BAR, ranges, n, 0, &buffer, &err));
	return buffer;
}

struct pb_buffer *export_one(uint64_t offset, uint64_t length)
{
	struct pb_range range = { offset, length };

	return export_ranges(&range, 1);
}

struct pb_mapping *map_rw(struct pb_buffer *buffer)
{
	struct pb_mapping *mapping;

	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &mapping, &err));
	return mapping;
}

void dma_lands(uint64_t iova, uint64_t offset)
{
	unsigned int faults = lab_faults();

	lab_pattern(fixture.memory.p, LEN, ++pattern_seed);
	edu_copy(&fixture.edu, fixture.memory.iova, iova, LEN);
	ck_assert_msg(lab_host_sees(offset, fixture.memory.p, LEN),
		      "DMA to IOVA 0x%llx did not arrive in the BAR at 0x%llx",
		      (unsigned long long)iova, (unsigned long long)offset);
	ck_assert_uint_eq(lab_faults(), faults);
}

void faulted(unsigned int before, const char *bdf, uint64_t iova, uint64_t length, bool write,
	     const char *why)
{
	unsigned int n = lab_faults() - before;
	unsigned int bus, dev, fn;
	struct lab_fault fault;

	ck_assert_msg(n > 0, "%s: the IOMMU reported no fault", why);
	lab_last_fault(&fault);
	ck_assert_int_eq(sscanf(bdf, "%*x:%x:%x.%x", &bus, &dev, &fn), 3);
	ck_assert_msg(fault.sid == (bus << 8 | dev << 3 | fn),
		      "%s: the fault is another device's: %s", why, fault.line);
	ck_assert_msg(fault.address >= iova && fault.address < iova + length,
		      "%s: the fault is at another address: 0x%" PRIx64 ", %s", why, fault.address,
		      fault.line);
	ck_assert_msg(fault.access == '?' || fault.access == (write ? 'w' : 'r'), "%s: %s", why,
		      fault.line);
	announced += n;
	lab_expect_faults(n, why);
}

unsigned int faults_since(unsigned int before, const char *why)
{
	unsigned int n = lab_faults() - before;

	announced += n;
	if (n)
		lab_expect_faults(n, why);
	return n;
}

void dma_faults(uint64_t iova, uint64_t offset)
{
	uint8_t before[LEN];
	unsigned int faults;

	lab_host_read(offset, before, LEN);
	lab_pattern(fixture.memory.p, LEN, ++pattern_seed);
	edu_load(&fixture.edu, fixture.memory.iova, LEN);
	faults = lab_faults();
	edu_store(&fixture.edu, iova, LEN);
	faulted(faults, pb_device_bdf(fixture.edu_device), iova, LEN, true, "DMA write");
	ck_assert_msg(lab_host_sees(offset, before, LEN),
		      "bytes of the BAR changed although the DMA faulted");
}

void dma_read_faults(uint64_t iova, uint64_t offset)
{
	uint64_t secret[LEN / 8], *got = (uint64_t *)((uint8_t *)fixture.memory.p + PAGE);
	unsigned int faults, i, words = 0;

	lab_host_read(offset, secret, LEN);
	/* Fill edu's buffer with other bytes, which the faulting read may replace. */
	lab_pattern(fixture.memory.p, LEN, ++pattern_seed);
	edu_load(&fixture.edu, fixture.memory.iova, LEN);
	faults = lab_faults();
	edu_load(&fixture.edu, iova, LEN);
	faulted(faults, pb_device_bdf(fixture.edu_device), iova, LEN, false, "DMA read");
	edu_store(&fixture.edu, fixture.memory.iova + PAGE, LEN);
	for (i = 0; i < LEN / 8; i++) {
		ck_assert_msg(!secret[i] || got[i] != secret[i],
			      "DMA read bytes of the BAR at 0x%llx although it faulted",
			      (unsigned long long)offset + 8 * i);
		words += !!secret[i];
	}
	ck_assert_msg(words, "the BAR has only zeros at 0x%llx", (unsigned long long)offset);
}

void dma_read_from_nowhere(uint64_t iova)
{
	unsigned int faults = lab_faults();

	edu_load(&fixture.edu, iova, LEN);
	faulted(faults, pb_device_bdf(fixture.edu_device), iova, LEN, false,
		"DMA of a detached device");
}

void stranger_maps(void *p, uint64_t length, uint64_t iova)
{
	struct iommu_ioas_map map = { .size = sizeof(map),
				      .ioas_id = pb_ioas_id(fixture.ioas),
				      .user_va = (uintptr_t)p,
				      .length = length,
				      .iova = iova,
				      .flags = IOMMU_IOAS_MAP_FIXED_IOVA |
					      IOMMU_IOAS_MAP_READABLE };

	ck_assert_int_eq(ioctl(pb_iommu_fd(fixture.iommu), IOMMU_IOAS_MAP, &map), 0);
}

void stranger_unmaps(uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = { .size = sizeof(unmap),
					  .ioas_id = pb_ioas_id(fixture.ioas),
					  .iova = iova,
					  .length = length };

	ck_assert_int_eq(ioctl(pb_iommu_fd(fixture.iommu), IOMMU_IOAS_UNMAP, &unmap), 0);
}

int socketpair_cloexec(int sockets[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets);
}

void send_fd(int sock, int fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != 1)
		lab_die("cannot send a descriptor");
}

int receive_fd(int sock)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		lab_die("no descriptor was sent");
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		lab_die("no descriptor was sent");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

void open_own_gpu(void)
{
	struct pb_iommu *own;

	if (pb_iommu_open(&own, NULL))
		_exit(1);
	fixture.gpu = lab_open(own, LAB_GPU);
	if (pb_device_set_decoding(fixture.gpu, true, NULL))
		_exit(2);
}

int count_attachments(struct pb_buffer *buffer)
{
	struct pb_buffer_info info;
	char line[512], ino[32];
	bool ours = false;
	int n = -1;
	FILE *f;

	ok(pb_buffer_query(buffer, &info, &err));
	snprintf(ino, sizeof(ino), "%08llu", (unsigned long long)info.id);
	f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		unsigned int attached;

		if (strstr(line, ino))
			ours = true;
		if (ours && sscanf(line, "Total %u devices attached", &attached) == 1) {
			n = (int)attached;
			break;
		}
	}
	fclose(f);
	return n;
}

uint8_t find_capability(struct pb_device *device, uint8_t id)
{
	uint8_t at, cap[2];

	ok(pb_device_read(device, PB_REGION_CONFIG, PCI_CAPABILITY_LIST, &at, 1, &err));
	while (at) {
		ok(pb_device_read(device, PB_REGION_CONFIG, at, cap, 2, &err));
		if (cap[0] == id)
			return at;
		at = cap[1];
	}
	ck_abort_msg("the device has no capability 0x%x", id);
}
