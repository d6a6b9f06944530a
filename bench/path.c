// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The overhead of the library: export, query, map, unmap and close a buffer, by the library's
 * functions and by the equivalent system calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "raw-ioctl.h"

#define SIZE  (2 * MIB)
#define TIMES 100

__attribute__((noinline)) static void by_library(struct bench *b)
{
	struct pb_buffer *buffer = new_buffer(b, SIZE);
	struct pb_buffer_info info;
	struct pb_mapping *mapping;

	must(pb_buffer_query(buffer, &info, &err));
	must(pb_map_buffer(b->ioas, buffer, 0, SIZE, RW | PB_MAP_FIXED, FIRST_IOVA, &mapping,
			   &err));
	must(pb_unmap(mapping, &err));
	pb_buffer_close(buffer);
}

__attribute__((noinline)) static void by_ioctls(struct bench *b, int peerbar)
{
	const struct raw_range range = { .length = SIZE };
	int iommufd = pb_iommu_fd(b->iommu), fd;
	uint32_t ioas = pb_ioas_id(b->ioas);
	struct peerbar_query query;
	uint64_t iova = FIRST_IOVA;

	fd = raw_export(pb_device_fd(b->gpu), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC);
	must_errno(fd >= 0);
	must_errno(!raw_query(peerbar, fd, &query));
	must_errno(!raw_map_file(iommufd, ioas, fd, 0, SIZE,
				 IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
					 IOMMU_IOAS_MAP_WRITEABLE,
				 &iova));
	must_errno(!raw_unmap(iommufd, ioas, iova, SIZE));
	close(fd);
}

static void both(struct bench *b)
{
	static const char *const sides[2][2] = {
		{ "raw-vfio-pci", "library-vfio-pci" },
		{ "raw", "library" },
	};
	int peerbar = raw_open("/dev/peerbar");
	bool library = false;
	unsigned int i, n;
	uint64_t t0;

	must_errno(peerbar >= 0);
	for (i = 0; i < TIMES; i++) {
		/* Alternate the order. */
		library = !library;
		for (n = 0; n < 2; n++, library = !library) {
			t0 = now_ns();
			if (library)
				by_library(b);
			else
				by_ioctls(b, peerbar);
			sample(b, "path", sides[b->ours][library], 0, "us", us_since(t0));
		}
	}
	close(peerbar);
}

const struct measure path_measure = { .name = "path", .stock = both, .ours = both };
