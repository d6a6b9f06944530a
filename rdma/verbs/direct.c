// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Interfaces of peerbar only: its provider's calls beyond verbs, and the page of the kernel module.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/peerbar.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "internal.h"

#define PROVIDER "libpeerbar-rdma.so.1"

bool pbv_direct_open(struct pbv_direct *direct, struct ibv_context *context)
{
	memset(direct, 0, sizeof(*direct));
	/*
	 * libibverbs has loaded the provider of every open device. If peerbar's is not loaded, this
	 * is not its device.
	 */
	direct->library = dlopen(PROVIDER, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
	if (!direct->library)
		return false;
	/* POSIX's way to get the address of a function from dlsym(). */
	*(void **)&direct->revocation_fd = dlsym(direct->library, "peerbardv_revocation_fd");
	*(void **)&direct->next_revoked = dlsym(direct->library, "peerbardv_next_revoked");
	*(void **)&direct->mr_revoked = dlsym(direct->library, "peerbardv_mr_revoked");
	/* Fails for a context of another provider. */
	if (!direct->revocation_fd || !direct->next_revoked || direct->revocation_fd(context) < 0) {
		pbv_direct_close(direct);
		return false;
	}
	return true;
}

void pbv_direct_close(struct pbv_direct *direct)
{
	if (direct->library)
		dlclose(direct->library);
	direct->library = NULL;
}

const volatile uint64_t *pbv_page_open(void)
{
	struct peerbar_info info = { .size = sizeof(info) };
	void *page = MAP_FAILED;
	int fd, ret;

	fd = open("/dev/peerbar", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	do {
		ret = ioctl(fd, PEERBAR_INFO, &info);
	} while (ret < 0 && errno == EINTR);
	if (!ret && info.caps & PEERBAR_CAP_PAGE)
		page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		return NULL;
	/* The kernel's type of the number has another name, but is the same type. */
	return (const volatile uint64_t *)((char *)page +
					   offsetof(struct peerbar_page, revocations));
}

void pbv_page_close(const volatile uint64_t *page)
{
	if (page)
		munmap((void *)(uintptr_t)page, (size_t)sysconf(_SC_PAGESIZE));
}
