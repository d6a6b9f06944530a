// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Versions, structures that grow, capabilities, and calls without peerbar's modules. */
#include <stdlib.h>
#include <unistd.h>

#include "../sentence.h"
#include "internal.h"
#include "unit.h"

START_TEST(versions)
{
	char text[32];

	snprintf(text, sizeof(text), "%d.%d.%d", PB_VERSION_MAJOR, PB_VERSION_MINOR,
		 PB_VERSION_MICRO);
	ck_assert_str_eq(text, pb_version());
	ck_assert_int_eq(PB_VERSION,
			 PB_VERSION_MAJOR << 16 | PB_VERSION_MINOR << 8 | PB_VERSION_MICRO);
	ck_assert(PB_GUEST_NOWHERE == UINT64_MAX);
}
END_TEST

/* A program that was compiled with an older or a newer header. */
START_TEST(structures_that_grow)
{
	struct {
		struct pb_capability known;
		char more[40];
	} *newer;
	struct pb_capability *whole;
	struct pb_listed list[2] = { { .id = 1 }, { .id = 2, .nr_extents = 1 } }, *packed;
	const size_t older_size = offsetof(struct pb_capability, there),
		     odd = offsetof(struct pb_listed, importer_names) + 1;
	struct {
		char bytes[64];
	} copy, canary;
	unsigned int i, k, n;
	char *older;

	ok(pb_capabilities(&whole, &n, &err));
	ok(pb_capabilities_sized((struct pb_capability **)&older, older_size, &k, &err));
	ck_assert_uint_eq(k, n);
	for (i = 0; i < n; i++)
		ck_assert_mem_eq(older + i * older_size, &whole[i], older_size);
	free(older);
	ok(pb_capabilities_sized((struct pb_capability **)&newer, sizeof(*newer), &k, &err));
	ck_assert_uint_eq(k, n);
	for (i = 0; i < n; i++) {
		ck_assert_str_eq(newer[i].known.name, whole[i].name);
		for (k = 0; k < sizeof(newer[i].more); k++)
			ck_assert_int_eq(newer[i].more[k], 0);
	}
	free(newer);
	free(whole);
	/* Write all of the caller's structure, and no byte beyond it. */
	memset(&copy, 0x55, sizeof(copy));
	memset(&canary, 0x55, sizeof(canary));
	pb_fill_sized(&copy, 10, &(struct { char c[20]; }){ "0123456789abcdef" }, 20);
	ck_assert_mem_eq(&copy, "0123456789", 10);
	ck_assert_mem_eq(copy.bytes + 10, canary.bytes, sizeof(copy) - 10);
	pb_fill_sized(&copy, 30, &(struct { char c[20]; }){ "0123456789abcdef" }, 20);
	ck_assert_mem_eq(&copy, "0123456789abcdef\0\0\0\0\0\0\0\0\0\0\0\0\0", 30);
	ck_assert_mem_eq(copy.bytes + 30, canary.bytes, sizeof(copy) - 30);
	/* The data that elements point to is behind them and aligned, for any element size. */
	list[1].extents = calloc(1, sizeof(struct pb_extent));
	list[1].extents[0].length = 0x1000;
	packed = calloc(2, sizeof(list[0]));
	memcpy(packed, list, sizeof(list));
	packed = pb_pack_listed(packed, 2, odd);
	ck_assert_ptr_nonnull(packed);
	memcpy(&list[1], (char *)packed + odd, odd);
	ck_assert_uint_eq(list[1].id, 2);
	ck_assert_uint_eq((uintptr_t)list[1].extents % _Alignof(struct pb_extent), 0);
	ck_assert_uint_eq(list[1].extents[0].length, 0x1000);
	free(packed);
}
END_TEST

START_TEST(what_the_module_peerbar_is_for)
{
	struct pb_listed *list = NULL;
	struct pb_watch *watch = NULL;
	unsigned int n;

	/* The host may have the module. */
	if (!access("/dev/peerbar", F_OK))
		return;
	refused(pb_list_buffers(&list, &n, &err), ENOENT,
		"this needs the kernel module peerbar: modprobe peerbar");
	refused(pb_watch_open(&watch, &err), ENOENT,
		"this needs the kernel module peerbar: modprobe peerbar");
	ck_assert_ptr_null(list);
	ck_assert_ptr_null(watch);
}
END_TEST

START_TEST(capabilities)
{
	struct pb_capability *list;
	unsigned int i, n;

	ok(pb_capabilities(&list, &n, &err));
	ck_assert_uint_eq(n, PB_CAP_FTRACE + 1);
	for (i = 0; i < n; i++) {
		ck_assert(list[i].name && list[i].name[0]);
		ck_assert(list[i].purpose && list[i].purpose[0]);
		ck_assert_msg(list[i].there == !list[i].missing[0], "%s: there %d, missing '%s'",
			      list[i].name, list[i].there, list[i].missing);
	}
	ck_assert(list[PB_CAP_PEERBAR].there == (pb_module_abi() == 1));
	if (access("/dev/peerbar", F_OK)) {
		ck_assert_str_eq(list[PB_CAP_PEERBAR].missing, "the kernel module peerbar");
		ck_assert_str_eq(list[PB_CAP_IOMMUFD_SHIM].missing,
				 "the kernel module peerbar-iommufd");
		ck_assert(!list[PB_CAP_NETLINK].there);
	}
	if (access("/dev/iommu", F_OK))
		ck_assert(strstr(list[PB_CAP_IOMMUFD].missing, "CONFIG_IOMMUFD"));
	free(list);
}
END_TEST

START_TEST(null_objects_can_be_freed)
{
	struct pb_error err;

	pb_buffer_close(NULL);
	pb_device_close(NULL);
	pb_ioas_destroy(NULL);
	pb_iommu_close(NULL);
	pb_watch_close(NULL);
	ck_assert_int_eq(pb_unmap(NULL, &err), 0);
}
END_TEST

START_TEST(version)
{
	ck_assert_str_eq(pb_version(), PACKAGE_VERSION);
}
END_TEST

void add_api_tests(TCase *t)
{
	tcase_add_test(t, versions);
	tcase_add_test(t, structures_that_grow);
	tcase_add_test(t, what_the_module_peerbar_is_for);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, null_objects_can_be_freed);
	tcase_add_test(t, version);
}
