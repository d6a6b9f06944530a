// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Memory models, which of them are accepted, and the names of values. */
#include "../sentence.h"
#include "importer.h"
#include "unit.h"

START_TEST(model_of_exporters)
{
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("peerbar_vfio_pci"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("udmabuf"), PB_PINNED);
	ck_assert_int_eq(pb_exporter_model("system"), PB_PINNED);
	/*
	 * Exporters that are not in the table are UNKNOWN: strangers, drivers that share a name,
	 * and names similar to known ones.
	 */
	ck_assert_int_eq(pb_exporter_model("drm"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("stranger"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core2"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("udma"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(""), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(NULL), PB_UNKNOWN);
}
END_TEST

START_TEST(model_names)
{
	ck_assert_str_eq(pb_model_name(PB_PINNED), "PINNED");
	ck_assert_str_eq(pb_model_name(PB_REVOCABLE), "REVOCABLE");
	ck_assert_str_eq(pb_model_name(PB_DYNAMIC), "DYNAMIC");
	ck_assert_str_eq(pb_model_name(PB_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_model_name((enum pb_model)77), "UNKNOWN");
}
END_TEST

START_TEST(other_names)
{
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_NONE), "NONE");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_NAME), "NAME");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_DERIVED), "DERIVED");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_DECLARED), "DECLARED");
	ck_assert_str_eq(pb_answer_name(PB_ANSWER_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_answer_name(PB_ANSWER_NO), "NO");
	ck_assert_str_eq(pb_answer_name(PB_ANSWER_YES), "YES");
	ck_assert_str_eq(pb_place_name(PB_PLACE_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_place_name(PB_PLACE_SYSTEM), "SYSTEM");
	ck_assert_str_eq(pb_place_name(PB_PLACE_BAR), "BAR");
	ck_assert_str_eq(pb_place_name(PB_PLACE_DEVICE), "DEVICE");
	ck_assert_str_eq(pb_place_name((enum pb_place)77), "UNKNOWN");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_LIVE), "LIVE");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_REVOKED), "REVOKED");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_DEAD), "DEAD");
	ck_assert_str_eq(pb_buffer_state_name((enum pb_buffer_state)77), "UNKNOWN");
	ck_assert_str_eq(pb_memattr_name(PB_NC), "NC");
	ck_assert_str_eq(pb_memattr_name(PB_WC), "WC");
	ck_assert_str_eq(pb_memattr_name(PB_WB), "WB");
	ck_assert_str_eq(pb_memattr_name(PB_DEV), "DEV");
	/* of a group, but unknown */
	ck_assert_str_eq(pb_memattr_name((enum pb_memattr)0x01000001), "OTHER");
	ck_assert_str_eq(pb_event_name(PB_EVENT_CREATED), "created");
	ck_assert_str_eq(pb_event_name(PB_EVENT_REVOKED), "revoked");
	ck_assert_str_eq(pb_event_name(PB_EVENT_RESTORED), "restored");
	ck_assert_str_eq(pb_event_name(PB_EVENT_MOVED), "moved");
	ck_assert_str_eq(pb_event_name(PB_EVENT_RELEASED), "released");
	ck_assert_str_eq(pb_event_name(PB_EVENT_LOST), "lost");
}
END_TEST

START_TEST(model_refusals)
{
	ck_assert_int_eq(pb_model_accept(PB_PINNED, false, "udmabuf", NULL), 0);
	ck_assert_int_eq(pb_model_accept(PB_REVOCABLE, false, "vfio_pci_core", NULL), 0);
	refused(pb_model_accept(PB_DYNAMIC, false, "mover", &err), EOPNOTSUPP, "DYNAMIC");
	/* The flag permits UNKNOWN, but not DYNAMIC. */
	refused(pb_model_accept(PB_DYNAMIC, true, "mover", &err), EOPNOTSUPP, "mover");
	refused(pb_model_accept(PB_UNKNOWN, false, "drm", &err), EOPNOTSUPP, "UNKNOWN");
	ck_assert_int_eq(pb_model_accept(PB_UNKNOWN, true, "drm", NULL), 0);
}
END_TEST

/*
 * A stock kernel has no DYNAMIC exporter, so construct a buffer. The call must fail before it uses
 * the kernel: the descriptors and the context are invalid, so any use would fail differently.
 */
START_TEST(dynamic_is_refused_before_anything_else)
{
	struct pb_piece piece = { .fd = -1, .size = 0x10000 };
	struct pb_dmabuf dmabuf = {
		.fd = -1,
		.origin = pb_origin_new(""),
		.info = { .size = 0x10000, .exporter = "mover", .model = PB_DYNAMIC },
		.pieces = &piece,
		.nr_pieces = 1
	};
	struct pb_buffer buffer = { &dmabuf };
	struct pb_iommu iommu = { .fd = -1 };
	struct pb_ioas ioas = { .iommu = &iommu };
	struct pb_mapping *mapping = NULL;

	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP,
		"DYNAMIC");
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ | PB_MAP_UNKNOWN_MODEL, 0, &mapping,
			      &err),
		EOPNOTSUPP, "DYNAMIC");
	dmabuf.info.model = PB_UNKNOWN;
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP,
		"PB_MAP_UNKNOWN_MODEL");
	ck_assert_ptr_null(mapping);
	pb_origin_put(dmabuf.origin);
}
END_TEST

/* Which dma-bufs iommufd maps by itself. */
START_TEST(bridges_are_for_others)
{
	struct pb_dmabuf dmabuf = { .info = { .exporter = "drm", .model = PB_DYNAMIC } };

	ck_assert(pb_needs_bridge(&dmabuf));
	dmabuf.info = (struct pb_buffer_info){ .exporter = "udmabuf", .model = PB_PINNED };
	ck_assert(pb_needs_bridge(&dmabuf));
	dmabuf.info = (struct pb_buffer_info){ .exporter = "vfio_pci_core" };
	ck_assert(!pb_needs_bridge(&dmabuf));
	/* Of peerbar's, those that move, and those of several ranges that came as a descriptor. */
	dmabuf.info = (struct pb_buffer_info){
		.exporter = "mover", .managed = true, .model = PB_REVOCABLE, .nr_ranges = 1
	};
	ck_assert(!pb_needs_bridge(&dmabuf));
	dmabuf.info.model = PB_DYNAMIC;
	ck_assert(pb_needs_bridge(&dmabuf));
	dmabuf.info.model = PB_REVOCABLE;
	dmabuf.info.nr_ranges = 2;
	ck_assert(pb_needs_bridge(&dmabuf));
	dmabuf.nr_ranges = 2;
	ck_assert(!pb_needs_bridge(&dmabuf));
}
END_TEST

START_TEST(bridge_refusals)
{
	struct peerbar_bridge r = { .function = "0000:06:00.0",
				    .device = "0000:03:00.0",
				    .offset = 0x5000,
				    .nr_ranges = 3000 };
	static const struct {
		unsigned int reason;
		int code;
		const char *words;
	} reasons[] = {
		{ PEERBAR_BRIDGE_WHY_NO_FUNCTION, ENODEV, "no device is bound" },
		{ PEERBAR_BRIDGE_WHY_NOT_BOUND, ENODEV, "0000:06:00.0 is not bound" },
		{ PEERBAR_BRIDGE_WHY_NO_IOMMU, EOPNOTSUPP, "no IOMMU" },
		{ PEERBAR_BRIDGE_WHY_READ_ONLY, EACCES, "read-only" },
		{ PEERBAR_BRIDGE_WHY_EXPORTER_P2P, EOPNOTSUPP, "its exporter finds no path" },
		{ PEERBAR_BRIDGE_WHY_P2P, EOPNOTSUPP, "does not reach 0000:03:00.0" },
		{ PEERBAR_BRIDGE_WHY_SYSTEM_MEMORY, EOPNOTSUPP,
		  "at 0x5000 it is in system memory" },
		{ PEERBAR_BRIDGE_WHY_NOT_BAR, EOPNOTSUPP, "in no BAR of a PCI function" },
		{ PEERBAR_BRIDGE_WHY_OTHER_DEVICE, EOPNOTSUPP, "in no BAR of 0000:03:00.0" },
		{ PEERBAR_BRIDGE_WHY_UNALIGNED, EOPNOTSUPP, "whole pages" },
		{ PEERBAR_BRIDGE_WHY_TOO_SHORT, EOPNOTSUPP, "maps only 0x5000 bytes" },
		{ PEERBAR_BRIDGE_WHY_MEMLOCK, ENOMEM, "RLIMIT_MEMLOCK" },
		{ PEERBAR_BRIDGE_WHY_MOVING, EAGAIN, "moves it all the time" },
		{ PEERBAR_BRIDGE_WHY_OTHER, EDQUOT, "max_buffers" },
		{ PEERBAR_BRIDGE_WHY_OTHER, EMFILE, "3000 ranges" },
		{ PEERBAR_BRIDGE_WHY_OTHER, EIO, "PEERBAR_BRIDGE" },
	};
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		r.reason = reasons[i].reason;
		refused(pb_fail_bridge(&r, -reasons[i].code, "it", &err), reasons[i].code,
			reasons[i].words);
	}
	/* The exporter's errno, also one that the C library does not know. */
	r.reason = PEERBAR_BRIDGE_WHY_PIN;
	r.exporter_errno = 524;
	refused(pb_fail_bridge(&r, -EOPNOTSUPP, "it", &err), EOPNOTSUPP,
		"refuses to pin it for 0000:06:00.0 (errno 524, ENOTSUPP)");
	r.reason = PEERBAR_BRIDGE_WHY_MAP;
	r.exporter_errno = EAGAIN;
	refused(pb_fail_bridge(&r, -EAGAIN, "it", &err), EAGAIN, "refuses to map it");
	r.reason = PEERBAR_BRIDGE_WHY_ATTACH;
	r.exporter_errno = ENODEV;
	refused(pb_fail_bridge(&r, -ENODEV, "it", &err), ENODEV, "revoked");
}
END_TEST

void add_model_tests(TCase *t)
{
	tcase_add_test(t, model_of_exporters);
	tcase_add_test(t, model_names);
	tcase_add_test(t, other_names);
	tcase_add_test(t, model_refusals);
	tcase_add_test(t, dynamic_is_refused_before_anything_else);
	tcase_add_test(t, bridges_are_for_others);
	tcase_add_test(t, bridge_refusals);
}
