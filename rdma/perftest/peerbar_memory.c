// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A memory backend of perftest with buffers in a BAR, by libpeerbar. It is compiled in perftest's
 * tree.
 *
 * It uses the context of host memory, with other allocation functions. The buffers are mapped, so
 * perftest can treat them as host memory; versions that validate data validate them as well. A
 * process has one option, and so one BAR or dma-buf: its state is in static variables.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <peerbar.h>

#include "host_memory.h"
#include "peerbar_memory.h"
#include "perftest_parameters.h"

/* The parsed option. */
static struct {
	const char *text;
	char bdf[PB_BDF_LEN]; /* "" for a dma-buf */
	unsigned int bar;
	int pid; /* 0 for this process */
	int fd;
	uint64_t offset;
} place;

/* Open between init and destroy. The device is NULL for a dma-buf. */
static struct pb_iommu *iommu;
static struct pb_device *device;
static struct pb_buffer *buffer;
/* The offset of the next allocation in the buffer. Freed memory is not reused. */
static uint64_t next;
static int (*destroy_host)(struct memory_ctx *ctx);

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int fail(const struct pb_error *err)
{
	fprintf(stderr, " --use_peerbar=%s: %s\n", place.text, err->text);
	return FAILURE;
}

/* ---- the option ---- */

/* Parse the number between @text and @end, which may end in K, M or G. */
static bool take_number(const char *text, const char *end, uint64_t max, uint64_t *value)
{
	static const char units[] = "KkMmGg";
	unsigned int shift = 0;
	const char *unit;
	char *rest;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &rest, 0);
	if (rest < end) {
		unit = strchr(units, *rest++);
		if (!unit)
			return false;
		shift = 10 * ((unsigned int)(unit - units) / 2 + 1);
	}
	if (rest != end || errno || *value > max >> shift)
		return false;
	*value <<= shift;
	return true;
}

static bool take_place(const char *text)
{
	const char *end = strchrnul(text, '+'), *colon = memrchr(text, ':', (size_t)(end - text));
	uint64_t number;

	if (*end &&
	    (!take_number(end + 1, end + strlen(end), INT64_MAX, &place.offset) ||
	     place.offset % page_size()))
		return false;
	/* Only the address of a function has a dot. */
	if (colon && memchr(text, '.', (size_t)(colon - text))) {
		if (colon - text >= PB_BDF_LEN ||
		    !take_number(colon + 1, end, PB_BARS - 1, &number))
			return false;
		memcpy(place.bdf, text, (size_t)(colon - text));
		place.bar = (unsigned int)number;
		return true;
	}
	if (!take_number(colon ? colon + 1 : text, end, INT32_MAX, &number))
		return false;
	place.fd = (int)number;
	if (colon && (!take_number(text, colon, INT32_MAX, &number) || !number))
		return false;
	place.pid = colon ? (int)number : 0;
	return true;
}

/* ---- init and destroy ---- */

static void close_all(void)
{
	pb_buffer_close(buffer);
	pb_device_close(device);
	pb_iommu_close(iommu);
	buffer = NULL;
	device = NULL;
	iommu = NULL;
}

static int export_bar(struct pb_error *err)
{
	struct pb_range range = { .offset = place.offset };
	struct pb_region region;
	int ret;

	ret = pb_iommu_open(&iommu, err);
	if (!ret)
		ret = pb_device_open(iommu, place.bdf, &device, err);
	/* While decoding is off, a buffer is revoked. */
	if (!ret)
		ret = pb_device_set_decoding(device, true, err);
	if (!ret)
		ret = pb_device_region(device, place.bar, &region, err);
	if (ret)
		return ret;
	/*
	 * If the offset is beyond the end, or the BAR does not exist, export one page: the library
	 * reports the error.
	 */
	range.length = region.size > range.offset ?
		(region.size - range.offset) & ~(page_size() - 1) :
		0;
	if (!range.length)
		range.length = page_size();
	return pb_buffer_export(device, place.bar, &range, 1, 0, &buffer, err);
}

static int take_dmabuf(struct pb_error *err)
{
	int fd = place.fd, pidfd = -1, ret;

	if (place.pid) {
		pidfd = (int)syscall(SYS_pidfd_open, place.pid, 0);
		fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, place.fd, 0);
		ret = -errno;
		if (pidfd >= 0)
			close(pidfd);
		if (fd < 0) {
			err->code = -ret;
			snprintf(err->text, sizeof(err->text),
				 "cannot take descriptor %d of process %d: %s", place.fd, place.pid,
				 strerror(-ret));
			return ret;
		}
	}
	ret = pb_buffer_from_fd(fd, &buffer, err);
	if (place.pid)
		close(fd);
	return ret;
}

static int peerbar_init(struct memory_ctx *ctx)
{
	struct pb_buffer_info info;
	struct pb_error err;

	(void)ctx;
	if (place.bdf[0] ? export_bar(&err) : take_dmabuf(&err))
		goto failed;
	/* Of a BAR, only the part after the offset was exported. */
	next = place.bdf[0] ? 0 : place.offset;
	if (pb_buffer_query(buffer, &info, &err))
		goto failed;
	printf("peerbar: dma-buf %" PRIu64 " of %s, size 0x%" PRIx64 ", model %s\n", info.id,
	       info.exporter, info.size, pb_model_name(info.model));
	return SUCCESS;
failed:
	close_all();
	return fail(&err);
}

static int peerbar_destroy(struct memory_ctx *ctx)
{
	close_all();
	return destroy_host(ctx);
}

/* ---- buffers ---- */

/* Map the dma-buf or, with stock vfio-pci, which does not implement mmap, the device. */
static int map(uint64_t offset, uint64_t size, void **addr, struct pb_error *err)
{
	int ret;

	ret = pb_buffer_mmap(buffer, offset, (size_t)size, true, addr, err);
	if (ret == -EOPNOTSUPP && device)
		ret = pb_device_mmap(device, place.bar, place.offset + offset, (size_t)size, true,
				     addr, err);
	return ret;
}

/* @alignment is ignored: perftest itself aligns the parts of the buffer by it. */
static int peerbar_allocate(struct memory_ctx *ctx, int alignment, uint64_t size, int *dmabuf_fd,
			    uint64_t *dmabuf_offset, void **addr, bool *can_init)
{
	uint64_t whole = (size + page_size() - 1) & ~(page_size() - 1),
		 total = pb_buffer_size(buffer);
	struct pb_error err;
	int fd;

	(void)ctx;
	(void)alignment;
	if (!size || whole < size || next > total || whole > total - next) {
		fprintf(stderr,
			" --use_peerbar=%s: a test buffer takes 0x%" PRIx64
			" bytes, and there are 0x%" PRIx64 " left\n",
			place.text, size, (next < total ? total - next : 0));
		return FAILURE;
	}
	/* perftest closes the descriptor after the registration, and takes 0 as none. */
	fd = fcntl(pb_buffer_fd(buffer), F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		fprintf(stderr,
			" --use_peerbar=%s: cannot duplicate the dma-buf's descriptor: %s\n",
			place.text, strerror(errno));
		return FAILURE;
	}
	if (map(next, whole, addr, &err)) {
		close(fd);
		return fail(&err);
	}
	*dmabuf_fd = fd;
	*dmabuf_offset = next;
	*can_init = true;
	next += whole;
	return SUCCESS;
}

static int peerbar_free(struct memory_ctx *ctx, int dmabuf_fd, void *addr, uint64_t size)
{
	(void)ctx;
	(void)dmabuf_fd;
	munmap(addr, (size_t)((size + page_size() - 1) & ~(page_size() - 1)));
	return SUCCESS;
}

static struct memory_ctx *peerbar_memory_create(struct perftest_parameters *params)
{
	struct memory_ctx *ctx = host_memory_create(params);

	if (!ctx)
		return NULL;
	destroy_host = ctx->destroy;
	ctx->init = peerbar_init;
	ctx->destroy = peerbar_destroy;
	ctx->allocate_buffer = peerbar_allocate;
	ctx->free_buffer = peerbar_free;
	return ctx;
}

int peerbar_memory_option(struct perftest_parameters *params, const char *text)
{
	if (params->memory_create != host_memory_create) {
		fprintf(stderr, " --use_peerbar and another kind of memory exclude each other\n");
		return FAILURE;
	}
	place.text = text;
	if (!take_place(text)) {
		fprintf(stderr,
			" --use_peerbar=%s: use BDF:BAR[+OFFSET], FD[+OFFSET] or "
			"PID:FD[+OFFSET], with an offset that is a multiple of 0x%" PRIx64 "\n",
			text, page_size());
		return FAILURE;
	}
	params->memory_create = peerbar_memory_create;
	return SUCCESS;
}

void peerbar_memory_usage(void)
{
	printf("      --use_peerbar=<place> ");
	printf(" Use the memory of a PCI device: BDF:BAR[+OFFSET], or of a dma-buf: FD[+OFFSET], PID:FD[+OFFSET].\n");
}
