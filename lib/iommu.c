// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The iommufd context: a reference counted /dev/iommu. */
#include <fcntl.h>
#include <linux/iommufd.h>

#include "internal.h"

static int new_iommu(int fd, struct pb_iommu **iommu, struct pb_error *err)
{
	struct pb_iommu *new;

	new = calloc(1, sizeof(*new));
	if (!new) {
		close(fd);
		return pb_fail_errno(err, ENOMEM, "cannot open an iommufd context");
	}
	atomic_init(&new->refs, 1);
	pthread_mutex_init(&new->lock, NULL);
	new->fd = fd;
	*iommu = new;
	return 0;
}

int pb_iommu_open(struct pb_iommu **iommu, struct pb_error *err)
{
	int fd;

	fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
			return pb_fail(err, ENOENT,
				       "there is no /dev/iommu: the kernel has no iommufd; load the module iommufd, or use a "
				       "kernel with CONFIG_IOMMUFD");
		return pb_fail_errno(err, errno, "cannot open /dev/iommu");
	}
	return new_iommu(fd, iommu, err);
}

int pb_iommu_from_fd(int fd, struct pb_iommu **iommu, struct pb_error *err)
{
	/* A request without side effects that succeeds on every iommufd. */
	struct iommu_option probe = { .size = sizeof(probe),
				      .option_id = IOMMU_OPTION_RLIMIT_MODE,
				      .op = IOMMU_OPTION_OP_GET };
	int copy, ret;

	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return errno == EBADF ?
			pb_fail(err, EBADF,
				"descriptor %d is not open; pass one "
				"of /dev/iommu",
				fd) :
			pb_fail_errno(err, errno, "cannot duplicate descriptor %d", fd);
	ret = pb_ioctl(copy, IOMMU_OPTION, &probe);
	if (ret) {
		close(copy);
		return pb_fail(err, EINVAL, "descriptor %d is no iommufd; pass one of /dev/iommu",
			       fd);
	}
	return new_iommu(copy, iommu, err);
}

struct pb_iommu *pb_iommu_get(struct pb_iommu *iommu)
{
	atomic_fetch_add(&iommu->refs, 1);
	return iommu;
}

int pb_iommu_fd(const struct pb_iommu *iommu)
{
	return iommu->fd;
}

void pb_iommu_close(struct pb_iommu *iommu)
{
	if (!iommu || atomic_fetch_sub(&iommu->refs, 1) > 1)
		return;
	close(iommu->fd);
	pthread_mutex_destroy(&iommu->lock);
	free(iommu);
}
