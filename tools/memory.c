// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar peek, poke: read and write a dma-buf, through mmap */
#include <errno.h>
#include <inttypes.h>
#include <linux/dma-buf.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parse.h"
#include "tool.h"

/* A mapped part of a buffer, in whole pages. */
struct window {
	struct pb_buffer *buffer;
	void *pages;
	size_t size;
	char *at;
};

static int open_window(struct window *w, const char *fd, uint64_t offset, uint64_t length,
		       bool writable)
{
	uint64_t before = offset % (uint64_t)sysconf(_SC_PAGESIZE);
	struct pb_buffer_info info;
	struct pb_error err;
	int status;

	status = take_buffer(fd, &w->buffer);
	if (status)
		return status;
	if (pb_buffer_query(w->buffer, &info, &err)) {
		status = report(&err);
	} else if (offset > info.size || length > info.size - offset) {
		status = fail(ERANGE,
			      "0x%" PRIx64 " bytes at 0x%" PRIx64
			      " are not all inside the buffer, whose size is 0x%" PRIx64,
			      length, offset, info.size);
	} else {
		w->size = (size_t)(before + length);
		if (pb_buffer_mmap(w->buffer, offset - before, w->size, writable, &w->pages, &err))
			status = report(&err);
	}
	if (status) {
		pb_buffer_close(w->buffer);
		return status;
	}
	w->at = (char *)w->pages + before;
	return STATUS_OK;
}

static void close_window(struct window *w)
{
	munmap(w->pages, w->size);
	pb_buffer_close(w->buffer);
}

/* ---- copying, until a revocation ---- */

static sigjmp_buf taken_away;

static void handle_sigbus(int sig)
{
	(void)sig;
	siglongjmp(taken_away, 1);
}

/* Copy four bytes at a time if possible: some devices require it. */
static void copy_bytes(void *to, const void *from, size_t length)
{
	size_t i;

	if (((uintptr_t)to | (uintptr_t)from | length) % 4) {
		for (i = 0; i < length; i++)
			((volatile uint8_t *)to)[i] = ((const volatile uint8_t *)from)[i];
	} else {
		for (i = 0; i < length / 4; i++)
			((volatile uint32_t *)to)[i] = ((const volatile uint32_t *)from)[i];
	}
	/* Flush write combining buffers. */
	atomic_thread_fence(memory_order_seq_cst);
}

static int sync_buffer(struct pb_buffer *buffer, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	while (ioctl(pb_buffer_fd(buffer), DMA_BUF_IOCTL_SYNC, &sync))
		if (errno != EINTR && errno != EAGAIN)
			return fail(errno,
				    "cannot prepare a dma-buf for access by the CPU "
				    "(DMA_BUF_IOCTL_SYNC): %s",
				    strerror(errno));
	return STATUS_OK;
}

/* @direction: DMA_BUF_SYNC_READ or DMA_BUF_SYNC_WRITE. */
static int copy_window(const struct window *w, uint64_t direction, void *to, const void *from,
		       size_t length)
{
	struct sigaction action = { .sa_handler = handle_sigbus }, before;
	int status;

	status = sync_buffer(w->buffer, DMA_BUF_SYNC_START | direction);
	if (status)
		return status;
	sigaction(SIGBUS, &action, &before);
	if (!sigsetjmp(taken_away, 1))
		copy_bytes(to, from, length);
	else
		status = fail(EFAULT,
			      "cannot reach 0x%zx bytes of the buffer: it is revoked (SIGBUS); memory decoding of its device may be "
			      "off, or the device closed",
			      length);
	sigaction(SIGBUS, &before, NULL);
	return sync_buffer(w->buffer, DMA_BUF_SYNC_END | direction) ? STATUS_FAILED : status;
}

/* ---- the commands ---- */

static int check_operands(const struct args *args, const char *usage)
{
	if (args->nr_operands != 3)
		return misuse("the operands %s are needed, and %u %s given", usage,
			      args->nr_operands, args->nr_operands == 1 ? "was" : "were");
	return STATUS_OK;
}

static int parse_operand(const char *text, const char *what, uint64_t *value)
{
	char why[200];

	if (pbt_parse_number(text, value, why, sizeof(why)))
		return misuse("cannot take %s: %s", what, why);
	return STATUS_OK;
}

static void print_line(uint64_t offset, const uint8_t *bytes, size_t n)
{
	size_t i;

	printf("%08" PRIx64 " ", offset);
	for (i = 0; i < 16; i++) {
		if (i == 8)
			putchar(' ');
		if (i < n)
			printf(" %02x", bytes[i]);
		else
			fputs("   ", stdout);
	}
	fputs("  |", stdout);
	for (i = 0; i < n; i++)
		putchar(bytes[i] < 0x20 || bytes[i] > 0x7e ? '.' : bytes[i]);
	puts("|");
}

static struct json_object *get_span_json(uint64_t offset, uint64_t length)
{
	struct json_object *object = json_new(false);

	json_put_number(object, "offset", offset);
	json_put_number(object, "length", length);
	return object;
}

static void print_bytes(uint64_t offset, const uint8_t *bytes, size_t length)
{
	struct json_object *object;
	size_t i;
	char *hex;

	if (!json_output) {
		for (i = 0; i < length; i += 16)
			print_line(offset + i, bytes + i, length - i < 16 ? length - i : 16);
		return;
	}
	hex = allocate(2 * length + 1, 1);
	for (i = 0; i < length; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	object = get_span_json(offset, length);
	json_put_string(object, "data", hex);
	print_result(object);
	free(hex);
}

int cmd_peek(const struct args *args)
{
	uint64_t offset = 0, length = 0;
	struct window w;
	uint8_t *bytes;
	int status;

	status = check_operands(args, "FD, OFFSET and LENGTH");
	if (!status)
		status = parse_operand(args->operands[1], "an offset", &offset);
	if (!status)
		status = parse_operand(args->operands[2], "a length", &length);
	if (!status && !length)
		status = misuse("cannot take a length: it is 0, and 1 is the least");
	if (status)
		return status;
	status = open_window(&w, args->operands[0], offset, length, false);
	if (status)
		return status;
	bytes = allocate((size_t)length, 1);
	status = copy_window(&w, DMA_BUF_SYNC_READ, bytes, w.at, (size_t)length);
	if (!status)
		print_bytes(offset, bytes, (size_t)length);
	free(bytes);
	close_window(&w);
	return status;
}

int cmd_poke(const struct args *args)
{
	uint64_t offset = 0;
	struct window w;
	uint8_t *bytes;
	char why[200];
	size_t length;
	int status;

	status = check_operands(args, "FD, OFFSET and BYTES");
	if (!status)
		status = parse_operand(args->operands[1], "an offset", &offset);
	if (status)
		return status;
	bytes = allocate(strlen(args->operands[2]) / 2, 1);
	if (pbt_parse_bytes(args->operands[2], bytes, &length, why, sizeof(why)))
		status = misuse("cannot take the bytes: %s", why);
	if (!status)
		status = open_window(&w, args->operands[0], offset, length, true);
	if (status)
		goto out;
	status = copy_window(&w, DMA_BUF_SYNC_WRITE, w.at, bytes, length);
	if (!status && json_output)
		print_result(get_span_json(offset, length));
	close_window(&w);
out:
	free(bytes);
	return status;
}
