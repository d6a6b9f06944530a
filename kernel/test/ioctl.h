/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ioctl()s of the test devices. Each has one structure: copied in, passed to a function, and copied
 * out if the ioctl reads.
 */
#ifndef _PEERBAR_TEST_IOCTL_H
#define _PEERBAR_TEST_IOCTL_H

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

/**
 * struct test_ioctl - an ioctl() of a test device
 * @cmd: its number, which contains the size of the structure
 * @run: called with the file's private data and the structure. Returns a descriptor or a handle, 0,
 *	or an errno
 */
struct test_ioctl {
	unsigned int cmd;
	long (*run)(void *priv, unsigned int cmd, void *arg);
};

static inline long test_ioctl_dispatch(const struct test_ioctl *ioctls, size_t n, struct file *file,
				       unsigned int cmd, unsigned long arg)
{
	size_t i, size = _IOC_SIZE(cmd);
	void __user *user = (void __user *)arg;
	u64 small[8]; /* no allocation for ioctls that release resources */
	void *copy = small;
	long ret;

	for (i = 0; i < n && ioctls[i].cmd != cmd; i++)
		;
	if (i == n)
		return -ENOTTY;
	if (size > sizeof(small))
		copy = memdup_user(user, size);
	else if (copy_from_user(small, user, size))
		return -EFAULT;
	if (IS_ERR(copy))
		return PTR_ERR(copy);
	ret = ioctls[i].run(file->private_data, cmd, copy);
	if (ret >= 0 && (_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(user, copy, size))
		ret = -EFAULT;
	if (copy != small)
		kfree(copy);
	return ret;
}

#endif
