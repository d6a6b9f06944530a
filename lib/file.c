// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Small files of sysfs and /proc, and links. */
#include <fcntl.h>

#include "internal.h"

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
