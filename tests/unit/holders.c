// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Processes that hold a device. */
#include <unistd.h>

#include "../sentence.h"
#include "internal.h"
#include "unit.h"

/* Entries in /proc of a process that holds a device, and others. */
START_TEST(holders_in_proc)
{
	static const char bdf[] = "0000:01:00.0", cdev[] = "/dev/vfio/devices/vfio1";

	ck_assert(pb_link_is_buffer_of("/dmabuf:0000:01:00.0 BAR 2", bdf));
	ck_assert(pb_link_is_buffer_of("/dmabuf:0000:01:00.0/BAR2", bdf));
	ck_assert(!pb_link_is_buffer_of("/dmabuf:0000:01:00.01/BAR2", bdf));
	ck_assert(!pb_link_is_buffer_of("/dmabuf:0000:02:00.0 BAR 2", bdf));
	ck_assert(!pb_link_is_buffer_of("/dmabuf:", bdf));
	ck_assert(!pb_link_is_buffer_of("/home/0000:01:00.0 BAR 2", bdf));

	ck_assert(
		pb_fdinfo_is_device("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0\n",
				    bdf));
	ck_assert(
		!pb_fdinfo_is_device("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:01:00.0/0000:02:00.0\n",
				     bdf));
	ck_assert(
		!pb_fdinfo_is_device("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/10000:01:00.0\n",
				     bdf));
	ck_assert(!pb_fdinfo_is_device("pos:\t0\nflags: /sys/devices/pci0000:00/0000:01:00.0\n",
				       bdf));
	ck_assert(!pb_fdinfo_is_device("vfio-device-syspath:", bdf));
	ck_assert(!pb_fdinfo_is_device("", bdf));

	ck_assert(
		pb_map_is_device("7f00-7f01 rw-s 20000000000 00:06 295   /dev/vfio/devices/vfio1\n",
				 cdev, bdf));
	ck_assert(
		!pb_map_is_device("7f00-7f01 rw-s 20000000000 00:06 295   /dev/vfio/devices/vfio11\n",
				  cdev, bdf));
	ck_assert(
		pb_map_is_device("7f00-7f01 rw-s 20000000000 00:0e 7   anon_inode:[vfio-pci:0000:01:00.0/BAR2]\n",
				 cdev, bdf));
	ck_assert(
		!pb_map_is_device("7f00-7f01 rw-s 20000000000 00:0e 7   anon_inode:[vfio-pci:0000:02:00.0/BAR2]\n",
				  cdev, bdf));
	ck_assert(!pb_map_is_device("7f00-7f01 rw-p 00000000 00:00 0 \n", "", bdf));
	ck_assert(!pb_map_is_device("", "", bdf));
}
END_TEST

START_TEST(holders_in_a_sentence)
{
	struct pb_holder list[6] = {
		{ .pid = 10, .kind = PB_HOLDER_DEVICE, .command = "qemu" },
		{ .pid = 10, .kind = PB_HOLDER_MAPPING, .command = "qemu" },
		{ .pid = 11, .kind = PB_HOLDER_BUFFER, .command = "importer" },
		{ .pid = 12, .kind = PB_HOLDER_GROUP, .command = "old" },
		{ .pid = 13, .kind = PB_HOLDER_UNKNOWN, .command = "secret" },
		{ .pid = getpid(), .kind = PB_HOLDER_MAPPING, .command = "unit" },
	};
	struct pb_holder many[9] = { 0 };
	char text[160], self[32];
	unsigned int i;

	snprintf(self, sizeof(self), "this process, %d (unit)", (int)getpid());
	ck_assert(pb_describe_holders(list, 6, false, text, sizeof(text)));
	ck_assert(!strncmp(text, "process 10 (qemu), this process", 31) && strstr(text, self));
	ck_assert(pb_describe_holders(list, 6, true, text, sizeof(text)));
	ck_assert(!strncmp(text, "process 10 (qemu), process 12 (old), this process", 49));
	/* A dma-buf does not keep the device in use. */
	ck_assert(!pb_describe_holders(list + 2, 1, true, text, sizeof(text)));
	ck_assert_str_eq(text, "");
	ck_assert(!pb_describe_holders(NULL, 0, true, text, sizeof(text)));
	for (i = 0; i < 9; i++) {
		many[i].pid = 4000000 + (int)i;
		memset(many[i].command, 'x', sizeof(many[i].command) - 1);
	}
	ck_assert(pb_describe_holders(many, 9, false, text, sizeof(text)));
	ck_assert_msg(strstr(text, " and 6 more"), "%s", text);
}
END_TEST

void add_holder_tests(TCase *t)
{
	tcase_add_test(t, holders_in_proc);
	tcase_add_test(t, holders_in_a_sentence);
}
