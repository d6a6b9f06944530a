// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What a VMM asks of a library: it runs in a thread whose seccomp filter allows only the system
 * calls that docs/guests.md lists, leaks no descriptor, and maps no BAR into the process.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/dma-buf.h>
#include <linux/filter.h>
#include <linux/iommufd.h>
#include <linux/peerbar.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "guest-fixture.h"
#include "process-maps.h"

/* ---- the filter: the tables of docs/guests.md ---- */

static const int calls[] = {
	/* the library's */
	SYS_close,
	SYS_fcntl,
	SYS_fstat,
	SYS_futex,
	SYS_newfstatat,
	SYS_openat,
	SYS_pread64,
	SYS_pwrite64,
	SYS_read,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_setsockopt,
	SYS_write,
	/* the C library's, to allocate memory and to end a thread */
	SYS_brk,
	SYS_exit,
	SYS_madvise,
	SYS_mmap,
	SYS_mprotect,
	SYS_munmap,
	SYS_rt_sigprocmask,
};

static const unsigned long requests[] = {
	IOMMU_DESTROY,	  IOMMU_IOAS_ALLOC,    IOMMU_IOAS_COPY,	  IOMMU_IOAS_IOVA_RANGES,
	0x3b8f, /* IOMMU_IOAS_MAP_FILE, which older headers lack */
	IOMMU_IOAS_UNMAP, VFIO_DEVICE_FEATURE, VFIO_DEVICE_RESET, DMA_BUF_SET_NAME_B,
	PEERBAR_INFO,	  PEERBAR_QUERY,
};

#define N(array) (sizeof(array) / sizeof(array[0]))

static int install_filter(void)
{
	struct sock_filter code[4 + 2 * N(calls) + 2 + 2 * N(requests)];
	struct sock_fprog program = { .filter = code };
	unsigned int n = 0, i;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (i = 0; i < N(calls); i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 (uint32_t)calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, args[1]));
	for (i = 0; i < N(requests); i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 (uint32_t)requests[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

/* The first system call that the filter stopped, and the request of an ioctl. */
static volatile int stopped_call;
static volatile unsigned long stopped_request;

/* Note the call, which fails with ENOSYS. */
static void stop(int signal, siginfo_t *info, void *context)
{
	ucontext_t *at = context;

	(void)signal;
#ifdef __x86_64__
	if (!stopped_call)
		stopped_request = (unsigned long)at->uc_mcontext.gregs[REG_RSI];
	at->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
	if (!stopped_call)
		stopped_request = (unsigned long)at->uc_mcontext.regs[1];
	at->uc_mcontext.regs[0] = (unsigned long)-ENOSYS;
#else
	(void)at;
#endif
	if (!stopped_call)
		stopped_call = info->si_syscall;
}

/* ---- a thread of a VMM; it does without Check, which makes system calls of its own ---- */

static struct pb_error thread_err;

/* All that a vCPU thread and an event loop do with a device. Return the number of the failed step. */
static int run_guest(bool reset)
{
	const uint64_t interrupts = MSI_IOVA & ~(vga.size - 1);
	struct pb_guest_range *list, report;
	struct pb_error *e = &thread_err;
	unsigned int n;

	if (pb_guest_set_bar(vga.guest_device, GPU_BAR, interrupts, e))
		return 1;
	if (pb_device_set_decoding(fixture.gpu, true, e) ||
	    pb_guest_set_decoding(vga.guest_device, true, e))
		return 2;
	if (pb_guest_nr_refused(guest) != 1 || !pb_guest_next_report(guest, &report))
		return 3;
	if (pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE + GIB, e))
		return 4;
	if (pb_guest_set_power(vga.guest_device, false, e) ||
	    pb_guest_set_power(vga.guest_device, true, e))
		return 5;
	if (pb_guest_set_decoding(vga.guest_device, false, e) ||
	    pb_device_set_decoding(fixture.gpu, false, e) ||
	    pb_device_set_decoding(fixture.gpu, true, e) ||
	    pb_guest_set_decoding(vga.guest_device, true, e))
		return 6;
	if (reset &&
	    (pb_guest_reset_begin(vga.guest_device, e) || pb_device_reset(fixture.gpu, e) ||
	     pb_guest_reset_done(vga.guest_device, e) ||
	     pb_device_set_decoding(fixture.gpu, true, e) ||
	     pb_guest_set_decoding(vga.guest_device, true, e)))
		return 7;
	if (pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE, e))
		return 8;
	if (pb_guest_check(guest, &n, e) || n || pb_guest_sync(guest, PB_GUEST_REMAKE, e))
		return 9;
	if (pb_guest_list(guest, &list, &n, e) || !n)
		return 10;
	free(list);
	while (pb_guest_next_report(guest, &report))
		;
	return 0;
}

static void *filtered_thread(void *arg)
{
	int ret;

	(void)arg;
	ret = install_filter();
	return (void *)(intptr_t)(ret ? ret : run_guest(!lab_has_no_reset()));
}

START_TEST(with_a_seccomp_filter)
{
	struct sigaction action = { .sa_sigaction = stop, .sa_flags = SA_SIGINFO };
	pthread_t thread;
	void *step;

	ck_assert_int_eq(sigaction(SIGSYS, &action, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, filtered_thread, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, &step), 0);
	ck_assert_msg(!stopped_call,
		      "system call %d, request 0x%lx of an ioctl, is not in the list", stopped_call,
		      stopped_request);
	ck_assert_msg(!step, "step %d failed: %s", (int)(intptr_t)step, thread_err.text);
	reaches(SPACE, &vga, 0);
	reaches(SPACE + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size);
}
END_TEST

/*
 * Firmware probes a BAR again and again, and a BAR may be refused again and again: no descriptor may
 * be left. No page of it is mapped into this process, and yet it has P2P.
 */
START_TEST(probing_leaks_nothing)
{
	struct process_mapping mapping;
	unsigned int i, before = 0;
	uintptr_t at = 0;

	for (i = 0; i < 20; i++) {
		guest_bar(&vga, MSI_IOVA & ~(vga.size - 1));
		guest_decoding(&vga, true);
		guest_bar(&vga, ~(vga.size - 1));
		guest_bar(&vga, 1ULL << 62);
		guest_bar(&vga, SPACE + i * GIB);
		check_finds(guest, 0);
		guest_decoding(&vga, false);
		if (i == 1)
			before = count_fds();
	}
	ck_assert_uint_eq(count_fds(), before);
	guest_bar(&vga, SPACE);
	guest_decoding(&vga, true);
	while (find_mapping(at, &mapping)) {
		ck_assert_msg(mapping.end - mapping.start < vga.size, "%s is mapped", mapping.name);
		at = mapping.end;
	}
	reaches(SPACE, &vga, 0);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("guest")
{
	TCase *t = suite_case(s, "vmm", 300, guest_up, guest_down);

	tcase_add_test(t, with_a_seccomp_filter);
	tcase_add_test(t, probing_leaks_nothing);
	t = suite_case(s, "vmm-ours", 300, guest_modules_up, guest_modules_down);
	tcase_add_test(t, with_a_seccomp_filter);
	tcase_add_test(t, probing_leaks_nothing);
}
