// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The mappings of this process, see process-maps.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lab.h"
#include "process-maps.h"

bool find_mapping(uintptr_t address, struct process_mapping *mapping)
{
	struct procmap_query query = { .size = sizeof(query),
				       .query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
				       .query_addr = address,
				       .vma_name_size = sizeof(mapping->name),
				       .vma_name_addr = (uintptr_t)mapping->name };
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		lab_die("/proc/self/maps: %s", strerror(errno));
	ret = ioctl(fd, PROCMAP_QUERY, &query);
	if (ret && errno != ENOENT)
		lab_die("PROCMAP_QUERY: %s", strerror(errno));
	close(fd);
	if (ret)
		return false;
	mapping->start = query.vma_start;
	mapping->end = query.vma_end;
	mapping->offset = query.vma_offset;
	mapping->readable = query.vma_flags & PROCMAP_QUERY_VMA_READABLE;
	mapping->writable = query.vma_flags & PROCMAP_QUERY_VMA_WRITABLE;
	if (!query.vma_name_size)
		mapping->name[0] = '\0';
	return true;
}
