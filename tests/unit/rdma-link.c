// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Names of RDMA links. */
#include "../sentence.h"
#include "internal.h"
#include "unit.h"

START_TEST(link_names)
{
	char longest[65];

	memset(longest, 'x', 64);
	longest[64] = '\0';
	refused(pb_rdma_link_add("", "eth0", &err), EINVAL, "'' is no name of an RDMA device");
	refused(pb_rdma_link_add(NULL, "eth0", &err), EINVAL, "no name");
	refused(pb_rdma_link_add("pb%d", "eth0", &err), EINVAL, "'pb%d'");
	refused(pb_rdma_link_add(longest, "eth0", &err), EINVAL, "1 to 63 characters");
	refused(pb_rdma_link_add("pb0", "", &err), EINVAL, "no name of a network device");
	refused(pb_rdma_link_add("pb0", "a-name-of-16-abc", &err), EINVAL, "1 to 15 characters");
	refused(pb_rdma_link_delete("pb/0", &err), EINVAL, "'pb/0'");
}
END_TEST

void add_rdma_link_tests(TCase *t)
{
	tcase_add_test(t, link_names);
}
