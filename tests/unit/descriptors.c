// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Descriptors that are not what the call takes. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../sentence.h"
#include "internal.h"
#include "unit.h"

START_TEST(importers_of_no_buffer)
{
	struct pb_error err;
	struct pb_importer *list;
	unsigned int n;
	int ret = pb_fd_importers(-1, &list, &n, &err);

	/* Without the module, it is what is missing. */
	ck_assert(ret == -EBADF || ret == -ENOENT || ret == -EOPNOTSUPP);
	ck_assert_int_eq(err.code, -ret);
	ck_assert_ptr_nonnull(
		strstr(err.text, ret == -ENOENT ? "modprobe peerbar" : "descriptor -1"));
}
END_TEST

START_TEST(descriptors_that_are_no_buffers)
{
	struct pb_buffer *buffer = NULL;
	int fd;

	refused(pb_buffer_from_fd(-1, &buffer, &err), EBADF, "not open");
	refused(pb_buffer_from_fd(12345, &buffer, &err), EBADF, "12345");
	fd = memfd_create("x", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	refused(pb_buffer_from_fd(fd, &buffer, &err), EINVAL, "no dma-buf");
	close(fd);
	ck_assert_ptr_null(buffer);
}
END_TEST

START_TEST(descriptors_that_are_no_iommufd)
{
	struct pb_iommu *iommu = NULL;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	refused(pb_iommu_from_fd(-1, &iommu, &err), EBADF, "not open");
	refused(pb_iommu_from_fd(fd, &iommu, &err), EINVAL, "no iommufd");
	close(fd);
	ck_assert_ptr_null(iommu);
}
END_TEST

void add_descriptor_tests(TCase *t)
{
	tcase_add_test(t, descriptors_that_are_no_buffers);
	tcase_add_test(t, importers_of_no_buffer);
	tcase_add_test(t, descriptors_that_are_no_iommufd);
}
