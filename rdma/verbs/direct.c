// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What only peerbar tells: its provider's own calls, if the device is peerbar's, and the page of the kernel module. */
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
	/* libibverbs has loaded the provider of a device that is open; if it is not there, this is none of its devices */
	direct->library = dlopen(PROVIDER, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
	if (!direct->library)
		return false;
	/* this is how POSIX wants a function's address to be had from dlsym() */
	*(void **)&direct->revocation_fd = dlsym(direct->library, "peerbardv_revocation_fd");
	*(void **)&direct->next_revoked = dlsym(direct->library, "peerbardv_next_revoked");
	*(void **)&direct->mr_revoked = dlsym(direct->library, "peerbardv_mr_revoked");
	/* of a context that is not its own it says so */
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
	/* the number is the page's first, and to the kernel the same type by another name */
	return (const volatile uint64_t *)((char *)page + offsetof(struct peerbar_page, revocations));
}

void pbv_page_close(const volatile uint64_t *page)
{
	if (page)
		munmap((void *)(uintptr_t)page, (size_t)sysconf(_SC_PAGESIZE));
}
