// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar run */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buffer.h"
#include "parse.h"

/* Parse --bar and --length to a range of a BAR. */
static int parse_bar(const struct args *args, char *bdf, struct source *x)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), offset = 0;
	struct pb_pci_function f;
	struct pb_error err;
	char why[200];
	int ret;

	if (pbt_parse_bar(args->bar, bdf, &x->bar, &offset, why, sizeof(why)))
		return misuse("cannot take --bar: %s", why);
	ret = pb_pci_get(bdf, &f, &err);
	if (ret) {
		report(&err);
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	x->bdf = bdf;
	x->nr_ranges = 1;
	x->ranges = allocate(1, sizeof(*x->ranges));
	x->ranges[0].offset = offset;
	x->ranges[0].length = args->length;
	if (!args->length && f.bars[x->bar].size > offset)
		x->ranges[0].length = (f.bars[x->bar].size - offset) & ~(page - 1);
	/* Too small, or no such BAR: the library reports the error. */
	if (!x->ranges[0].length)
		x->ranges[0].length = page;
	return STATUS_OK;
}

/* Get the part of the buffer to use: all of an exported one. */
static int choose_part(const struct args *args, struct pb_buffer *buffer, uint64_t *offset,
		       uint64_t *length)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = pb_buffer_size(buffer);

	*offset = args->fd ? args->offset : 0;
	if (*offset % page || args->length % page)
		return fail(EINVAL,
			    "cannot use 0x%" PRIx64 " bytes at 0x%" PRIx64
			    " of a buffer: offset and length must be multiples of the page "
			    "size, 0x%" PRIx64,
			    args->length, *offset, page);
	if (*offset >= size || args->length > size - *offset)
		return fail(ERANGE,
			    "cannot use 0x%" PRIx64 " bytes at 0x%" PRIx64
			    " of a buffer: its size is 0x%" PRIx64,
			    args->length, *offset, size);
	*length = args->length ? args->length : size - *offset;
	return STATUS_OK;
}

/* Preload before other libraries. */
static int preload_library(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	size_t size = strlen(library) + (others ? strlen(others) : 0) + 2;
	char *list;
	int ret;

	if (access(library, R_OK))
		return fail(errno,
			    "cannot preload %s: %s; it is installed where peerbar was built with libibverbs",
			    library, strerror(errno));
	list = allocate(size, 1);
	snprintf(list, size, "%s%s%s", library, others && *others ? ":" : "",
		 others && *others ? others : "");
	ret = setenv("LD_PRELOAD", list, 1);
	free(list);
	return ret ? fail(errno, "cannot set LD_PRELOAD in the environment: %s", strerror(errno)) :
		     STATUS_OK;
}

/*
 * Programs access their memory unaligned, and with instructions that arm64 has for ordinary memory
 * only. On arm64, these raise SIGBUS on uncached device memory, but not on write-combining memory.
 */
static int choose_memattr(const struct args *args, struct pb_device *device,
			  struct pb_buffer *buffer)
{
	const enum pb_memattr *memattrs = args->memattrs;
	unsigned int n = args->nr_memattrs;
	struct pb_error err;
#ifdef __aarch64__
	static const enum pb_memattr preferred[] = { PB_WC };

	if (!n) {
		memattrs = preferred;
		n = 1;
	}
#endif

	if (n && pb_buffer_set_memattr(device, buffer, memattrs, n, NULL, &err))
		return report(&err);
	return STATUS_OK;
}

int cmd_run(const struct args *args)
{
	uint64_t offset = 0, length = 0;
	struct pb_buffer *buffer = NULL;
	struct pb_device *device = NULL;
	struct source x = { 0 };
	struct opened s = { 0 };
	struct pb_error err;
	char *bdf = NULL;
	void *window;
	int status;

	if (!args->bar && !args->fd)
		return misuse(
			"'run' takes a BAR, --bar BDF:BAR, or a dma-buf, --fd FD or PID:FD: one of them is needed");
	if (args->bar && args->fd)
		return misuse("'run' takes a BAR, --bar BDF:BAR, or a dma-buf, --fd FD or PID:FD, and both were given ('%.40s' and '%.40s')",
			      args->bar, args->fd);
	if (args->nr_operands)
		return misuse("'run' takes no operand '%.40s'; the command to run comes after '--'",
			      args->operands[0]);
	if (!args->command)
		return misuse("'run' needs a command to run, after '--'");
	if (args->fd && args->nr_memattrs)
		return misuse("--memattr is for --bar: the exporter of a dma-buf chooses its "
			      "memory attribute");
	if (args->bar && args->offset)
		return misuse(
			"--offset is for --fd; with --bar the offset is a part of it, as in 0000:01:00.0:2+16M");
	if (args->fd) {
		status = take_buffer(args->fd, &buffer);
	} else {
		bdf = allocate(strlen(args->bar) + 1, 1);
		status = parse_bar(args, bdf, &x);
		if (!status)
			status = open_context(&s, 1);
		if (!status)
			status = export_buffer(&s, &x, &device, &buffer);
		if (!status)
			status = choose_memattr(args, device, buffer);
	}
	if (!status)
		status = choose_part(args, buffer, &offset, &length);
	/* Check now that it can be mapped, not when the program registers memory. */
	if (!status) {
		if (pb_buffer_mmap(buffer, offset, (size_t)length, true, &window, &err))
			status = report(&err);
		else
			munmap(window, (size_t)length);
	}
	if (!status)
		status = preload_library(RUN_LIBRARY);
	if (!status)
		status = set_variable("PEERBAR_OFFSET", true, offset);
	if (!status)
		status = set_variable("PEERBAR_LENGTH", true, length);
	if (!status)
		status = run_with_buffer(args->command, device, buffer);
	pb_buffer_close(buffer);
	close_devices(&s);
	free(x.ranges);
	free(bdf);
	return status;
}
