// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Error sentences, and helpers. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "internal.h"

static void vfail(struct pb_error *err, int code, const char *fmt, va_list ap)
{
	if (!err)
		return;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

static void __attribute__((format(printf, 2, 3))) append(struct pb_error *err, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return;
	len = strlen(err->text);
	va_start(ap, fmt);
	vsnprintf(err->text + len, sizeof(err->text) - len, fmt, ap);
	va_end(ap);
}

int pb_fail(struct pb_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, code, fmt, ap);
	va_end(ap);
	return -code;
}

int pb_fail_errno(struct pb_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, code, fmt, ap);
	va_end(ap);
	if (err) {
		char buf[80];
		/* The GNU strerror_r(): thread-safe, and may return a constant. */
		const char *why = strerror_r(code, buf, sizeof(buf));

		append(err, ": %s", why);
	}
	return -code;
}

int pb_fail_driver(struct pb_error *err, const char *bdf, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, EOPNOTSUPP, fmt, ap);
	va_end(ap);
	append(err, ": this needs the kernel module " PB_DRIVER "; load it and bind the device to it: peerbar bind --driver " PB_DRIVER
	       " %s", *bdf ? bdf : "BDF");
	return -EOPNOTSUPP;
}

uint64_t pb_page_size(void)
{
	return (uint64_t)getpagesize();
}

int pb_read_file(const char *path, char *text, size_t size)
{
	size_t have = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (have < size - 1) {
		ssize_t n = read(fd, text + have, size - 1 - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int code = errno;

			close(fd);
			return -code;
		}
		if (!n)
			break;
		have += (size_t)n;
	}
	close(fd);
	text[have] = '\0';
	return (int)have;
}

int pb_write_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;
	int code;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = write(fd, text, len);
	} while (n < 0 && errno == EINTR);
	code = n < 0 ? errno : (size_t)n == len ? 0 : EIO;
	close(fd);
	return -code;
}

void pb_read_link_name(const char *path, char *name, size_t size)
{
	char target[512];
	const char *last;
	ssize_t n;

	name[0] = '\0';
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	last = strrchr(target, '/');
	last = last ? last + 1 : target;
	if (strlen(last) < size)
		strcpy(name, last);
}

/* Returns the largest of the kernel's huge page sizes that fits into @length, or 0. */
static size_t large_page(size_t length)
{
	if (length >= 1ULL << 30)
		return 1ULL << 30;
	return length >= 2ULL << 20 ? 2ULL << 20 : 0;
}

/*
 * Returns a free address with the same offset from a huge page boundary as @place, or NULL if
 * @length is too small. Only a hint: another thread may take the address.
 */
static void *large_page_hint(size_t length, uint64_t place)
{
	size_t large = large_page(length);
	char *room;

	if (!large || length > SIZE_MAX - large)
		return NULL;
	room = mmap(NULL, length + large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	munmap(room, length + large);
	return room + ((size_t)(place - (uintptr_t)room) & (large - 1));
}

int pb_mmap(int fd, uint64_t offset, size_t length, bool writable, uint64_t place, void **address)
{
	void *p;

	p = mmap(large_page_hint(length, place), length, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	*address = p;
	return 0;
}

void *pb_array_sized(const void *from, size_t ours, size_t n, size_t size)
{
	char *to = calloc(n ? n : 1, size ? size : 1);
	size_t i;

	for (i = 0; to && i < n; i++)
		pb_fill_sized(to + i * size, size, (const char *)from + i * ours, ours);
	return to;
}

const char *pb_version(void)
{
	return PACKAGE_VERSION;
}
