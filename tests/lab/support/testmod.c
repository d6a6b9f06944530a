// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The test modules, see testmod.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lab.h"
#include "testmod.h"

#define EXPORTER "/dev/" PEERBAR_TEST_EXPORTER
#define IMPORTER "/dev/" PEERBAR_TEST_IMPORTER

bool test_modules_loaded(void)
{
	return !access(EXPORTER, F_OK) && !access(IMPORTER, F_OK);
}

static int open_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		lab_die("cannot open %s, %s: is the test module loaded?", path, strerror(errno));
	return fd;
}

int test_exporter_open(void)
{
	return open_device(EXPORTER);
}

int test_importer_open(void)
{
	return open_device(IMPORTER);
}

static int call(int device, unsigned long request, void *arg)
{
	int ret = ioctl(device, request, arg);

	return ret < 0 ? -errno : ret;
}

/* ---- the exporter ---- */

int test_export(int exporter, enum peerbar_test_source source, unsigned int model,
		const uint64_t *lengths, unsigned int n)
{
	struct peerbar_test_export arg = { .source = source, .model = model, .nr_ranges = n };
	unsigned int i;

	for (i = 0; i < n && i < PEERBAR_TEST_RANGES; i++)
		arg.lengths[i] = lengths[i];
	return call(exporter, PEERBAR_TEST_EXPORT, &arg);
}

int test_export_one(int exporter, enum peerbar_test_source source, unsigned int model,
		    uint64_t length)
{
	return test_export(exporter, source, model, &length, 1);
}

int test_export_vram(int exporter, const char *device, unsigned int flags,
		     const struct peerbar_test_vram_segment *segments, unsigned int n)
{
	struct peerbar_test_export_vram arg = { .flags = flags,
						.nr_segments = n,
						.segments = (uintptr_t)segments };

	snprintf(arg.device, sizeof(arg.device), "%s", device);
	return call(exporter, PEERBAR_TEST_EXPORT_VRAM, &arg);
}

int test_fail(int exporter, int fd, enum peerbar_test_operation operation, unsigned int error,
	      unsigned int times)
{
	struct peerbar_test_fail arg = {
		.fd = fd, .operation = operation, .error = error, .times = times
	};

	return call(exporter, PEERBAR_TEST_FAIL, &arg);
}

int test_move(int exporter, int fd, enum peerbar_test_place to)
{
	struct peerbar_test_move arg = { .fd = fd, .place = to };
	int ret = call(exporter, PEERBAR_TEST_MOVE, &arg);

	return ret < 0 ? ret : (int)arg.place;
}

int test_automove(int exporter, int fd, unsigned int period_ms)
{
	struct peerbar_test_automove arg = { .fd = fd, .period_ms = period_ms };

	return call(exporter, PEERBAR_TEST_AUTOMOVE, &arg);
}

static int call_fd(int exporter, unsigned long request, int fd)
{
	struct peerbar_test_fd arg = { .fd = fd };

	return call(exporter, request, &arg);
}

int test_revoke(int exporter, int fd)
{
	return call_fd(exporter, PEERBAR_TEST_REVOKE, fd);
}

int test_restore(int exporter, int fd)
{
	return call_fd(exporter, PEERBAR_TEST_RESTORE, fd);
}

int test_kill(int exporter, int fd)
{
	return call_fd(exporter, PEERBAR_TEST_KILL, fd);
}

int test_copy_begin(int exporter, int fd)
{
	return call_fd(exporter, PEERBAR_TEST_COPY_BEGIN, fd);
}

int test_copy_end(int exporter, int fd)
{
	return call_fd(exporter, PEERBAR_TEST_COPY_END, fd);
}

static int call_io(int exporter, unsigned long request, int fd, enum peerbar_test_place place,
		   uint64_t offset, const void *data, size_t length)
{
	struct peerbar_test_io arg = { .fd = fd,
				       .place = place,
				       .offset = offset,
				       .length = length,
				       .data = (uintptr_t)data };

	return call(exporter, request, &arg);
}

int test_read(int exporter, int fd, enum peerbar_test_place place, uint64_t offset, void *data,
	      size_t length)
{
	return call_io(exporter, PEERBAR_TEST_READ, fd, place, offset, data, length);
}

int test_write(int exporter, int fd, enum peerbar_test_place place, uint64_t offset,
	       const void *data, size_t length)
{
	return call_io(exporter, PEERBAR_TEST_WRITE, fd, place, offset, data, length);
}

int test_where(int exporter, int fd, enum peerbar_test_place place, uint64_t offset,
	       struct peerbar_test_where *where)
{
	*where = (struct peerbar_test_where){ .fd = fd, .place = place, .offset = offset };
	return call(exporter, PEERBAR_TEST_WHERE, where);
}

/* ---- the importer ---- */

int test_import_attach_late(int importer, int fd, enum peerbar_test_kind kind, unsigned int flags,
			    const char *device, uint32_t delay_ms)
{
	struct peerbar_test_attach arg = {
		.fd = fd, .kind = kind, .flags = flags, .delay_ms = delay_ms
	};

	if (device)
		snprintf(arg.device, sizeof(arg.device), "%s", device);
	return call(importer, PEERBAR_TEST_ATTACH, &arg);
}

int test_import_attach(int importer, int fd, enum peerbar_test_kind kind, unsigned int flags,
		       const char *device)
{
	return test_import_attach_late(importer, fd, kind, flags, device, 0);
}

static int call_handle(int importer, unsigned long request, int handle)
{
	struct peerbar_test_handle arg = { .handle = (uint32_t)handle };

	return call(importer, request, &arg);
}

int test_import_detach(int importer, int handle)
{
	return call_handle(importer, PEERBAR_TEST_DETACH, handle);
}

int test_import_map(int importer, int handle, struct peerbar_test_map *map)
{
	struct peerbar_test_map unwanted;

	if (!map)
		map = &unwanted;
	*map = (struct peerbar_test_map){ .handle = (uint32_t)handle };
	return call(importer, PEERBAR_TEST_MAP, map);
}

int test_import_unmap(int importer, int handle)
{
	return call_handle(importer, PEERBAR_TEST_UNMAP, handle);
}

int test_import_release(int importer, int handle)
{
	return call_handle(importer, PEERBAR_TEST_RELEASE, handle);
}

int test_import_status(int importer, int handle, struct peerbar_test_status *status)
{
	*status = (struct peerbar_test_status){ .handle = (uint32_t)handle };
	return call(importer, PEERBAR_TEST_STATUS, status);
}

bool test_import_is(int importer, int handle, unsigned int flag)
{
	struct peerbar_test_status status;

	if (test_import_status(importer, handle, &status))
		lab_die("the importer has no handle %d", handle);
	return status.flags & flag;
}

int test_import_chunks(int importer, int handle, struct peerbar_test_chunks *chunks)
{
	*chunks = (struct peerbar_test_chunks){ .handle = (uint32_t)handle };
	return call(importer, PEERBAR_TEST_CHUNKS, chunks);
}

int test_import_pfn(int importer, int handle, uint64_t offset, unsigned int max_order,
		    struct peerbar_test_pfn *pfn)
{
	*pfn = (struct peerbar_test_pfn){ .handle = (uint32_t)handle,
					  .max_order = max_order,
					  .offset = offset };
	return call(importer, PEERBAR_TEST_PFN, pfn);
}

/* ---- inspection ---- */

int test_model(int importer, int fd, bool *declared)
{
	struct peerbar_test_model arg = { .fd = fd };
	int ret = call(importer, PEERBAR_TEST_MODEL, &arg);

	if (ret < 0)
		return ret;
	if (declared)
		*declared = arg.declared;
	return (int)arg.model;
}

int test_pte(int importer, pid_t pid, const volatile void *address, struct peerbar_test_pte *pte)
{
	*pte = (struct peerbar_test_pte){ .pid = pid, .address = (uintptr_t)address };
	return call(importer, PEERBAR_TEST_PTE, pte);
}

int test_unmappable(int importer, const char *bdf, bool unmappable)
{
	struct peerbar_test_unmappable arg = { .unmappable = unmappable };

	snprintf(arg.device, sizeof(arg.device), "%s", bdf);
	return call(importer, PEERBAR_TEST_UNMAPPABLE, &arg);
}
